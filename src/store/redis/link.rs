//! The connection for commands: one, shared by all that wait for an answer, and replaced when it
//! fails. The reader of the feed, which blocks, has another.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Call;
use crate::report::Reporter;

/// A connection that answers nothing this long is replaced.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// How long a command may take: less than a post may, so that it can be tried again.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses between attempts to connect: they double, and half of each is random, so that the servers
/// of a chat do not all come at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The connection, or how to get one: a connection that fails is replaced by the next command.
pub(super) struct Link {
    client: Client,
    report: Reporter,
    state: Mutex<State>,
    is_up: AtomicBool,
}

struct State {
    current: Option<Arc<MultiplexedConnection>>,
    /// When to connect again.
    not_before: Instant,
    backoff: Backoff,
}

/// The pauses between attempts.
#[derive(Default)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// Whether nothing has failed since the last success.
    pub(super) fn is_fresh(&self) -> bool {
        self.0.is_zero()
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = (self.0 * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.0 = pause;
        let half = u64::try_from(pause.as_millis() / 2).unwrap_or_default();
        let jitter = RandomState::new().hash_one(half) % half.max(1);
        Duration::from_millis(half + jitter)
    }

    pub(super) fn reset(&mut self) {
        self.0 = Duration::ZERO;
    }
}

impl Link {
    pub(super) fn new(client: Client, report: Reporter) -> Link {
        Link {
            client,
            report,
            state: Mutex::new(State {
                current: None,
                not_before: Instant::now(),
                backoff: Backoff::default(),
            }),
            is_up: AtomicBool::new(true),
        }
    }

    /// Whether the last command was carried out.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Runs a script. Drops the connection if that failed, also where Redis answered but refused: the
    /// address may lead to another server by now.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &Call) -> RedisResult<T> {
        let connection = self.connection().await?;
        let result = call.invoke_async(&mut (*connection).clone()).await;
        match &result {
            Ok(_) if self.is_up() => {}
            Ok(_) => {
                self.state.lock().await.backoff.reset();
                self.is_up.store(true, Ordering::Relaxed);
                self.report.info(format_args!("Redis takes messages again"));
            }
            Err(error) => {
                let state = &mut *self.state.lock().await;
                let current = state.current.as_ref();
                if current.is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                    self.fail(state, error);
                }
            }
        }
        result
    }

    async fn connection(&self) -> RedisResult<Arc<MultiplexedConnection>> {
        let state = &mut *self.state.lock().await;
        if let Some(current) = &state.current {
            return Ok(current.clone());
        }
        sleep_until(state.not_before).await;
        let connected = self.connect(COMMAND_TIMEOUT).await;
        let connected = connected.inspect_err(|error| self.fail(state, error))?;
        Ok(state.current.insert(Arc::new(connected)).clone())
    }

    /// A new connection, on which an answer may take so long.
    pub(super) async fn connect(
        &self,
        response_timeout: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    fn fail(&self, state: &mut State, error: &RedisError) {
        state.current = None;
        state.not_before = Instant::now() + state.backoff.next();
        if self.is_up.swap(false, Ordering::Relaxed) {
            self.report
                .error(format_args!("Redis takes no messages: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_no_further() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] < FIRST_PAUSE);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pauses[19] >= LONGEST_PAUSE / 2);
        backoff.reset();
        assert!(backoff.next() < FIRST_PAUSE);
    }
}
