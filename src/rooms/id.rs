//! Event ids: the position of an event among all others.

use std::fmt;
use std::str::FromStr;

use crate::names::Malformed;

/// The id of an event, written `<milliseconds>-<sequence>` as Redis Streams writes it, and
/// compared as that pair of numbers. The default is before everything.
///
/// ```
/// let id: chatroom::EventId = "1700000000000-3".parse()?;
/// assert!(id > chatroom::EventId::default() && id < "1700000000000-10".parse()?);
/// assert_eq!(id.to_string(), "1700000000000-3");
/// # Ok::<(), chatroom::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId {
    /// Milliseconds since the Unix epoch; never less than those of the id before.
    pub milliseconds: u64,
    /// Tells apart the ids of one millisecond, and rises within it.
    pub sequence: u64,
}

impl EventId {
    /// Before everything.
    pub(crate) const ZERO: EventId = EventId {
        milliseconds: 0,
        sequence: 0,
    };

    /// Where a chat begins that knows no later beginning: after [`EventId::ZERO`], so that a client
    /// without a position that can be read is told what it may lack.
    pub(crate) const FIRST: EventId = EventId {
        milliseconds: 0,
        sequence: 1,
    };

    /// The last sequence of a millisecond, of a run that keeps its messages. No entry is given it: it is
    /// for low-water marks that are made up.
    #[cfg(feature = "redis")]
    pub(crate) const LAST_SEQUENCE: u64 = (1 << TAG_SHIFT) - 1;

    /// After everything.
    pub(crate) const MAX: EventId = EventId {
        milliseconds: u64::MAX,
        sequence: u64::MAX,
    };

    /// The position directly before this one.
    pub(crate) fn before(self) -> EventId {
        let (sequence, borrows) = self.sequence.overflowing_sub(1);
        EventId {
            milliseconds: self.milliseconds.saturating_sub(borrows.into()),
            sequence,
        }
    }

    /// The position at which a run of the server begins.
    ///
    /// A run that keeps its messages passes `tag` 0. One that forgets them passes a random tag,
    /// which all of its ids carry: a position of a previous run is then recognized as such, even
    /// if the clock went back in between.
    pub(crate) fn start_of_run(unix_ms: u64, tag: u32) -> EventId {
        EventId {
            milliseconds: unix_ms,
            sequence: u64::from(tag) << TAG_SHIFT,
        }
    }

    /// The least id of the same run that follows this one and is not before `unix_ms`.
    ///
    /// Where the clock stands still or goes back, only the sequence rises.
    pub(crate) fn next(self, unix_ms: u64) -> EventId {
        let next = self.sequence.saturating_add(1);
        if unix_ms <= self.milliseconds && next >> TAG_SHIFT == self.sequence >> TAG_SHIFT {
            EventId {
                sequence: next,
                ..self
            }
        } else {
            EventId {
                milliseconds: unix_ms.max(self.milliseconds.saturating_add(1)),
                sequence: self.sequence >> TAG_SHIFT << TAG_SHIFT,
            }
        }
    }

    /// Whether two ids carry the same tag.
    pub(crate) fn same_run(self, other: EventId) -> bool {
        self.sequence >> TAG_SHIFT == other.sequence >> TAG_SHIFT
    }
}

/// Bits of a sequence below its run's tag: ids that one millisecond can give before the next one
/// is used. JavaScript's numbers hold tag and sequence exactly.
const TAG_SHIFT: u32 = 20;

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<EventId, Malformed> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(Malformed)?;
        Ok(EventId {
            milliseconds: decimal(milliseconds)?,
            sequence: decimal(sequence)?,
        })
    }
}

fn decimal(text: &str) -> Result<u64, Malformed> {
    // `u64::from_str` would also take a leading plus sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_stands_still_or_goes_back() {
        let mut id = EventId::start_of_run(1_000, 0);
        for unix_ms in [1_000, 1_000, 999, 0, 1_001, 1_001, 5, 2_000] {
            let next = id.next(unix_ms);
            assert!(next > id, "{next} after {id}");
            id = next;
        }
        assert_eq!(id.to_string(), "2000-0");
    }

    #[test]
    fn every_id_of_a_run_carries_its_tag() {
        let start = EventId::start_of_run(5, 7);
        let mut id = start;
        for unix_ms in [5, 5, 4, 9] {
            id = id.next(unix_ms);
            assert!(id.same_run(start));
        }
        let full = EventId {
            sequence: (8 << TAG_SHIFT) - 1,
            ..start
        };
        assert_eq!(full.next(5), EventId::start_of_run(6, 7));
        assert!(!start.same_run(EventId::start_of_run(5, 8)));
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
            assert_eq!(bad.parse::<EventId>(), Err(Malformed), "{bad:?}");
        }
    }
}
