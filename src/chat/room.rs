//! One room: its history, its members and its clients, under one lock.
//!
//! The lock is a plain mutex, held for a few lines and never across an `.await`. What needs
//! several of the parts at once (joining, publishing) is therefore one step that nobody sees half
//! of: a client that joins gets its backlog and every later message, with no gap and no repeat.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::answers::{
    CannotCommit, CannotJoin, ClientId, Committed, Expendable, KeyReused, Page, Query, Seat,
    Summary,
};
use super::clients::Clients;
use super::clock::{Clock, Moment};
use super::counters::Counters;
use super::frame::{Census, Frame, Greeting};
use super::history::{Beginning, Held, History, Start};
use super::id::EventId;
use super::lock;
use super::members::{Changes, Claim, Members, NameTaken, NoSpeaker, SessionId, Speaker};
use super::message::{Draft, Message, Stamp};
use super::names::{IdempotencyKey, MemberName, RoomName};
use super::queue;

/// A room.
pub(crate) struct Room {
    name: RoomName,
    heartbeat: Duration,
    clock: Clock,
    counters: Arc<Counters>,
    /// Wakes those who wait for a message without a stream of their own.
    arrivals: Notify,
    state: Mutex<State>,
}

struct State {
    history: History,
    members: Members,
    clients: Clients,
    idle_since: Moment,
    closed: bool,
}

impl Room {
    pub(crate) fn new(
        name: RoomName,
        history: History,
        heartbeat: Duration,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Room {
        let state = State {
            history,
            members: Members::default(),
            clients: Clients::new(clock.now()),
            idle_since: clock.now(),
            closed: false,
        };
        Room {
            name,
            heartbeat,
            clock,
            counters,
            arrivals: Notify::new(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn name(&self) -> &RoomName {
        &self.name
    }

    /// Takes a client in: its greeting, its backlog and its place among the clients, in one step.
    pub(crate) fn join(&self, claim: Option<&Claim>, start: &Start) -> Result<Seat, CannotJoin> {
        let state = &mut *lock(&self.state);
        if state.closed {
            return Err(CannotJoin::Closing);
        }
        state
            .members
            .join(claim, self.clock.now())
            .map_err(|NameTaken| CannotJoin::NameTaken)?;
        let beginning = state.history.begin(start);
        let greeting = Frame::connected(&Greeting {
            position: beginning.position,
            room: &self.name,
            name: claim.map(|claim| &claim.name),
            roster: &state.members.roster(),
            census: state.members.census(),
            heartbeat: self.heartbeat,
        });
        if beginning.missed.is_none() && matches!(start, Start::After(_)) {
            Counters::add(&self.counters.resumes, 1);
        }
        let mut backlog = vec![Arc::new(greeting)];
        self.catch_up(state, beginning, start, &mut backlog);
        let (client, live) = state.clients.add(self.clock.now());
        Ok(Seat {
            client,
            position: beginning.position,
            backlog,
            live,
        })
    }

    /// Takes a client in again whose queue had been full, where it left off, and tells it the
    /// whole roster; `None` when the room is closed and the client has everything.
    pub(crate) fn rejoin(&self, client: ClientId, position: EventId) -> Option<Seat> {
        let state = &mut *lock(&self.state);
        if state.closed && state.history.after(position).len() == 0 {
            return None;
        }
        Counters::add(&self.counters.catch_ups, 1);
        let start = Start::After(position);
        let beginning = state.history.begin(&start);
        let mut backlog = Vec::new();
        self.catch_up(state, beginning, &start, &mut backlog);
        backlog.push(Arc::new(Frame::members_replaced(
            &state.members.roster(),
            state.members.census(),
        )));
        let live = if state.closed {
            // Nothing will come after what is held.
            queue::ended()
        } else {
            state.clients.renew(client)
        };
        Some(Seat {
            client,
            position: beginning.position,
            backlog,
            live,
        })
    }

    fn catch_up(
        &self,
        state: &State,
        beginning: Beginning,
        start: &Start,
        backlog: &mut Vec<Arc<Frame>>,
    ) {
        if let Some(reason) = beginning.missed {
            Counters::add(&self.counters.gaps_told, 1);
            let asked = match start {
                Start::After(id) => Some(id.to_string()),
                Start::Unreadable(text) => Some(text.clone()),
                Start::Latest(_) => None,
            };
            let missed = Frame::missed(
                reason,
                asked.as_deref(),
                beginning.position,
                state.history.oldest(),
            );
            backlog.push(Arc::new(missed));
        }
        backlog.extend(
            state
                .history
                .after(beginning.position)
                .map(|held| held.frame.clone()),
        );
    }

    /// Takes a client out.
    pub(crate) fn leave(&self, client: ClientId, claim: Option<&Claim>) {
        let state = &mut *lock(&self.state);
        state.clients.remove(client);
        let now = self.clock.now();
        state.members.leave(claim, now);
        state.idle_since = now;
    }

    /// Gives a draft its place by `stamp`, keeps it and hands it to every client; or finds the
    /// message that stands under the same key already.
    pub(crate) fn commit(
        &self,
        draft: Draft,
        stamp: impl FnOnce() -> Stamp,
    ) -> Result<Committed, CannotCommit> {
        let state = &mut *lock(&self.state);
        if state.closed {
            return Err(CannotCommit::Closing);
        }
        if let Some(repeated) = state.repeat_of(&draft) {
            return repeated
                .map(Committed::Before)
                .map_err(|KeyReused| CannotCommit::KeyReused);
        }
        let key = draft.key.clone();
        let message = draft.stamped(&self.name, stamp());
        Ok(Committed::Now(self.publish(state, &message, key)))
    }

    /// The message that stands under the draft's key already, if any does.
    pub(crate) fn repeat_of(&self, draft: &Draft) -> Option<Result<Arc<Frame>, KeyReused>> {
        lock(&self.state).repeat_of(draft)
    }

    fn publish(
        &self,
        state: &mut State,
        message: &Message,
        key: Option<IdempotencyKey>,
    ) -> Arc<Frame> {
        let frame = Arc::new(Frame::new_message(message));
        state.history.push(message.id, frame.clone(), key);
        state.idle_since = self.clock.now();
        self.deliver(state, &frame);
        self.arrivals.notify_waiters();
        frame
    }

    /// Queues a frame for every client.
    fn deliver(&self, state: &mut State, frame: &Arc<Frame>) {
        Counters::add(&self.counters.deliveries, state.clients.len() as u64);
        state.clients.deliver(frame, self.clock.now());
    }

    /// Sends a heartbeat to the clients that were sent nothing for `period`.
    pub(crate) fn beat(&self, period: Duration) {
        let state = &mut *lock(&self.state);
        let heartbeat = || Frame::heartbeat(self.clock.unix_ms());
        state.clients.beat(period, self.clock.now(), heartbeat);
    }

    /// Puts back what was kept from an earlier life. `after` is the position before it.
    pub(crate) fn restore(&self, message: &Message, after: EventId, key: Option<IdempotencyKey>) {
        let state = &mut *lock(&self.state);
        state.history.begin_after(after);
        state
            .history
            .push(message.id, Arc::new(Frame::new_message(message)), key);
    }

    /// The position of whoever has everything.
    pub(crate) fn newest(&self) -> EventId {
        lock(&self.state).history.newest()
    }

    /// All that is held, and the position before it.
    pub(crate) fn held(&self) -> (EventId, Vec<Held>) {
        let state = lock(&self.state);
        let floor = state.history.floor();
        (floor, state.history.after(floor).cloned().collect())
    }

    /// Looks up what is held.
    pub(crate) fn page(&self, query: Query) -> Page {
        let state = lock(&self.state);
        let history = &state.history;
        let frame = |held: &Held| held.frame.clone();
        let Query {
            after,
            before,
            limit,
        } = query;
        let in_range = |held: &&Held| before.is_none_or(|before| held.id < before);
        let (messages, from, missed): (Vec<_>, _, _) = match (after, before) {
            (Some(after), _) => {
                let Beginning { position, missed } = history.begin(&Start::After(after));
                let messages = history
                    .after(position)
                    .take_while(in_range)
                    .take(limit)
                    .map(frame)
                    .collect();
                (messages, position, missed.is_some())
            }
            (None, Some(before)) => (
                history.before(before, limit).map(frame).collect(),
                history.floor(),
                false,
            ),
            (None, None) => {
                let Beginning { position, .. } = history.begin(&Start::Latest(limit));
                (
                    history.after(position).map(frame).collect(),
                    position,
                    false,
                )
            }
        };
        let next = messages.last().and_then(|frame| frame.id()).unwrap_or(from);
        Page {
            messages,
            next,
            missed,
        }
    }

    /// Waits until something is held after `position`; gives up never, so the caller limits it.
    pub(crate) async fn arrival_after(&self, position: EventId) {
        loop {
            let arrival = self.arrivals.notified();
            {
                let state = lock(&self.state);
                let known = state
                    .history
                    .begin(&Start::After(position))
                    .missed
                    .is_none();
                if state.closed || !known || state.history.newest() > position {
                    return;
                }
            }
            arrival.await;
        }
    }

    /// Finds out under which name a post may go.
    pub(crate) fn speaker(
        &self,
        name: Option<MemberName>,
        session: Option<SessionId>,
    ) -> Result<Speaker, NoSpeaker> {
        lock(&self.state)
            .members
            .speaker(name, session, self.clock.now())
    }

    /// Whether the session has a name here.
    pub(crate) fn includes(&self, session: SessionId) -> bool {
        lock(&self.state).members.includes(session)
    }

    /// All names, in order, and how many there are.
    pub(crate) fn present(&self) -> (Vec<MemberName>, Census) {
        let state = &mut *lock(&self.state);
        state.members.expire(self.clock.now());
        (state.members.names(), state.members.census())
    }

    pub(crate) fn summary(&self) -> Summary {
        let state = &mut *lock(&self.state);
        state.members.expire(self.clock.now());
        Summary {
            room: self.name.clone(),
            census: state.members.census(),
            newest: state.history.newest_held(),
            history_bytes: state.history.bytes(),
        }
    }

    /// Tells the clients what has changed among the members since the last time.
    pub(crate) fn tell_changes(&self) {
        let state = &mut *lock(&self.state);
        state.members.expire(self.clock.now());
        if let Some(Changes { joined, left }) = state.members.take_changes() {
            let frame = Frame::members_changed(&joined, &left, state.members.census());
            self.deliver(state, &Arc::new(frame));
        }
    }

    /// Whether nothing would be lost, or only what has been idle for `ttl`, if the room went; and
    /// the last position that would go with it.
    pub(crate) fn expendable(&self, ttl: Option<Duration>) -> Option<Expendable> {
        let state = &mut *lock(&self.state);
        let now = self.clock.now();
        state.members.expire(now);
        if state.members.census() != Census::default() {
            None
        } else if state.history.is_untouched() {
            Some(Expendable::Empty)
        } else {
            let idle = now.saturating_sub(state.idle_since);
            ttl.is_some_and(|ttl| idle >= ttl)
                .then(|| Expendable::Forgotten(state.history.newest()))
        }
    }

    /// Lets go of every client, for good.
    pub(crate) fn close(&self) {
        let state = &mut *lock(&self.state);
        state.closed = true;
        state.clients.let_go();
        self.arrivals.notify_waiters();
    }
}

impl State {
    fn repeat_of(&self, draft: &Draft) -> Option<Result<Arc<Frame>, KeyReused>> {
        let frame = self.history.by_key(draft.key.as_ref()?)?;
        let first = serde_json::from_slice(&frame.data())
            .ok()
            .as_ref()
            .and_then(Message::from_json);
        let same = first.is_some_and(|first| first.text == draft.text && first.name == draft.name);
        Some(if same {
            Ok(frame.clone())
        } else {
            Err(KeyReused)
        })
    }
}

#[cfg(test)]
mod tests;
