//! Where authors were last seen, and under which names, so that they can be banned with their address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;

use crate::author::Author;
use crate::lock::lock;
use crate::names::MemberName;

/// Authors that are remembered, at most: about half a megabyte.
const MAX_SEEN: usize = 4_096;

/// An author was seen under this name, at this address.
pub(crate) type Sighting = (MemberName, IpAddr);

/// The name and address of each author's latest post or stream under a name. Streams without one are not noted:
/// nobody sees them.
#[derive(Default)]
pub(crate) struct Seen(Mutex<State>);

#[derive(Default)]
struct State {
    /// The sighting, and whether it was here.
    latest: HashMap<Author, (Sighting, bool)>,
    /// Oldest first, to forget them in this order.
    order: VecDeque<Author>,
}

impl Seen {
    /// Remembers where an author was last seen here.
    pub(crate) fn note(&self, author: Author, name: MemberName, address: IpAddr) {
        let state = &mut *lock(&self.0);
        state.remember(author, (name, address), true);
    }

    /// Remembers where another server has seen an author.
    #[cfg(feature = "redis")]
    pub(super) fn hear(&self, author: Author, sighting: Sighting) {
        lock(&self.0).remember(author, sighting, false);
    }

    /// Where authors were last seen, of those who were last seen here.
    #[cfg(feature = "redis")]
    pub(super) fn here(&self) -> Vec<(Author, Sighting)> {
        let latest = &lock(&self.0).latest;
        let here = latest.iter().filter(|(_, (_, is_here))| *is_here);
        here.map(|(author, (sighting, _))| (*author, sighting.clone()))
            .collect()
    }

    pub(crate) fn latest(&self, author: Author) -> Option<Sighting> {
        let state = lock(&self.0);
        state
            .latest
            .get(&author)
            .map(|(sighting, _)| sighting.clone())
    }
}

impl State {
    fn remember(&mut self, author: Author, sighting: Sighting, is_here: bool) {
        if self.latest.insert(author, (sighting, is_here)).is_some() {
            return;
        }
        self.order.push_back(author);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
    }
}
