//! The lines of a journal: JSON for people, with a checksum for the server.
//!
//! `{"v":1,"eventId":…,"after":…,"room":…,"name":…,"member":…,"text":…,"sentAt":…,"key":…,"crc":…}`:
//! `after` is the position before it in its room, `key` stands only where the poster gave one, and
//! `crc` is the CRC-32 of all before it. `{"v":1,"floor":…,"crc":…}` says that rooms which were
//! forgotten had held messages up to there.

use serde_json::Value;

use crate::chat::id::EventId;
use crate::chat::message::{Message, Quoted};
use crate::chat::names::IdempotencyKey;

/// How every line of this version begins.
pub(super) const START: &[u8] = b"{\"v\":1,";
/// `,"crc":"` and `"}` around eight hexadecimal digits.
const CRC_BYTES: usize = 18;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    Message {
        message: Message,
        after: EventId,
        key: Option<IdempotencyKey>,
    },
    Floor(EventId),
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadLine {
    /// Another program, or another version of this one, has written it.
    Foreign,
    /// It was one of ours, and is damaged.
    Damaged,
}

/// Writes a message's line; `members` is its JSON behind the id.
pub(super) fn message(
    id: EventId,
    after: EventId,
    members: &str,
    key: Option<&IdempotencyKey>,
) -> String {
    let key = key.map_or(String::new(), |key| {
        format!(",\"key\":{}", Quoted(key.as_str()))
    });
    sealed(format!(
        "{{\"v\":1,\"eventId\":\"{id}\",\"after\":\"{after}\",{members}{key}"
    ))
}

/// Writes the line that says up to where forgotten rooms had held messages.
pub(super) fn floor(id: EventId) -> String {
    sealed(format!("{{\"v\":1,\"floor\":\"{id}\""))
}

fn sealed(mut line: String) -> String {
    let crc = crc32(line.as_bytes());
    line.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
    line
}

/// Reads a line, given without its line break.
pub(super) fn read(line: &[u8]) -> Result<Record, BadLine> {
    if !line.starts_with(START) {
        let ours = serde_json::from_slice(line)
            .is_ok_and(|json: Value| json.get("v").is_some_and(|v| *v == 1));
        let cut = START.starts_with(line) || line.iter().all(|byte| *byte == 0);
        return Err(if ours || cut {
            BadLine::Damaged
        } else {
            BadLine::Foreign
        });
    }
    record(line).ok_or(BadLine::Damaged)
}

fn record(line: &[u8]) -> Option<Record> {
    let (sealed, seal) = line.split_at_checked(line.len().checked_sub(CRC_BYTES)?)?;
    if seal != format!(",\"crc\":\"{:08x}\"}}", crc32(sealed)).as_bytes() {
        return None;
    }
    let json: Value = serde_json::from_slice(line).ok()?;
    let id = |key: &str| json.get(key)?.as_str()?.parse().ok();
    if json.get("floor").is_some() {
        return Some(Record::Floor(id("floor")?));
    }
    let key = match json.get("key") {
        Some(key) => Some(IdempotencyKey::parse(key.as_str()?).ok()?),
        None => None,
    };
    Some(Record::Message {
        message: Message::from_json(&json)?,
        after: id("after")?,
        key,
    })
}

/// CRC-32 as in ISO 3309 and gzip (RFC 1952, section 8).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| {
        TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::super::super::chat::names::{MemberName, MessageText, RoomName};
    use super::*;

    fn said() -> Message {
        Message {
            id: EventId {
                milliseconds: 7,
                sequence: 1,
            },
            room: RoomName::parse("lobby").expect("a room"),
            name: MemberName::parse("alice").expect("a name"),
            member: true,
            text: MessageText::parse("hi\n{\"crc\":", 20).expect("a text"),
            sent_at: 8,
        }
    }

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn lines_come_back() {
        let key = IdempotencyKey::parse("k-1").ok();
        for key in [key, None] {
            let line = message(
                said().id,
                EventId::ZERO,
                &said().json_members(),
                key.as_ref(),
            );
            assert_eq!(line.matches('\n').count(), 1);
            let expected = Record::Message {
                message: said(),
                after: EventId::ZERO,
                key,
            };
            assert_eq!(read(line.trim_end().as_bytes()), Ok(expected));
        }
        assert_eq!(
            read(floor(said().id).trim_end().as_bytes()),
            Ok(Record::Floor(said().id))
        );
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let line = message(said().id, EventId::ZERO, &said().json_members(), None);
        let line = line.trim_end().as_bytes();
        for at in 0..line.len() {
            let mut damaged = line.to_vec();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn foreign_lines_are_told_from_damaged_ones() {
        for foreign in [
            "{\"v\":2,\"eventId\":\"1-0\"}",
            "SQLite format 3",
            "{}",
            "[1]",
            "\u{7f}ELF",
        ] {
            assert_eq!(read(foreign.as_bytes()), Err(BadLine::Foreign), "{foreign}");
        }
        for damaged in ["{\"v\":1,\"eventId\":\"1-0\"}", "", "{\"v\"", "\0\0\0"] {
            assert_eq!(read(damaged.as_bytes()), Err(BadLine::Damaged), "{damaged}");
        }
    }
}
