//! Who is in a room: names, the sessions that own them, and what has changed since the room was
//! last told.
//!
//! The rules of names:
//! - A name belongs to one session at a time. Several streams of one session under one name are one
//!   member.
//! - When its last stream ends, a name stays reserved for its session for [`NAME_GRACE`], and
//!   nobody sees the absence. The session takes it over again by connecting.
//! - A session that connects under a new name gives up its old one as soon as no stream uses it.
//! - A session without a stream here may post under any name that is free.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use super::frame::{Census, Frame, json_names};
use super::limits::{NAME_GRACE, PENDING_CHANGES, ROSTER_NAMES};
use crate::author::Author;
use crate::clock::Moment;
use crate::names::{FoldedName, MemberName, RoomName};

/// A name together with the author whose session claims it.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) name: MemberName,
    /// The session, as others know it.
    pub(crate) author: Author,
    /// Where the stream comes from, as far as bans are concerned.
    pub(crate) address: Option<IpAddr>,
}

/// The members and listeners of one room.
#[derive(Default)]
pub(super) struct Members {
    /// Sorted, so that the first names of a crowd are found without looking at all of it.
    by_name: BTreeMap<FoldedName, Member>,
    by_author: HashMap<Author, Vec<FoldedName>>,
    listeners: usize,
    /// Listeners at other servers of this chat.
    listeners_elsewhere: usize,
    /// Names without a stream, in the order in which they become free.
    grace: BTreeSet<(Moment, FoldedName)>,
    joins: u64,
    /// Names that joined, left or were respelt and the room has not been told of, oldest first. A name
    /// may occur more than once.
    untold: VecDeque<MemberName>,
    /// There were more than [`PENDING_CHANGES`]: the roster is to be replaced.
    too_many_untold: bool,
    /// The number of members or listeners has changed since the room was told.
    counts_changed: bool,
    /// The first names as JSON, until they change, and the last of them if there may be more.
    roster: Option<(Arc<str>, Option<FoldedName>)>,
}

struct Member {
    name: MemberName,
    author: Author,
    streams: usize,
    /// Other servers of this chat at which it is a member.
    elsewhere: u32,
    /// The number of its latest join in this room: tells an old name of a session from a new one.
    join: u64,
    /// When the name becomes free here, as in [`Members::grace`]; set while its streams have all ended.
    free_at: Option<Moment>,
}

impl Members {
    /// Whether a stream under this name may join.
    pub(super) fn admits(&mut self, claim: &Claim, now: Moment) -> bool {
        self.expire(now);
        self.by_name
            .get(claim.name.folded())
            .is_none_or(|member| member.author == claim.author)
    }

    /// Adds one stream, under a name that was admitted or under none.
    pub(super) fn join(&mut self, claim: Option<&Claim>) {
        let Some(Claim { name, author, .. }) = claim else {
            self.listeners += 1;
            self.counts_changed = true;
            return;
        };
        self.joins += 1;
        let join = self.joins;
        let member = self.get_or_insert(name, *author);
        member.streams += 1;
        member.join = join;
        if let Some(free_at) = member.free_at.take() {
            self.grace.remove(&(free_at, name.folded().clone()));
        }
        self.respell(name, *author);
        self.give_up_old_names(*author, name.folded());
    }

    /// A member is spelt like this now.
    pub(super) fn respell(&mut self, name: &MemberName, author: Author) {
        let member = self.by_name.get_mut(name.folded());
        if let Some(member) = member.filter(|member| member.author == author)
            && member.name != *name
        {
            let old = mem::replace(&mut member.name, name.clone());
            self.note_change(old);
            self.note_change(name.clone());
        }
    }

    /// The member of a name, added if there is none.
    fn get_or_insert(&mut self, name: &MemberName, author: Author) -> &mut Member {
        let folded = name.folded();
        if !self.by_name.contains_key(folded) {
            // Most authors have one name, and there may be many of them.
            let names = self.by_author.entry(author);
            let names = names.or_insert_with(|| Vec::with_capacity(1));
            names.push(folded.clone());
            self.note_change(name.clone());
        }
        self.by_name.entry(folded.clone()).or_insert(Member {
            name: name.clone(),
            author,
            streams: 0,
            elsewhere: 0,
            join: self.joins,
            free_at: None,
        })
    }

    /// Removes one stream. The name of the last one stays reserved for [`NAME_GRACE`], unless its
    /// owner is already here under a newer one.
    pub(super) fn leave(&mut self, claim: Option<&Claim>, now: Moment) {
        let Some(Claim { name, author, .. }) = claim else {
            self.listeners = self.listeners.saturating_sub(1);
            self.counts_changed = true;
            return;
        };
        let folded = name.folded();
        let Some(member) = self
            .by_name
            .get_mut(folded)
            .filter(|member| member.author == *author)
        else {
            return;
        };
        member.streams = member.streams.saturating_sub(1);
        if member.streams > 0 || member.free_at.is_some() {
            return;
        }
        let (join, free_at) = (member.join, now + NAME_GRACE);
        member.free_at = Some(free_at);
        let renamed = self
            .names_of(*author)
            .any(|other| other.join > join && (other.streams > 0 || other.elsewhere > 0));
        if renamed {
            self.release(folded);
        } else {
            self.grace.insert((free_at, folded.clone()));
        }
    }

    /// Frees the names whose grace is over.
    pub(super) fn expire(&mut self, now: Moment) {
        while self
            .grace
            .first()
            .is_some_and(|(free_at, _)| *free_at <= now)
            && let Some((_, folded)) = self.grace.pop_first()
        {
            self.release(&folded);
        }
    }

    /// Ends the grace of a name at once. A name that still has a stream stays.
    pub(super) fn end_grace(&mut self, claim: &Claim) {
        let folded = claim.name.folded();
        let member = self.by_name.get(folded);
        if member.is_some_and(|member| member.author == claim.author && member.streams == 0) {
            self.remove(folded);
        }
    }

    /// Ends the grace of the names that `concerns` picks by their claims.
    pub(super) fn end_graces(&mut self, concerns: impl Fn(&Claim) -> bool) {
        let is_concerned = |folded: &&FoldedName| {
            self.by_name.get(*folded).is_some_and(|member| {
                concerns(&Claim {
                    name: member.name.clone(),
                    author: member.author,
                    address: None,
                })
            })
        };
        let names = self.grace.iter().map(|(_, folded)| folded);
        for folded in names.filter(is_concerned).cloned().collect::<Vec<_>>() {
            self.remove(&folded);
        }
    }

    /// The member that this name belongs to, as its owner spells it, and whether `author` is the
    /// owner.
    pub(super) fn owner(
        &self,
        name: &MemberName,
        author: Option<Author>,
    ) -> Option<(&MemberName, bool)> {
        let member = self.by_name.get(name.folded())?;
        Some((&member.name, Some(member.author) == author))
    }

    /// The name of a session that has exactly one here.
    pub(super) fn only_name(&self, author: Author) -> Option<&MemberName> {
        let mut names = self.names_of(author);
        names
            .next()
            .filter(|_| names.next().is_none())
            .map(|member| &member.name)
    }

    /// Whether the session has a name here.
    pub(super) fn includes(&self, author: Author) -> bool {
        self.by_author.contains_key(&author)
    }

    pub(super) fn census(&self) -> Census {
        Census {
            members: self.by_name.len(),
            listeners: self.listeners + self.listeners_elsewhere,
        }
    }

    /// Whether any stream is at another server.
    pub(super) fn has_streams_elsewhere(&self) -> bool {
        self.listeners_elsewhere > 0 || self.by_name.values().any(|member| member.elsewhere > 0)
    }

    /// All names and whose they are, in the order in which they are compared.
    pub(super) fn names(&self) -> impl Iterator<Item = (&MemberName, Author)> {
        let members = self.by_name.values();
        members.map(|member| (&member.name, member.author))
    }

    /// The event that replaces a client's roster: its first [`ROSTER_NAMES`] names.
    pub(super) fn whole_roster(&mut self, room: &RoomName) -> Frame {
        let roster = self.roster();
        Frame::members_changed(room, [].iter(), [].iter(), self.census(), Some(&roster))
    }

    fn roster(&mut self) -> Arc<str> {
        let encode = || {
            let names = self.by_name.values().map(|member| &member.name);
            let last = self.by_name.keys().nth(ROSTER_NAMES - 1);
            (json_names(names.take(ROSTER_NAMES)).into(), last.cloned())
        };
        self.roster.get_or_insert_with(encode).0.clone()
    }

    /// The event that tells the oldest changes, as many as it carries; `None` if nothing has changed.
    /// Whoever has a roster from after the previous event gets the present one by removing `left` and then
    /// adding `joined`. Where there are too many changes for one event, that holds after the last of them.
    pub(super) fn take_changes(&mut self, room: &RoomName) -> Option<Frame> {
        let counts_changed = mem::take(&mut self.counts_changed);
        if mem::take(&mut self.too_many_untold) {
            return Some(self.whole_roster(room));
        }
        if !counts_changed && self.untold.is_empty() {
            return None;
        }
        let told = self.untold.len().min(ROSTER_NAMES);
        let (mut joined, mut left) = (BTreeSet::new(), BTreeSet::new());
        for name in self.untold.drain(..told) {
            let present = self.by_name.get(name.folded()).map(|member| &member.name);
            // Also where another spelling is present: that one may have been told before.
            joined.extend(present);
            if present != Some(&name) {
                left.insert(name);
            }
        }
        if self.untold.is_empty() {
            self.untold = VecDeque::new();
        }
        let (joined, left) = (joined.into_iter(), left.iter());
        let changed = Frame::members_changed(room, joined, left, self.census(), None);
        Some(changed)
    }

    fn names_of(&self, author: Author) -> impl Iterator<Item = &Member> {
        let names = self.by_author.get(&author).into_iter().flatten();
        names.filter_map(|folded| self.by_name.get(folded))
    }

    fn give_up_old_names(&mut self, author: Author, current: &FoldedName) {
        let names = self.by_author.get(&author);
        let Some(names) = names.filter(|names| names.len() > 1) else {
            return;
        };
        let old = |folded: &&FoldedName| {
            *folded != current
                && self
                    .by_name
                    .get(*folded)
                    .is_some_and(|m| m.streams == 0 && m.elsewhere == 0)
        };
        for folded in names.iter().filter(old).cloned().collect::<Vec<_>>() {
            self.remove(&folded);
        }
    }

    /// Frees a name, unless another server has it.
    fn release(&mut self, folded: &FoldedName) {
        match self.by_name.get_mut(folded) {
            Some(member) if member.elsewhere > 0 => member.free_at = None,
            _ => self.remove(folded),
        }
    }

    fn remove(&mut self, folded: &FoldedName) {
        let Some(member) = self.by_name.remove(folded) else {
            return;
        };
        if let Some(free_at) = member.free_at {
            self.grace.remove(&(free_at, folded.clone()));
        }
        if let Some(names) = self.by_author.get_mut(&member.author) {
            names.retain(|name| name != folded);
            if names.is_empty() {
                self.by_author.remove(&member.author);
            }
        }
        self.note_change(member.name);
    }

    fn note_change(&mut self, name: MemberName) {
        let is_beyond = |last: &FoldedName| name.folded() > last;
        // In a crowd few names are among the first, which are all that is listed.
        self.roster
            .take_if(|(_, last)| !last.as_ref().is_some_and(is_beyond));
        self.counts_changed = true;
        self.too_many_untold |= self.untold.len() >= PENDING_CHANGES;
        match self.too_many_untold {
            true => self.untold = VecDeque::new(),
            false => self.untold.push_back(name),
        }
    }
}

#[cfg(feature = "redis")]
mod elsewhere;

#[cfg(test)]
mod tests;
