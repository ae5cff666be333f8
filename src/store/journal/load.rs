//! Reads a journal back, and tells a torn last line, which a crash leaves, from damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::line::{self, BadLine, Record};
use crate::rooms::id::EventId;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Bytes of complete lines. What follows them is torn.
    pub(super) complete_bytes: u64,
    /// Whether the last complete line lacks its line break.
    pub(super) lacks_break: bool,
}

/// Gives every record to `visit`, in order.
///
/// # Errors
/// The file cannot be read, or it has lines that cannot be used; the error says what to do.
pub(super) fn load(path: &Path, file: &File, mut visit: impl FnMut(Record)) -> io::Result<Loaded> {
    let mut lines = Lines {
        reader: BufReader::with_capacity(READ_BYTES, file),
        number: 0,
        line: Vec::new(),
        next_offset: 0,
        last_id: EventId::ZERO,
    };
    let mut loaded = Loaded::default();
    while let Some(record) = lines.next()? {
        match record {
            Ok(record) => visit(record),
            Err(bad) => return Err(lines.refused(path, bad)?),
        }
        loaded.complete_bytes = lines.next_offset;
        loaded.lacks_break = !lines.line.ends_with(b"\n");
    }
    Ok(loaded)
}

/// A journal read line by line.
struct Lines<'a> {
    reader: BufReader<&'a File>,
    /// The current line; without the NULs behind it where it is the last and has no line break.
    line: Vec<u8>,
    /// Its number, from 1.
    number: u64,
    /// Where the next line begins.
    next_offset: u64,
    /// The id of the last entry.
    last_id: EventId,
}

impl Lines<'_> {
    /// The next record; `None` at the end, or where a torn line is the last.
    fn next(&mut self) -> io::Result<Option<Result<Record, BadLine>>> {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line)?;
        let whole = self.line.ends_with(b"\n");
        if !whole {
            let length = line::without_nuls(&self.line).len();
            self.line.truncate(length);
        }
        let content = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let record = line::read(content);
        if record.is_err() && !whole && line::may_be_torn(content) {
            // Nobody was told that it was stored.
            return Ok(None);
        }
        let record = record.and_then(|record| {
            if let Record::Entry { entry, .. } = &record {
                if entry.id <= self.last_id {
                    return Err(BadLine::Damaged);
                }
                self.last_id = entry.id;
            }
            Ok(record)
        });
        self.number += 1;
        self.next_offset += self.line.len() as u64;
        Ok(Some(record))
    }

    /// Says what is wrong with the current line and those behind it that cannot be used either.
    fn refused(&mut self, path: &Path, bad: BadLine) -> io::Result<io::Error> {
        let (first, offset) = (self.number, self.next_offset - self.line.len() as u64);
        let mut last = first;
        let mut ours = first > 1 || bad == BadLine::Damaged;
        if bad != BadLine::OtherVersion {
            while let Some(record) = self.next()? {
                match record {
                    Ok(_) => {
                        ours = true;
                        break;
                    }
                    Err(_) => last = self.number,
                }
            }
        }
        let foreign = bad == BadLine::OtherVersion || !ours;
        let place = match last - first {
            _ if foreign => format!("line {first}, byte offset {offset}, was"),
            0 => format!("line {first}, byte offset {offset}, is"),
            _ => format!("lines {first} to {last}, from byte offset {offset}, are"),
        };
        let problem = if foreign {
            "not written by this version of chatroom; nothing was changed: use another data folder, \
             or the version that wrote it"
                .to_owned()
        } else {
            advice(path, first, last)
        };
        let path = path.display();
        Ok(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{path}: {place} {problem}"),
        ))
    }
}

fn advice(path: &Path, first: u64, last: u64) -> String {
    let path = path.display().to_string().replace('\'', r"'\''");
    let (lines, what, loss) = if first == last {
        (
            first.to_string(),
            "that line",
            "it that one message or removal",
        )
    } else {
        (
            format!("{first},{last}"),
            "those lines",
            "them those messages and removals",
        )
    };
    format!(
        "damaged; nothing was changed: restore the file from a backup, or delete {what} \
         (sed -i '{lines}d' '{path}') and with {loss}"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::test_folder::TestFolder;
    use super::*;
    use crate::rooms::message::{Entry, RemovedBy};
    use crate::rooms::names::RoomName;

    #[test]
    fn entries_out_of_order_are_damage() {
        let room = RoomName::parse("a").expect("a room");
        for (last, is_in_order) in [("3-1", true), ("3-0", false), ("2-9", false)] {
            let mut lines = Vec::new();
            for id in ["1-0", "3-0", last] {
                let id = id.parse().expect("an id");
                let removal = Entry::removal(&room, id, EventId::ZERO, RemovedBy::Author, 1);
                line::entry(&mut lines, &removal, EventId::ZERO);
            }
            let folder = TestFolder::new();
            let path = folder.path().join("journal");
            fs::write(&path, &lines).expect("the folder can be written");
            let file = File::open(&path).expect("it is there");
            match load(&path, &file, drop) {
                Ok(loaded) => {
                    assert!(is_in_order, "{last}");
                    assert_eq!(loaded.complete_bytes, lines.len() as u64);
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
