//! Where authors were last seen, and under which names, so that they can be banned with their address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;

use crate::author::Author;
use crate::lock::lock;
use crate::names::MemberName;

/// Authors that are remembered, at most: about half a megabyte.
const MAX_SEEN: usize = 4_096;

/// Where an author was seen, and under which name.
pub(crate) type Place = (MemberName, IpAddr);

/// The place of each author's latest post or stream under a name: one without shows nobody anything.
#[derive(Default)]
pub(crate) struct Seen(Mutex<State>);

#[derive(Default)]
struct State {
    latest: HashMap<Author, Place>,
    /// Oldest first, to forget them in this order.
    order: VecDeque<Author>,
    /// Those whose place other servers have yet to be told.
    #[cfg(feature = "redis")]
    news: Vec<Author>,
}

impl Seen {
    /// Remembers where an author was last seen here.
    pub(crate) fn note(&self, author: Author, name: MemberName, address: IpAddr) {
        let state = &mut *lock(&self.0);
        let place = (name, address);
        if state.latest.get(&author) == Some(&place) {
            return;
        }
        state.remember(author, place);
        #[cfg(feature = "redis")]
        if state.news.len() < MAX_SEEN && !state.news.contains(&author) {
            state.news.push(author);
        }
    }

    /// Remembers where another server has seen an author.
    #[cfg(feature = "redis")]
    pub(super) fn hear(&self, author: Author, place: Place) {
        lock(&self.0).remember(author, place);
    }

    /// What other servers have yet to be told.
    #[cfg(feature = "redis")]
    pub(super) fn take_news(&self) -> Vec<(Author, Place)> {
        let state = &mut *lock(&self.0);
        let news = std::mem::take(&mut state.news).into_iter();
        news.filter_map(|author| Some((author, state.latest.get(&author)?.clone())))
            .collect()
    }

    pub(crate) fn latest(&self, author: Author) -> Option<Place> {
        lock(&self.0).latest.get(&author).cloned()
    }
}

impl State {
    fn remember(&mut self, author: Author, place: Place) {
        if self.latest.insert(author, place).is_some() {
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
