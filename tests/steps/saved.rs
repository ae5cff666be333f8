//! The history as a file: the position before it, then its events as they go over the wire.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use hyper::body::Bytes;

use super::history::History;

/// The history of the previous run; an empty one if there was none.
pub(crate) fn load(file: &Path) -> io::Result<History> {
    match fs::read_to_string(file) {
        Ok(saved) => parse(&saved).ok_or(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(History::default()),
        Err(error) => Err(error),
    }
}

fn parse(saved: &str) -> Option<History> {
    let (evicted_up_to, saved) = saved.split_once('\n')?;
    let mut history = History::default();
    history.evicted_up_to = evicted_up_to.parse().ok()?;
    history.last_id = history.evicted_up_to;
    for event in saved.split_inclusive("\n\n") {
        let (id, _) = event.strip_prefix("id: ")?.split_once('\n')?;
        history.last_id = id.parse().ok()?;
        let event = Bytes::from(event.to_owned());
        history.events.push_back((history.last_id, event));
    }
    Some(history)
}

/// Replaces the file when the new one is complete, so that a full disk does not cost both.
pub(crate) fn save(history: &History, file: &Path) -> io::Result<()> {
    let mut saved = format!("{}\n", history.evicted_up_to).into_bytes();
    saved.extend(history.events.iter().flat_map(|(_, event)| event));
    let new = file.with_extension("new");
    fs::write(&new, saved)?;
    fs::rename(new, file)
}
