//! Where authors were last seen, and under which names, so that they can be banned with their address.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::address::ClientAddress;
use crate::names::MemberName;
use crate::rooms::author::Author;
use crate::rooms::lock;

/// Authors that are remembered, at most: about half a megabyte.
const MAX_SEEN: usize = 4_096;

type Latest = HashMap<Author, (MemberName, ClientAddress)>;

/// The name and the address of each author's latest post or named stream; and the authors, oldest
/// first, to forget them in this order.
#[derive(Default)]
pub(crate) struct Seen(Mutex<(Latest, VecDeque<Author>)>);

impl Seen {
    /// Remembers where an author was last seen, and under which name.
    pub(crate) fn note(&self, author: Author, name: &MemberName, address: ClientAddress) {
        let (latest, order) = &mut *lock(&self.0);
        if latest.insert(author, (name.clone(), address)).is_some() {
            return;
        }
        order.push_back(author);
        if order.len() > MAX_SEEN
            && let Some(oldest) = order.pop_front()
        {
            latest.remove(&oldest);
        }
    }

    pub(crate) fn latest(&self, author: Author) -> Option<(MemberName, ClientAddress)> {
        lock(&self.0).0.get(&author).cloned()
    }
}
