//! What one visitor may use of the server: token buckets for what comes in bursts, counts for what
//! stays open. The tables are bounded, and forget.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::address::ClientAddress;
use super::error::Refusal;
use crate::chat::clock::Moment;
use crate::chat::lock;

/// Visitors in one table of buckets at most. Each takes some 64 bytes, so a flood of addresses
/// costs a megabyte at most; beyond it the least used bucket of a handful is forgotten.
const TABLE_ENTRIES: usize = 16_384;
/// Buckets looked at to find one to forget.
const EVICTION_SAMPLE: usize = 16;

/// Token buckets: each visitor may spend `burst` at once and gets `per_second` back.
pub(crate) struct TokenBuckets<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Moment,
}

impl<K: Copy + Eq + Hash> TokenBuckets<K> {
    pub(crate) fn new(per_second: f64, burst: f64) -> TokenBuckets<K> {
        TokenBuckets {
            per_second,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// Spends one token.
    ///
    /// # Errors
    /// There is none; the error says when there will be one.
    pub(crate) fn take(&self, visitor: K, now: Moment) -> Result<(), Duration> {
        let buckets = &mut *lock(&self.buckets);
        if buckets.len() >= TABLE_ENTRIES && !buckets.contains_key(&visitor) {
            self.make_room(buckets, now);
        }
        let bucket = buckets.entry(visitor).or_insert(Bucket {
            tokens: self.burst,
            at: now,
        });
        let tokens = self.tokens(bucket, now);
        let spent = tokens >= 1.0;
        *bucket = Bucket {
            tokens: if spent { tokens - 1.0 } else { tokens },
            at: now,
        };
        if spent {
            Ok(())
        } else {
            Err(self.wait(tokens))
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
            Err(self.wait(tokens))
        }
    }

    /// Forgets the visitors who have all their tokens back.
    pub(crate) fn forget_idle(&self, now: Moment) {
        let buckets = &mut *lock(&self.buckets);
        buckets.retain(|_, bucket| self.tokens(bucket, now) < self.burst);
        if buckets.len() * 4 < buckets.capacity() {
            buckets.shrink_to_fit();
        }
    }

    fn tokens(&self, bucket: &Bucket, now: Moment) -> f64 {
        let refilled = now.saturating_sub(bucket.at).as_secs_f64() * self.per_second;
        (bucket.tokens + refilled).min(self.burst)
    }

    fn wait(&self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64((1.0 - tokens) / self.per_second).unwrap_or(Duration::MAX)
    }

    fn make_room(&self, buckets: &mut HashMap<K, Bucket>, now: Moment) {
        let fullest = buckets
            .iter()
            .take(EVICTION_SAMPLE)
            .max_by(|(_, a), (_, b)| self.tokens(a, now).total_cmp(&self.tokens(b, now)))
            .map(|(visitor, _)| *visitor);
        fullest.map(|visitor| buckets.remove(&visitor));
    }
}

/// Counts the streams that are open, in all and for each address.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    most_of_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<ClientAddress, usize>,
}

/// The right to hold one stream open; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    streams: Arc<Streams>,
    address: ClientAddress,
}

impl Streams {
    /// `usize::MAX` is no limit.
    pub(crate) fn new(most: usize, most_of_address: usize) -> Streams {
        Streams {
            most,
            most_of_address,
            open: Mutex::default(),
        }
    }

    pub(crate) fn open(
        self: &Arc<Streams>,
        address: ClientAddress,
    ) -> Result<StreamPermit, Refusal> {
        let open = &mut *lock(&self.open);
        if open.total >= self.most {
            return Err(Refusal::TooManyStreams);
        }
        if open
            .by_address
            .get(&address)
            .is_some_and(|count| *count >= self.most_of_address)
        {
            return Err(Refusal::TooManyStreamsOfAddress);
        }
        open.total += 1;
        *open.by_address.entry(address).or_default() += 1;
        Ok(StreamPermit {
            streams: self.clone(),
            address,
        })
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.open).total
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let open = &mut *lock(&self.streams.open);
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
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
    fn streams_are_counted_and_given_back() {
        let streams = Arc::new(Streams::new(3, 2));
        let address = |last: u8| ClientAddress::from(std::net::IpAddr::from([10, 0, 0, last]));
        let first = streams.open(address(1)).expect("free");
        let _second = streams.open(address(1)).expect("free");
        assert_eq!(
            streams.open(address(1)).err(),
            Some(Refusal::TooManyStreamsOfAddress)
        );
        let _third = streams.open(address(2)).expect("free");
        assert_eq!(
            streams.open(address(3)).err(),
            Some(Refusal::TooManyStreams)
        );
        drop(first);
        assert_eq!(streams.count(), 2);
        assert!(streams.open(address(1)).is_ok());
    }
}
