//! Where authors were last seen, and under which names, so that they can be banned with their address.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::address::ClientAddress;
use crate::rooms::author::Author;
use crate::rooms::lock;
use crate::rooms::names::MemberName;

/// Authors that are remembered, at most: about two megabytes.
const MAX_SEEN: usize = 10_000;

/// The latest name and address of authors who have posted.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Table>);

#[derive(Default)]
struct Table {
    latest: HashMap<Author, (MemberName, ClientAddress)>,
    /// Oldest first, to forget them in this order.
    order: VecDeque<Author>,
}

impl Seen {
    /// Remembers the author of a post.
    pub(crate) fn note_post(&self, author: Author, name: &MemberName, address: ClientAddress) {
        let table = &mut *lock(&self.0);
        if table.update(author, name, address) {
            return;
        }
        if table.order.len() >= MAX_SEEN
            && let Some(oldest) = table.order.pop_front()
        {
            table.latest.remove(&oldest);
        }
        table.latest.insert(author, (name.clone(), address));
        table.order.push_back(author);
    }

    /// Notes where an author who has posted now listens.
    pub(crate) fn note_stream(&self, author: Author, name: &MemberName, address: ClientAddress) {
        lock(&self.0).update(author, name, address);
    }

    pub(crate) fn latest(&self, author: Author) -> Option<(MemberName, ClientAddress)> {
        lock(&self.0).latest.get(&author).cloned()
    }
}

impl Table {
    /// Updates what is known of an author, and says whether anything was.
    fn update(&mut self, author: Author, name: &MemberName, address: ClientAddress) -> bool {
        let Some(latest) = self.latest.get_mut(&author) else {
            return false;
        };
        *latest = (name.clone(), address);
        true
    }
}
