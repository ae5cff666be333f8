//! Reads a journal back, and tells a torn last line, which a crash leaves, from damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::super::durable::problem;
use super::line::{self, Record};
use crate::rooms::id::EventId;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Gives every record to `visit`, in order. Returns the length of the lines that can be used, which a
/// torn one may follow, and whether the last of them lacks its line break.
///
/// # Errors
/// The file cannot be read, or it has a line that cannot be used; the error says what to do.
pub(super) fn load(
    path: &Path,
    file: &File,
    mut visit: impl FnMut(Record),
) -> io::Result<(u64, bool)> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut line, mut number, mut offset) = (Vec::new(), 0_u64, 0);
    let (mut last_id, mut lacks_break) = (EventId::ZERO, false);
    let cannot_read = |error| problem(path, "cannot be read", error);
    while reader.read_until(b'\n', &mut line).map_err(cannot_read)? > 0 {
        number += 1;
        let is_whole = line.ends_with(b"\n");
        if !is_whole {
            let length = line::without_nuls(&line).len();
            line.truncate(length);
        }
        let content = line.strip_suffix(b"\n").unwrap_or(&line);
        let record = line::read(content).filter(|record| match record {
            Record::Entry(_, entry, _) => std::mem::replace(&mut last_id, entry.id) < entry.id,
            Record::Mark(..) => true,
        });
        match record {
            Some(record) => visit(record),
            // Nobody was told that it was stored.
            None if !is_whole && line::may_be_torn(content) => break,
            None => return Err(damaged(path, number, offset)),
        }
        offset += line.len() as u64;
        lacks_break = !is_whole;
        line.clear();
    }
    Ok((offset, lacks_break))
}

fn damaged(path: &Path, number: u64, offset: u64) -> io::Error {
    let path = path.display().to_string();
    let quoted = path.replace('\'', r"'\''");
    let problem = format!(
        "{path}: line {number}, byte offset {offset}, is damaged, or not of this version of chatroom; \
         nothing was changed: restore the file from a backup, or delete that line \
         (sed -i '{number}d' '{quoted}') and with it that one message or removal"
    );
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::test_folder::TestFolder;
    use super::*;
    use crate::names::RoomName;
    use crate::rooms::message::{Draft, RemovedBy};

    #[test]
    fn entries_out_of_order_are_damage() {
        let room = RoomName::parse("a").expect("a room");
        for (last, is_in_order) in [("3-1", true), ("3-0", false), ("2-9", false)] {
            let mut lines = Vec::new();
            for id in ["1-0", "3-0", last] {
                let id = id.parse().expect("an id");
                let removal = Draft::Removal {
                    removed: EventId::ZERO,
                    by: RemovedBy::Author,
                };
                line::entry(&mut lines, &removal.into_entry(&room, id, 1));
            }
            let folder = TestFolder::new();
            let path = folder.path().join("journal");
            fs::write(&path, &lines).expect("the folder can be written");
            let file = File::open(&path).expect("it is there");
            match load(&path, &file, drop) {
                Ok(found) => {
                    assert!(is_in_order, "{last}");
                    assert_eq!(found, (lines.len() as u64, false));
                }
                Err(refused) => {
                    assert!(!is_in_order, "{refused}");
                    let refused = refused.to_string();
                    assert!(refused.contains("line 3, byte offset"), "{refused}");
                }
            }
        }
    }
}
