//! What one visitor may use of the server: allowances for what comes in bursts, which refill, and shares
//! of what stays open, which are given back. Both tables are bounded and forget idle visitors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::address::ClientAddress;
use crate::author::Author;
use crate::clock::{Clock, Moment};
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
/// Streams under names that one address may open per second, as a share of those that it may have open.
/// All of these may come back at once; after that the rate keeps names in their grace few.
const OPENINGS_PER_SECOND: f64 = 0.1;
/// Wrong passwords that an address may try at once, and per minute.
const PASSWORD_ATTEMPTS: f64 = 10.0;
/// A stream of more rooms than this counts as several.
const ROOMS_PER_STREAM: usize = 8;
/// Connections, and requests under way, that one address may have beyond its streams: page loads and
/// posts.
const SPARE: u32 = 32;
/// Bytes of whole answers that one address may leave unread: eight full histories. Frames in them
/// are shared, but outlive their eviction.
const ANSWER_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes that an address may read per second for each of its connections, other than what is new in its
/// streams: by default, all of them together may load the page once in eight seconds.
const READ_BYTES: f64 = 12.0 * 1024.0;
/// What it may read at once, in seconds of that rate.
const READ_BURST: f64 = 10.0;

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
    /// Wrong passwords of HTTP Basic with requests that need none: their answers may tell whether one is a
    /// moderator.
    UnneededPasswords(ClientAddress),
    /// Bytes of answers, of requests that only read.
    Reading(ClientAddress),
}

/// What one address may have so much of at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holding {
    /// Connections to the accept loop. Those of a trusted proxy do not count.
    Connections,
    /// Requests from anywhere, until their answers are sent.
    Requests,
    /// Streams, and requests that wait for news.
    Streams,
    /// Bytes of whole answers that the client has not taken yet.
    AnswerBytes,
}

/// How much of each [`Holding`], in their order.
pub(crate) type Share = [u32; 4];
/// The share of one of [`Holding::Connections`].
pub(crate) const ONE_CONNECTION: Share = [1, 0, 0, 0];

/// What is allowed, and what is left of it.
#[derive(Debug)]
pub(crate) struct Limits {
    clock: Clock,
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

/// What an address holds, all of which is given back when this is dropped.
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
        let under_way = streams.saturating_add(SPARE);
        let answer_bytes = if streams < u32::MAX {
            ANSWER_BYTES
        } else {
            u32::MAX
        };
        Limits {
            clock: options.clock.clone(),
            message_rate: options.message_rate,
            max_streams: count(options.max_streams),
            max_of_address: [under_way, under_way, streams, answer_bytes],
            left: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Spends some of an allowance, all or nothing. A count of 0 spends nothing, but fails unless one could
    /// be spent.
    ///
    /// # Errors
    /// How long until there is enough.
    pub(crate) fn spend(&self, allowance: Allowance, count: u32) -> Result<(), Duration> {
        let needed = f64::from(count.max(1));
        self.change(allowance, |left, (per_second, _)| {
            if *left < needed {
                let wait = Duration::try_from_secs_f64((needed - *left) / per_second);
                return Err(wait.unwrap_or(Duration::MAX));
            }
            *left -= f64::from(count);
            Ok(())
        })
    }

    /// Spends what was used already. There may be less: then the rest has to come back first, but never
    /// more than what may be spent at once.
    pub(crate) fn charge(&self, allowance: Allowance, count: u32) {
        let _ = self.change(allowance, |left, (_, burst)| {
            *left = (*left - f64::from(count)).max(-burst);
            Ok(())
        });
    }

    fn change(
        &self,
        allowance: Allowance,
        change: impl FnOnce(&mut f64, (f64, f64)) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let (per_second, burst) = self.rate_of(allowance);
        if burst.is_infinite() {
            return Ok(());
        }
        let now = self.clock.now();
        let table = &mut *lock(&self.left);
        if table.len() >= TABLE_ENTRIES {
            table.clear();
        }
        let (left, since) = table.entry(allowance).or_insert((burst, now));
        *left = (*left + refilled(*since, now, per_second)).min(burst);
        *since = now;
        change(left, (per_second, burst))
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
                let streams = limit(self.max_of_address[Holding::Streams as usize]);
                (streams * OPENINGS_PER_SECOND, streams)
            }
            Allowance::Reading(_) => {
                let connections = limit(self.max_of_address[Holding::Connections as usize]);
                (
                    connections * READ_BYTES,
                    connections * READ_BYTES * READ_BURST,
                )
            }
            Allowance::WrongPasswords(_) | Allowance::UnneededPasswords(_) => {
                (PASSWORD_ATTEMPTS / 60.0, PASSWORD_ATTEMPTS)
            }
        };
        (per_second, burst.max(1.0))
    }

    /// Forgets allowances that are full again.
    pub(crate) fn forget_idle(&self) {
        let now = self.clock.now();
        let table = &mut *lock(&self.left);
        table.retain(|allowance, (left, since)| {
            let (per_second, burst) = self.rate_of(*allowance);
            *left + refilled(*since, now, per_second) < burst
        });
        if table.len() * 4 < table.capacity() {
            table.shrink_to_fit();
        }
    }

    /// Begins a request, which counts as so many.
    pub(crate) fn begin(
        self: &Arc<Limits>,
        address: ClientAddress,
        requests: u32,
    ) -> Result<Permit, Refusal> {
        let mut permit = Permit {
            limits: self.clone(),
            address,
            share: Share::default(),
        };
        permit.take(Holding::Requests, requests)?;
        Ok(permit)
    }

    /// Takes so much of something for an address. 0 can always be had.
    pub(crate) fn take(
        &self,
        address: ClientAddress,
        what: Holding,
        count: u32,
    ) -> Result<(), Refusal> {
        if count == 0 {
            return Ok(());
        }
        let open = &mut *lock(&self.open);
        let is_stream = matches!(what, Holding::Streams);
        if is_stream && open.streams >= self.max_streams {
            return Err(Refusal::TooManyStreams);
        }
        let kind = what as usize;
        let held = open.by_address.get(&address).map_or(0, |share| share[kind]);
        let sum = held.saturating_add(count);
        // One answer is always possible, however large.
        let may_exceed = matches!(what, Holding::AnswerBytes) && held == 0;
        if sum > self.max_of_address[kind] && !may_exceed {
            return Err(Refusal::TooManyStreamsOfAddress {
                retry_after: RETRY_SOON,
            });
        }
        open.streams += u32::from(is_stream);
        open.by_address.entry(address).or_default()[kind] = sum;
        Ok(())
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, address: ClientAddress, share: Share) {
        let open = &mut *lock(&self.open);
        open.streams -= share[Holding::Streams as usize].min(1);
        if let Some(held) = open.by_address.get_mut(&address) {
            for (held, given) in held.iter_mut().zip(share) {
                *held = held.saturating_sub(given);
            }
            if *held == Share::default() {
                open.by_address.remove(&address);
            }
        }
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

impl Permit {
    /// Takes so much more of something.
    pub(crate) fn take(&mut self, what: Holding, count: u32) -> Result<(), Refusal> {
        self.limits.take(self.address, what, count)?;
        self.share[what as usize] += count;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.give_back(self.address, self.share);
    }
}

#[cfg(test)]
mod tests;
