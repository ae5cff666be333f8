//! The history of step 3.

use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::wire::event;

/// How many messages the room retains.
pub(crate) const HISTORY_MESSAGES: usize = 500;

/// The newest messages.
pub(crate) struct History {
    pub(crate) events: VecDeque<(u64, Bytes)>,
    /// Messages up to this id are not here any more, or never were.
    pub(crate) evicted_up_to: u64,
    pub(crate) last_id: u64,
}

impl Default for History {
    fn default() -> History {
        let start = unix_milliseconds();
        History {
            events: VecDeque::new(),
            evicted_up_to: start,
            last_id: start,
        }
    }
}

impl History {
    pub(crate) fn push(&mut self, text: &str) -> (Value, Bytes) {
        let id = unix_milliseconds().max(self.last_id + 1);
        let message = json!({"eventId": id, "text": text});
        let event = event(Some(id), "new-message", &message);
        self.last_id = id;
        self.events.push_back((id, event.clone()));
        if self.events.len() > HISTORY_MESSAGES {
            self.evicted_up_to = self.events.pop_front().map_or(id, |(id, _)| id);
        }
        (message, event)
    }

    /// What follows a position: the notice of a gap, if there is one, all that is retained, and the
    /// event that says where the present begins. Without a position nothing is missed.
    pub(crate) fn after(&self, position: Option<u64>) -> Vec<Bytes> {
        let position = position.unwrap_or(self.evicted_up_to);
        let position = if position > self.last_id { 0 } else { position };
        let told = |name, id| event(Some(id), name, &json!({"eventId": id}));
        let gap = position < self.evicted_up_to;
        let missed = gap.then(|| told("messages-missed", self.evicted_up_to));
        let newer = self.events.iter().filter(|(id, _)| *id > position);
        let newer = newer.map(|(_, event)| event.clone());
        let now = told("caught-up", self.last_id);
        missed.into_iter().chain(newer).chain([now]).collect()
    }
}

pub(crate) fn unix_milliseconds() -> u64 {
    let now = UNIX_EPOCH.elapsed();
    now.map_or(0, |since| since.as_millis() as u64)
}

/// A position that cannot be read is before everything.
pub(crate) fn position(header: &HeaderValue) -> u64 {
    let id = header.to_str().ok().and_then(|id| id.parse().ok());
    id.unwrap_or(0)
}
