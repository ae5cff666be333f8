//! Reads a journal back, and tells a torn last line, which a crash leaves, from damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::line::{self, BadLine, Record};
use crate::rooms::id::EventId;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Gives every record to `visit`, in order. Returns the bytes of complete lines, which something torn
/// may follow, and whether the last of them lacks its line break.
///
/// # Errors
/// The file cannot be read, or it has lines that cannot be used; the error says what to do.
pub(super) fn load(
    path: &Path,
    file: &File,
    mut visit: impl FnMut(Record),
) -> io::Result<(u64, bool)> {
    let mut lines = Lines {
        reader: BufReader::with_capacity(READ_BYTES, file),
        number: 0,
        line: Vec::new(),
        next_offset: 0,
        last_id: EventId::ZERO,
    };
    let (mut complete_bytes, mut lacks_break) = (0, false);
    while let Some(record) = lines.next()? {
        match record {
            Ok(record) => visit(record),
            Err(bad) => return Err(lines.refused(path, bad)?),
        }
        complete_bytes = lines.next_offset;
        lacks_break = !lines.line.ends_with(b"\n");
    }
    Ok((complete_bytes, lacks_break))
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
        let mut is_ours = first > 1 || bad == BadLine::Damaged;
        while bad != BadLine::OtherVersion
            && let Some(record) = self.next()?
        {
            if record.is_ok() {
                is_ours = true;
                break;
            }
            last = self.number;
        }
        let problem = if bad == BadLine::OtherVersion || !is_ours {
            format!(
                "line {first}, byte offset {offset}, was not written by this version of chatroom; \
                 nothing was changed: use another data folder, or the version that wrote it"
            )
        } else {
            damage(path, offset, first, last)
        };
        let problem = format!("{}: {problem}", path.display());
        Ok(io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}

fn damage(path: &Path, offset: u64, first: u64, last: u64) -> String {
    let path = path.display().to_string().replace('\'', r"'\''");
    let backup = "damaged; nothing was changed: restore the file from a backup, or delete";
    if first == last {
        format!(
            "line {first}, byte offset {offset}, is {backup} that line (sed -i '{first}d' '{path}') \
             and with it that one message or removal"
        )
    } else {
        format!(
            "lines {first} to {last}, from byte offset {offset}, are {backup} those lines \
             (sed -i '{first},{last}d' '{path}') and with them those messages and removals"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::test_folder::TestFolder;
    use super::*;
    use crate::names::RoomName;
    use crate::rooms::message::{Entry, RemovedBy};

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
