//! Where authors were last seen, and under which names, so that they can be banned with their address.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::address::ClientAddress;
use crate::rooms::author::Author;
use crate::rooms::lock;
use crate::rooms::names::MemberName;

/// Authors that are remembered, at most: about half a megabyte.
const MAX_SEEN: usize = 4_096;

/// The name and the address of each author's latest post or named stream.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Table>);

#[derive(Default)]
struct Table {
    latest: HashMap<Author, (MemberName, ClientAddress)>,
    /// Oldest first, to forget them in this order.
    order: VecDeque<Author>,
}

impl Seen {
    /// Remembers where an author was last seen, and under which name.
    pub(crate) fn note(&self, author: Author, name: &MemberName, address: ClientAddress) {
        let table = &mut *lock(&self.0);
        let latest = (name.clone(), address);
        if table.latest.insert(author, latest).is_some() {
            return;
        }
        table.order.push_back(author);
        if table.order.len() > MAX_SEEN
            && let Some(oldest) = table.order.pop_front()
        {
            table.latest.remove(&oldest);
        }
    }

    pub(crate) fn latest(&self, author: Author) -> Option<(MemberName, ClientAddress)> {
        lock(&self.0).latest.get(&author).cloned()
    }
}
