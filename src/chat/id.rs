//! Event ids: the position of a message among all others.

use std::fmt;
use std::str::FromStr;

/// The id of an event, written `<milliseconds>-<sequence>` as Redis Streams writes it, and
/// compared as that pair of numbers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId {
    /// Milliseconds since the Unix epoch at which the id was given; never less than the last id's.
    pub milliseconds: u64,
    /// Counts the ids given within one millisecond, from 0.
    pub sequence: u64,
}

impl EventId {
    /// Before every id that is ever given.
    pub(crate) const ZERO: EventId = EventId {
        milliseconds: 0,
        sequence: 0,
    };

    /// The first position of a life that begins at `unix_ms`.
    pub(crate) fn birth(unix_ms: u64) -> EventId {
        EventId {
            milliseconds: unix_ms,
            sequence: 0,
        }
    }

    /// The least id that follows this one and is not before the date `unix_ms`.
    ///
    /// Where the clock stands still or goes back, the sequence alone goes on.
    pub(crate) fn next(self, unix_ms: u64) -> EventId {
        match self.sequence.checked_add(1) {
            Some(sequence) if unix_ms <= self.milliseconds => EventId { sequence, ..self },
            _ => EventId {
                milliseconds: unix_ms.max(self.milliseconds.saturating_add(1)),
                sequence: 0,
            },
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// The text is not an event id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnreadableId;

impl fmt::Display for UnreadableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id is <milliseconds>-<sequence>")
    }
}

impl std::error::Error for UnreadableId {}

impl FromStr for EventId {
    type Err = UnreadableId;

    fn from_str(text: &str) -> Result<EventId, UnreadableId> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(UnreadableId)?;
        Ok(EventId {
            milliseconds: decimal(milliseconds)?,
            sequence: decimal(sequence)?,
        })
    }
}

fn decimal(text: &str) -> Result<u64, UnreadableId> {
    // `u64::from_str` would also take a leading plus sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UnreadableId);
    }
    text.parse().map_err(|_| UnreadableId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_stands_still_or_goes_back() {
        let mut id = EventId::birth(1_000);
        for unix_ms in [1_000, 1_000, 999, 0, 1_001, 1_001, 5, 2_000] {
            let next = id.next(unix_ms);
            assert!(next > id, "{next} after {id}");
            id = next;
        }
        assert_eq!(id.to_string(), "2000-0");
    }

    #[test]
    fn compares_as_numbers_not_as_text() {
        let id = |text: &str| text.parse::<EventId>().expect("an id");
        assert!(id("9-0") < id("10-0"));
        assert!(id("10-9") < id("10-10"));
    }

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        let id = EventId {
            milliseconds: u64::MAX,
            sequence: u64::MAX,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-0",
            "1-+0",
            "1-0-0",
            " 1-0",
            "1-0 ",
            "x-0",
            "18446744073709551616-0",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(UnreadableId), "{bad:?}");
        }
    }
}
