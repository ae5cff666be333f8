//! What one visitor may use of the server: token buckets for what comes in bursts, shares for what
//! stays open. Both tables are bounded and forget idle visitors.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::address::ClientAddress;
use crate::lock::lock;
use crate::refusal::{RETRY_SOON, Refusal};
use crate::rooms::clock::Moment;

/// Visitors in one table of buckets, at most. Each takes about 64 bytes, so a flood of addresses
/// costs at most a megabyte; beyond it the least used bucket of a sample is evicted.
const TABLE_ENTRIES: usize = 16_384;
/// Buckets in the sample from which one is evicted.
const EVICTION_SAMPLE: usize = 16;
/// Streams under names that one address may open per second, as a share of those that it may have open,
/// which may all come back at once: so names in their grace stay few.
const OPENINGS_PER_SECOND: f64 = 0.1;
/// Memberships of one address, as a multiple of its streams.
const MEMBERSHIPS_PER_STREAM: u32 = 8;
/// Bytes of whole answers that one address may leave unread: eight full histories. Frames in them
/// are shared, but outlive their eviction.
const ANSWER_BYTES: u32 = 2 * 1024 * 1024;

/// Token buckets: each visitor may spend `burst` tokens at once and gets `per_second` back.
#[derive(Debug)]
pub(crate) struct TokenBuckets<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// The tokens that a visitor had at some moment.
type Bucket = (f64, Moment);

impl<K: Copy + Eq + Hash> TokenBuckets<K> {
    /// The burst is at least one token, or nothing could ever be spent.
    pub(crate) fn new(per_second: f64, burst: f64) -> TokenBuckets<K> {
        TokenBuckets {
            per_second,
            burst: burst.max(1.0),
            buckets: Mutex::default(),
        }
    }

    /// Spends one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub(crate) fn take(&self, visitor: K, now: Moment) -> Result<(), Duration> {
        self.take_many(visitor, 1.0, now)
    }

    /// Spends several tokens, all or none.
    fn take_many(&self, visitor: K, count: f64, now: Moment) -> Result<(), Duration> {
        let buckets = &mut *lock(&self.buckets);
        if buckets.len() >= TABLE_ENTRIES && !buckets.contains_key(&visitor) {
            self.evict_one(buckets, now);
        }
        let bucket = buckets.entry(visitor).or_insert((self.burst, now));
        let tokens = self.tokens(bucket, now);
        let spent = tokens >= count;
        *bucket = (if spent { tokens - count } else { tokens }, now);
        if spent {
            Ok(())
        } else {
            Err(self.wait(tokens, count))
        }
    }

    /// Whether there is a token to spend.
    pub(crate) fn check(&self, visitor: K, now: Moment) -> Result<(), Duration> {
        let tokens = lock(&self.buckets)
            .get(&visitor)
            .map_or(self.burst, |bucket| self.tokens(bucket, now));
        if tokens >= 1.0 {
            Ok(())
        } else {
            Err(self.wait(tokens, 1.0))
        }
    }

    /// Forgets visitors who have all their tokens back.
    pub(crate) fn forget_idle(&self, now: Moment) {
        let buckets = &mut *lock(&self.buckets);
        buckets.retain(|_, bucket| self.tokens(bucket, now) < self.burst);
        if buckets.len() * 4 < buckets.capacity() {
            buckets.shrink_to_fit();
        }
    }

    fn tokens(&self, &(tokens, at): &Bucket, now: Moment) -> f64 {
        let refilled = now.saturating_sub(at).as_secs_f64() * self.per_second;
        (tokens + refilled).min(self.burst)
    }

    fn wait(&self, tokens: f64, count: f64) -> Duration {
        Duration::try_from_secs_f64((count - tokens) / self.per_second).unwrap_or(Duration::MAX)
    }

    fn evict_one(&self, buckets: &mut HashMap<K, Bucket>, now: Moment) {
        let fullest = buckets
            .iter()
            .take(EVICTION_SAMPLE)
            .max_by(|(_, a), (_, b)| self.tokens(a, now).total_cmp(&self.tokens(b, now)))
            .map(|(visitor, _)| *visitor);
        fullest.map(|visitor| buckets.remove(&visitor));
    }
}

/// What one address holds open, or asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Share {
    pub(crate) streams: u32,
    /// Memberships in rooms, added up over the streams.
    pub(crate) memberships: u32,
    /// Bytes of whole answers that the client has not taken yet.
    pub(crate) answer_bytes: u32,
}

/// Counts what is open, in all and for each address.
#[derive(Debug)]
pub(crate) struct Shares {
    max_streams: u32,
    max_of_address: Share,
    open: Mutex<Open>,
    /// How often an address may open a stream under a name.
    openings: Option<TokenBuckets<ClientAddress>>,
}

#[derive(Debug, Default)]
struct Open {
    streams: u32,
    by_address: HashMap<ClientAddress, Share>,
}

/// The right to hold something open, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shares: Arc<Shares>,
    address: ClientAddress,
    share: Share,
}

impl Shares {
    /// `u32::MAX` means no limit.
    pub(crate) fn new(max_streams: u32, max_streams_per_ip: u32) -> Shares {
        let limited = max_streams_per_ip < u32::MAX;
        let max_of_address = Share {
            streams: max_streams_per_ip,
            memberships: max_streams_per_ip.saturating_mul(MEMBERSHIPS_PER_STREAM),
            answer_bytes: if limited { ANSWER_BYTES } else { u32::MAX },
        };
        Shares {
            max_streams,
            max_of_address,
            open: Mutex::default(),
            openings: limited.then(|| {
                let streams = f64::from(max_streams_per_ip);
                TokenBuckets::new(streams * OPENINGS_PER_SECOND, streams)
            }),
        }
    }

    /// Opens one stream of this many rooms.
    pub(crate) fn open_stream(
        self: &Arc<Shares>,
        address: ClientAddress,
        rooms: u32,
    ) -> Result<Permit, Refusal> {
        let share = Share {
            streams: 1,
            memberships: rooms,
            answer_bytes: 0,
        };
        self.open(address, share)
    }

    /// Spends what it takes to open a stream under a name, which keeps the name in all of its rooms for a
    /// while after its end. More rooms than [`MEMBERSHIPS_PER_STREAM`] count as several streams.
    pub(crate) fn spend_opening(
        &self,
        address: ClientAddress,
        rooms: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        let Some(openings) = &self.openings else {
            return Ok(());
        };
        let streams = f64::from(rooms.div_ceil(MEMBERSHIPS_PER_STREAM));
        openings
            .take_many(address, streams, now)
            .map_err(|retry_after| Refusal::TooManyStreamsOfAddress { retry_after })
    }

    /// Opens a whole answer of this many bytes. One without any is always possible.
    pub(crate) fn open_answer(
        self: &Arc<Shares>,
        address: ClientAddress,
        bytes: u64,
    ) -> Result<Permit, Refusal> {
        let share = Share {
            answer_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..Share::default()
        };
        self.open(address, share)
    }

    fn open(self: &Arc<Shares>, address: ClientAddress, share: Share) -> Result<Permit, Refusal> {
        let open = &mut *lock(&self.open);
        let total = open.streams.saturating_add(share.streams);
        if share.streams > 0 && total > self.max_streams {
            return Err(Refusal::TooManyStreams);
        }
        let held = open.by_address.get(&address).copied().unwrap_or_default();
        let sum = Share {
            streams: held.streams.saturating_add(share.streams),
            memberships: held.memberships.saturating_add(share.memberships),
            answer_bytes: held.answer_bytes.saturating_add(share.answer_bytes),
        };
        let max = self.max_of_address;
        if sum.streams > max.streams
            || sum.memberships > max.memberships
            // One answer is always possible, however large.
            || (held.answer_bytes > 0 && share.answer_bytes > 0 && sum.answer_bytes > max.answer_bytes)
        {
            return Err(Refusal::TooManyStreamsOfAddress {
                retry_after: RETRY_SOON,
            });
        }
        open.streams = total;
        open.by_address.insert(address, sum);
        Ok(Permit {
            shares: self.clone(),
            address,
            share,
        })
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> u32 {
        lock(&self.open).streams
    }

    /// Forgets addresses that have not opened a stream for a while.
    pub(crate) fn forget_idle(&self, now: Moment) {
        if let Some(openings) = &self.openings {
            openings.forget_idle(now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let open = &mut *lock(&self.shares.open);
        open.streams -= self.share.streams;
        if let Some(held) = open.by_address.get_mut(&self.address) {
            held.streams = held.streams.saturating_sub(self.share.streams);
            held.memberships = held.memberships.saturating_sub(self.share.memberships);
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

    #[test]
    fn a_burst_then_the_rate() {
        let buckets = TokenBuckets::new(2.0, 20.0);
        for _ in 0..20 {
            assert_eq!(buckets.take(1, START), Ok(()));
        }
        assert_eq!(buckets.take(1, START), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(2, START), Ok(()), "another visitor");
        assert!(
            buckets
                .check(1, START + Duration::from_millis(499))
                .is_err()
        );
        assert_eq!(buckets.take(1, START + Duration::from_millis(500)), Ok(()));
        assert!(buckets.take(1, START + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let buckets = TokenBuckets::new(1.0, 10.0);
        for visitor in 0..TABLE_ENTRIES * 2 {
            assert_eq!(buckets.take(visitor, START), Ok(()));
        }
        assert_eq!(lock(&buckets.buckets).len(), TABLE_ENTRIES);
        buckets.forget_idle(START + Duration::from_secs(1));
        assert_eq!(lock(&buckets.buckets).len(), 0);
    }

    #[test]
    fn shares_are_counted_and_given_back() {
        let shares = Arc::new(Shares::new(3, 2));
        let address = |last: u8| ClientAddress::from(std::net::IpAddr::from([10, 0, 0, last]));
        let open = |last, rooms| shares.open_stream(address(last), rooms);
        let refused = Some(Refusal::TooManyStreamsOfAddress {
            retry_after: RETRY_SOON,
        });
        let first = open(1, 16).expect("free");
        assert_eq!(open(1, 1).err(), refused, "memberships");
        drop(first);
        let first = open(1, 1).expect("free");
        let _second = open(1, 1).expect("free");
        assert_eq!(open(1, 1).err(), refused, "streams");
        let _third = open(2, 1).expect("free");
        assert_eq!(open(3, 1).err(), Some(Refusal::TooManyStreams));
        drop(first);
        assert_eq!(shares.streams(), 2);
        assert!(open(1, 1).is_ok());
    }

    #[test]
    fn unread_answers_are_bounded_but_one_is_always_possible() {
        let shares = Arc::new(Shares::new(9, 9));
        let address = ClientAddress::from(std::net::IpAddr::from([10, 0, 0, 1]));
        let answer = |bytes: u32| shares.open_answer(address, u64::from(bytes));
        let large = answer(ANSWER_BYTES * 2).expect("the only one");
        assert!(answer(1).is_err());
        drop(large);
        let _half = answer(ANSWER_BYTES / 2).expect("room for it");
        let _other = answer(ANSWER_BYTES / 2).expect("room for it");
        assert!(answer(1).is_err());
    }

    #[test]
    fn streams_under_names_are_opened_at_a_bounded_rate() {
        let address = ClientAddress::from(std::net::IpAddr::from([10, 0, 0, 1]));
        for per_ip in [100, 1_000] {
            let shares = Shares::new(u32::MAX, per_ip);
            let spend = |rooms, now| shares.spend_opening(address, rooms, now).is_ok();
            let opened = |now| (0..10_000).take_while(|_| spend(1, now)).count() as u32;
            assert_eq!(opened(START), per_ip);
            assert_eq!(opened(START + Duration::from_secs(2)), per_ip / 5);
        }
        let shares = Shares::new(u32::MAX, 2);
        let spend = |rooms| shares.spend_opening(address, rooms, START).is_ok();
        assert!(!spend(17) && spend(16) && !spend(1), "two tokens");
    }
}
