//! What one visitor may use of the server: allowances for what comes in bursts, which refill, and shares
//! of what stays open, which are given back. Both tables are bounded and forget idle visitors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::address::ClientAddress;
use crate::author::Author;
use crate::clock::Moment;
use crate::lock::lock;
use crate::options::Options;
use crate::refusal::{RETRY_SOON, Refusal};

/// Allowances that are not full, at most. Each takes about 64 bytes, so a flood of addresses costs at
/// most four megabytes. Beyond it all are forgotten: whoever has so many addresses is limited by none
/// of them.
const TABLE_ENTRIES: usize = 65_536;
/// Messages that a sender may post at once, as a multiple of its rate for one second.
const MESSAGE_BURST: f64 = 10.0;
/// What all senders of one address may post together, as a multiple of one sender's rate.
const SENDERS_OF_ADDRESS: f64 = 10.0;
/// Streams under names that one address may open per second, as a share of those that it may have open,
/// which may all come back at once: so names in their grace stay few.
const OPENINGS_PER_SECOND: f64 = 0.1;
/// Wrong passwords that an address may try at once, and per minute.
const PASSWORD_ATTEMPTS: f64 = 10.0;
/// A stream of more rooms than this counts as several.
const ROOMS_PER_STREAM: usize = 8;
/// Bytes of whole answers that one address may leave unread: eight full histories. Frames in them
/// are shared, but outlive their eviction.
const ANSWER_BYTES: u32 = 2 * 1024 * 1024;

/// What refills: so much per second, up to what may be spent at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Allowance {
    /// Messages of a session that is in the room.
    Member(Author),
    /// Messages of everybody else at an address: anybody can make up a new session for each of them.
    Others(ClientAddress),
    /// Messages of all at an address.
    Address(ClientAddress),
    /// Streams under a name. Each keeps the name in all of its rooms for a while after its end.
    Openings(ClientAddress),
    WrongPasswords(ClientAddress),
}

/// What one address holds open. A share of 0 is always possible.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Share {
    streams: u32,
    /// Bytes of whole answers that the client has not taken yet.
    answer_bytes: u32,
}

/// What is allowed, and what is left of it.
#[derive(Debug)]
pub(crate) struct Limits {
    message_rate: f64,
    max_streams: u32,
    max_of_address: Share,
    /// What was left of each allowance at some moment.
    left: Mutex<HashMap<Allowance, (f64, Moment)>>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    streams: u32,
    by_address: HashMap<ClientAddress, Share>,
}

/// The right to hold something open, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    address: ClientAddress,
    share: Share,
}

/// As how many streams one of this many rooms counts for its address.
pub(crate) fn streams_of(rooms: usize) -> u32 {
    rooms.div_ceil(ROOMS_PER_STREAM) as u32
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Limits {
        let count = |streams: usize| u32::try_from(streams).unwrap_or(u32::MAX);
        let streams = count(options.max_streams_per_ip);
        Limits {
            message_rate: options.message_rate,
            max_streams: count(options.max_streams),
            max_of_address: Share {
                streams,
                answer_bytes: if streams < u32::MAX {
                    ANSWER_BYTES
                } else {
                    u32::MAX
                },
            },
            left: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Spends some of an allowance, all or nothing. To spend nothing takes as much as to spend one.
    ///
    /// # Errors
    /// How long until there is enough.
    pub(crate) fn spend(
        &self,
        allowance: Allowance,
        count: u32,
        now: Moment,
    ) -> Result<(), Duration> {
        let (per_second, burst) = self.rate_of(allowance);
        if burst.is_infinite() {
            return Ok(());
        }
        let table = &mut *lock(&self.left);
        if table.len() >= TABLE_ENTRIES {
            table.clear();
        }
        let entry = table.entry(allowance).or_insert((burst, now));
        let left = (entry.0 + refilled(entry.1, now, per_second)).min(burst);
        let needed = f64::from(count.max(1));
        let spent = if left < needed { 0 } else { count };
        *entry = (left - f64::from(spent), now);
        if left < needed {
            let wait = Duration::try_from_secs_f64((needed - left) / per_second);
            return Err(wait.unwrap_or(Duration::MAX));
        }
        Ok(())
    }

    /// How much of an allowance comes back per second, and how much there is at once: at least one, or
    /// nothing could ever be spent.
    fn rate_of(&self, allowance: Allowance) -> (f64, f64) {
        let limit = |most: u32| {
            if most < u32::MAX {
                f64::from(most)
            } else {
                f64::INFINITY
            }
        };
        let messages = |rate: f64| (rate, rate * MESSAGE_BURST);
        let (per_second, burst) = match allowance {
            Allowance::Member(_) | Allowance::Others(_) => messages(self.message_rate),
            Allowance::Address(_) => messages(self.message_rate * SENDERS_OF_ADDRESS),
            Allowance::Openings(_) => {
                let streams = limit(self.max_of_address.streams);
                (streams * OPENINGS_PER_SECOND, streams)
            }
            Allowance::WrongPasswords(_) => (PASSWORD_ATTEMPTS / 60.0, PASSWORD_ATTEMPTS),
        };
        (per_second, burst.max(1.0))
    }

    /// Forgets allowances that are full again.
    pub(crate) fn forget_idle(&self, now: Moment) {
        let table = &mut *lock(&self.left);
        table.retain(|allowance, (left, since)| {
            let (per_second, burst) = self.rate_of(*allowance);
            *left + refilled(*since, now, per_second) < burst
        });
        if table.len() * 4 < table.capacity() {
            table.shrink_to_fit();
        }
    }

    /// Opens a stream or a request that waits.
    pub(crate) fn open_stream(
        self: &Arc<Limits>,
        address: ClientAddress,
        streams: u32,
    ) -> Result<Permit, Refusal> {
        let answer_bytes = 0;
        self.open(
            address,
            Share {
                streams,
                answer_bytes,
            },
        )
    }

    /// Opens a whole answer of this many bytes.
    pub(crate) fn open_answer(
        self: &Arc<Limits>,
        address: ClientAddress,
        bytes: u64,
    ) -> Result<Permit, Refusal> {
        let answer_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.open(
            address,
            Share {
                streams: 0,
                answer_bytes,
            },
        )
    }

    fn open(self: &Arc<Limits>, address: ClientAddress, share: Share) -> Result<Permit, Refusal> {
        let open = &mut *lock(&self.open);
        if share.streams > 0 && open.streams >= self.max_streams {
            return Err(Refusal::TooManyStreams);
        }
        let held = open.by_address.get(&address).copied().unwrap_or_default();
        let sum = Share {
            streams: held.streams.saturating_add(share.streams),
            answer_bytes: held.answer_bytes.saturating_add(share.answer_bytes),
        };
        let max = self.max_of_address;
        if (share.streams > 0 && sum.streams > max.streams)
            // One answer is always possible, however large.
            || (held.answer_bytes > 0 && share.answer_bytes > 0 && sum.answer_bytes > max.answer_bytes)
        {
            return Err(Refusal::TooManyStreamsOfAddress {
                retry_after: RETRY_SOON,
            });
        }
        open.streams += share.streams.min(1);
        open.by_address.insert(address, sum);
        Ok(Permit {
            limits: self.clone(),
            address,
            share,
        })
    }

    /// Streams and waiting requests that are open.
    pub(crate) fn streams(&self) -> u32 {
        lock(&self.open).streams
    }
}

/// What has come back since a moment.
fn refilled(since: Moment, now: Moment, per_second: f64) -> f64 {
    now.saturating_sub(since).as_secs_f64() * per_second
}

impl Drop for Permit {
    fn drop(&mut self) {
        let open = &mut *lock(&self.limits.open);
        open.streams -= self.share.streams.min(1);
        if let Some(held) = open.by_address.get_mut(&self.address) {
            held.streams = held.streams.saturating_sub(self.share.streams);
            held.answer_bytes = held.answer_bytes.saturating_sub(self.share.answer_bytes);
            if *held == Share::default() {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Duration::from_secs(50);

    fn limits(max_streams: usize, max_streams_per_ip: usize) -> Arc<Limits> {
        Arc::new(Limits::new(&Options {
            max_streams,
            max_streams_per_ip,
            ..Options::default()
        }))
    }

    fn address(last: u8) -> ClientAddress {
        ClientAddress::from(std::net::IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limits = limits(9, 9);
        let spend = |author, now| limits.spend(Allowance::Member(Author(author)), 1, now);
        for _ in 0..20 {
            assert_eq!(spend(1, START), Ok(()));
        }
        assert_eq!(spend(1, START), Err(Duration::from_millis(500)));
        assert_eq!(spend(2, START), Ok(()), "another visitor");
        let of_address = Allowance::Others(address(1));
        assert_eq!(
            limits.spend(of_address, 1, START),
            Ok(()),
            "another allowance"
        );
        let check = |now| limits.spend(Allowance::Member(Author(1)), 0, now);
        assert!(check(START + Duration::from_millis(499)).is_err());
        assert!(check(START + Duration::from_millis(500)).is_ok());
        assert_eq!(spend(1, START + Duration::from_millis(500)), Ok(()));
        assert!(spend(1, START + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let limits = limits(9, 9);
        for author in 0..TABLE_ENTRIES as u64 * 3 / 2 {
            let spent = limits.spend(Allowance::Member(Author(author)), 1, START);
            assert_eq!(spent, Ok(()));
            assert!(lock(&limits.left).len() <= TABLE_ENTRIES);
        }
        assert_eq!(lock(&limits.left).len(), TABLE_ENTRIES / 2);
        limits.forget_idle(START + Duration::from_secs(1));
        assert_eq!(lock(&limits.left).len(), 0);
    }

    #[test]
    fn shares_are_counted_and_given_back() {
        let limits = limits(3, 2);
        let open = |last, rooms| limits.open_stream(address(last), streams_of(rooms));
        let refused = Some(Refusal::TooManyStreamsOfAddress {
            retry_after: RETRY_SOON,
        });
        let first = open(1, 16).expect("free");
        assert_eq!(open(1, 1).err(), refused, "one of many rooms");
        drop(first);
        let first = open(1, 1).expect("free");
        let _second = open(1, 8).expect("free");
        assert_eq!(open(1, 1).err(), refused, "streams");
        let _third = open(2, 9).expect("free");
        assert_eq!(open(3, 1).err(), Some(Refusal::TooManyStreams));
        drop(first);
        assert_eq!(limits.streams(), 2);
        assert!(open(1, 1).is_ok());
    }

    #[test]
    fn unread_answers_are_bounded_but_one_is_always_possible() {
        let limits = limits(9, 9);
        let answer = |bytes: u32| limits.open_answer(address(1), u64::from(bytes));
        let large = answer(ANSWER_BYTES * 2).expect("the only one");
        assert!(answer(1).is_err());
        drop(large);
        let _half = answer(ANSWER_BYTES / 2).expect("room for it");
        let _other = answer(ANSWER_BYTES / 2).expect("room for it");
        assert!(answer(1).is_err());
    }

    #[test]
    fn streams_under_names_are_opened_at_a_bounded_rate() {
        let opening = Allowance::Openings(address(1));
        for per_ip in [100, 1_000] {
            let limits = limits(usize::MAX, per_ip);
            let spend = |now| limits.spend(opening, 1, now).is_ok();
            let opened = |now| (0..10_000).take_while(|_| spend(now)).count();
            assert_eq!(opened(START), per_ip);
            assert_eq!(opened(START + Duration::from_secs(2)), per_ip / 5);
        }
        let unlimited = limits(usize::MAX, usize::MAX);
        let spend = |rooms| unlimited.spend(opening, streams_of(rooms), START).is_ok();
        assert!((0..10_000).all(|_| spend(32)));
        let limits = limits(usize::MAX, 2);
        let spend = |rooms| limits.spend(opening, streams_of(rooms), START).is_ok();
        assert!(!spend(17) && spend(16) && !spend(1), "two tokens");
    }
}
