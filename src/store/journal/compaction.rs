//! Writing the journal anew with only what the rooms hold, while posts go on.
//!
//! The writer notes the journal's length and what the rooms hold at that moment, and a thread of
//! its own writes that to a new file. When it is done, the writer copies over what was added to the
//! old file since, syncs, and renames. A crash at any moment leaves one whole journal under the name.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, mpsc};
use std::thread;

use super::file::JournalFile;
use super::{Request, line};
use crate::chat::history::Held;
use crate::chat::hub::Hub;
use crate::chat::id::EventId;
use crate::chat::room::Room;

/// A journal below this size is not worth rewriting, in bytes.
const WORTH_REWRITING: u64 = 1024 * 1024;
/// The journal may be this many times what the rooms hold.
const SLACK: u64 = 2;
/// What a line has beyond its message's frame, roughly, in bytes.
const LINE_OVERHEAD: u64 = 48;

/// What the rooms held when the journal had `offset` bytes, written to a file of its own.
pub(super) struct Rewritten {
    pub(super) offset: u64,
    pub(super) file: io::Result<File>,
}

/// Decides when the journal is written anew.
pub(super) struct Compaction {
    look_again_at: u64,
    running: bool,
    /// Where the thread that rewrites reports back.
    requests: mpsc::Sender<Request>,
}

impl Compaction {
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Compaction {
        Compaction {
            look_again_at: WORTH_REWRITING,
            running: false,
            requests,
        }
    }

    /// Starts to rewrite the journal where it has outgrown the rooms, or where it is to `forget`
    /// some. To be called when all that is in the file is in the rooms.
    pub(super) fn consider(
        &mut self,
        file: &JournalFile,
        hub: &Hub,
        forget: &mut bool,
    ) -> io::Result<()> {
        if self.running || (file.bytes() <= self.look_again_at && !*forget) {
            return Ok(());
        }
        let forced = std::mem::take(forget);
        let held: Vec<(Arc<Room>, EventId, Vec<Held>)> = hub
            .rooms()
            .into_iter()
            .map(|room| {
                let (floor, held) = room.held();
                (room, floor, held)
            })
            .collect();
        let needed: u64 = held
            .iter()
            .flat_map(|(_, _, held)| held)
            .map(|held| held.frame.bytes().len() as u64 + LINE_OVERHEAD)
            .sum();
        self.look_again_at = WORTH_REWRITING.max(needed * SLACK);
        if file.bytes() <= self.look_again_at && !forced {
            return Ok(());
        }
        let (mut successor, offset, floor, requests) = (
            file.successor()?,
            file.bytes(),
            hub.floor(),
            self.requests.clone(),
        );
        thread::Builder::new()
            .name("journal-rewrite".into())
            .spawn(move || {
                let file = write(&mut successor, floor, held).map(|()| successor);
                // Where the writer has ended, the next start clears the file away.
                let _ = requests.send(Request::Rewritten(Rewritten { offset, file }));
            })?;
        self.running = true;
        Ok(())
    }

    /// Puts the new file in place, or gives up until the journal has grown as much again.
    pub(super) fn finish(
        &mut self,
        file: &mut JournalFile,
        rewritten: Rewritten,
    ) -> io::Result<()> {
        self.running = false;
        let replaced = rewritten
            .file
            .and_then(|successor| file.replace(successor, rewritten.offset));
        if replaced.is_err() {
            file.abandon_successor();
            self.look_again_at = file.bytes() + WORTH_REWRITING;
        }
        replaced
    }
}

fn write(
    file: &mut File,
    floor: EventId,
    rooms: Vec<(Arc<Room>, EventId, Vec<Held>)>,
) -> io::Result<()> {
    let mut entries: Vec<(EventId, Held)> = Vec::new();
    for (_, mut after, held) in rooms {
        for held in held {
            let id = held.id;
            entries.push((after, held));
            after = id;
        }
    }
    entries.sort_unstable_by_key(|(_, held)| held.id);
    let mut out = BufWriter::new(&mut *file);
    if floor > EventId::ZERO {
        out.write_all(line::floor(floor).as_bytes())?;
    }
    for (after, Held { id, frame, key }) in entries {
        let data = frame.data();
        let members = json_members(&data).ok_or(io::ErrorKind::InvalidData)?;
        out.write_all(line::message(id, after, members, key.as_ref()).as_bytes())?;
    }
    out.flush()?;
    drop(out);
    file.sync_all()
}

/// What stands behind the id in a message's JSON.
fn json_members(data: &[u8]) -> Option<&str> {
    let (_, members) = std::str::from_utf8(data).ok()?.split_once(',')?;
    members.strip_suffix('}')
}
