//! The lines of a journal: JSON for people, with a checksum for the server.
//!
//! - An entry is the `data` of its event, with the idempotency `key` of the message, if there is one:
//!   `{"v":1,"eventId":…,"room":…,…,"key":…,"crc":…}`. A removal has the key of its message, once the
//!   message's own line is gone.
//! - `{"v":1,"floor":…,"room":…,"crc":…}` is the low-water mark of a room, before its first entry:
//!   the room had entries up to there. Without a `room`, it is that of all rooms that have had no
//!   entries so far.

use serde_json::Value;

use super::super::sealed;
use crate::names::{IdempotencyKey, RoomName};
use crate::rooms::id::EventId;
use crate::rooms::message::{Draft, Entry, Message, RemovedBy};

/// What a line says.
#[derive(Debug)]
pub(super) enum Record {
    /// With the position before it in its room, as earlier versions wrote it into each line.
    Entry(RoomName, Entry, EventId),
    Mark(Option<RoomName>, EventId),
}

/// Appends an entry's line.
pub(super) fn entry(lines: &mut Vec<u8>, entry: &Entry) {
    let start = lines.len();
    lines.extend_from_slice(sealed::START);
    let data = entry.frame.data();
    // A JSON object, of which the braces are left out.
    lines.extend_from_slice(&data[1..data.len() - 1]);
    if let Some(key) = &entry.key {
        lines.extend_from_slice(format!(",\"key\":{}", Value::from(key.as_str())).as_bytes());
    }
    sealed::seal(lines, start);
}

/// Appends the line of a low-water mark.
pub(super) fn mark(lines: &mut Vec<u8>, room: Option<&RoomName>, id: EventId) {
    let start = lines.len();
    lines.extend_from_slice(format!("{{\"v\":1,\"floor\":\"{id}\"").as_bytes());
    if let Some(room) = room {
        lines.extend_from_slice(format!(",\"room\":{}", Value::from(room.as_str())).as_bytes());
    }
    sealed::seal(lines, start);
}

/// Reads a line, given without its line break; `None` if it is damaged, or not of this version.
pub(super) fn read(line: &[u8]) -> Option<Record> {
    let json = sealed::open(line)?;
    let text = |key: &str| json.get(key)?.as_str();
    let id = |key: &str| text(key)?.parse().ok();
    if json.get("floor").is_some() {
        let room = text("room").map(RoomName::stored).transpose().ok()?;
        return Some(Record::Mark(room, id("floor")?));
    }
    let after = id("after").unwrap_or_default();
    let key = text("key").map(IdempotencyKey::stored).transpose().ok()?;
    if json.get("removed").is_some() {
        let room = RoomName::stored(text("room")?).ok()?;
        let by = RemovedBy::parse(text("by")?)?;
        let sent_at = json.get("sentAt")?.as_u64()?;
        let removed = id("removed")?;
        let entry = Draft::Removal { removed, by }.into_entry(&room, id("eventId")?, sent_at);
        return Some(Record::Entry(room, Entry { key, ..entry }, after));
    }
    let message = Message::from_json(&json)?;
    let entry = Entry::message(&message, key);
    Some(Record::Entry(message.room, entry, after))
}

/// Whether this may be what a crash has left of a line: its beginning, or nothing.
pub(super) fn may_be_torn(line: &[u8]) -> bool {
    line.starts_with(sealed::START) || sealed::START.starts_with(without_nuls(line))
}

/// A line without the NULs behind it, which a power cut can leave in a block that was not written.
pub(super) fn without_nuls(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != 0);
    &line[..end.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{MemberName, MessageText};

    fn said() -> Message {
        Message {
            id: id("7-1"),
            room: RoomName::parse("lobby").expect("a room"),
            name: MemberName::parse("alice").expect("a name"),
            author: "0123456789abcdef".parse().ok(),
            member: true,
            text: MessageText::parse("hi\n{\"crc\":", 20).expect("a text"),
            sent_at: 8,
        }
    }

    fn id(text: &str) -> EventId {
        text.parse().expect("an id")
    }

    fn removal(room: &RoomName) -> Entry {
        let (removed, by) = (id("7-1"), RemovedBy::Moderator);
        Draft::Removal { removed, by }.into_entry(room, id("9-0"), 9)
    }

    fn key() -> Option<IdempotencyKey> {
        IdempotencyKey::parse("\"k").ok()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut lines = Vec::new();
        write(&mut lines);
        let mut line = String::from_utf8(lines).expect("UTF-8");
        assert_eq!(line.pop(), Some('\n'));
        assert!(!line.contains('\n'), "{line}");
        line
    }

    fn assert_entry(line: &str, expected: &Entry) {
        match read(line.as_bytes()) {
            Some(Record::Entry(room, entry, _)) => {
                assert_eq!(room, said().room);
                assert_eq!(entry.frame.bytes(), expected.frame.bytes());
                assert_eq!((entry.id, &entry.key), (expected.id, &expected.key));
                assert_eq!(entry.author, expected.author);
                assert_eq!(entry.removes, expected.removes);
            }
            other => panic!("{other:?} from {line}"),
        }
    }

    #[test]
    fn lines_come_back() {
        for key in [key(), None] {
            let removal = Entry {
                key: key.clone(),
                ..removal(&said().room)
            };
            for one in [Entry::message(&said(), key), removal] {
                let line = written(|lines| entry(lines, &one));
                assert_entry(&line, &one);
            }
        }
        for room in [None, Some(said().room)] {
            let mark = written(|lines| super::mark(lines, room.as_ref(), id("7-1")));
            let Some(Record::Mark(of, up_to)) = read(mark.as_bytes()) else {
                panic!("{mark}");
            };
            assert_eq!((of, up_to), (room, id("7-1")));
        }
    }

    #[test]
    fn an_entry_byte_for_byte() {
        let line = written(|lines| {
            lines.extend_from_slice(b"before");
            entry(lines, &Entry::message(&said(), key()));
        });
        let content = "before{\"v\":1,\"eventId\":\"7-1\",\"room\":\"lobby\",\"name\":\"alice\",\
            \"author\":\"0123456789abcdef\",\"member\":true,\"text\":\"hi\\n{\\\"crc\\\":\",\"sentAt\":8,\"key\":\"\\\"k\"";
        let crc = sealed::crc32(&content.as_bytes()["before".len()..]);
        assert_eq!(line, format!("{content},\"crc\":\"{crc:08x}\"}}"));
    }

    /// As the first version wrote it: with the position before it, and no author.
    #[test]
    fn old_lines_load() {
        let line = written(|lines| {
            let old = "{\"v\":1,\"eventId\":\"7-1\",\"after\":\"6-0\",\"room\":\"lobby\",\"name\":\"alice\",\
                \"member\":true,\"text\":\"hi\\n{\\\"crc\\\":\",\"sentAt\":8";
            lines.extend_from_slice(old.as_bytes());
            sealed::seal(lines, 0);
        });
        let author = None;
        let expected = Message { author, ..said() };
        assert_entry(&line, &Entry::message(&expected, None));
    }

    /// A ban that removes all messages reaches those in rooms whose names are no longer given out.
    #[test]
    fn removals_in_rooms_of_an_earlier_version_come_back() {
        let room = RoomName::stored("caf\u{e9}\u{34f}").expect("a name of old");
        RoomName::parse(room.as_str()).expect_err("the rule is narrower now");
        let removal = removal(&room);
        let mut lines = Vec::new();
        entry(&mut lines, &removal);
        let line = lines.strip_suffix(b"\n").expect("a whole line");
        assert!(matches!(read(line), Some(Record::Entry(read, _, _)) if read == room));
    }
}
