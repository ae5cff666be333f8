//! Who is in a room: names, the sessions that own them, and what has changed since the room was
//! last told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::clock::Moment;
use super::frame::{Census, ROSTER_NAMES};
use super::names::{FoldedName, MemberName};

/// How long a name stays its owner's after the last stream under it ended: time enough for a
/// phone to change networks, short enough for a person to get a name that was given up.
pub(crate) const NAME_GRACE: Duration = Duration::from_secs(10);

/// The secret that a browser is known by. It is compared and hashed, and never shown.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct SessionId(pub(crate) u128);

/// A name together with the session that claims it.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) name: MemberName,
    pub(crate) session: SessionId,
}

/// The name belongs to another session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NameTaken;

/// Under which name a post may go, and whether its poster is a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Speaker {
    pub(crate) name: MemberName,
    pub(crate) member: bool,
}

/// Why nobody can be named as the poster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoSpeaker {
    /// The name belongs to another session.
    NameTaken,
    /// No name is given, and the session has not exactly one here.
    NameRequired,
}

/// The members and listeners of one room.
#[derive(Default)]
pub(crate) struct Members {
    /// In order, so that the first names of a crowd are had without looking at all of it.
    by_name: BTreeMap<FoldedName, Member>,
    by_session: HashMap<SessionId, Vec<FoldedName>>,
    listeners: usize,
    in_grace: usize,
    joins: u64,
    touched: BTreeSet<MemberName>,
    census_touched: bool,
}

struct Member {
    name: MemberName,
    session: SessionId,
    streams: usize,
    /// Which join of the room its latest was: tells an old name of a session from its new one.
    join: u64,
    /// When the name becomes free; set while there are no streams.
    free_at: Option<Moment>,
}

/// What has changed since the last time; applied in the order `left`, `joined`, it turns any
/// roster seen since then into the present one, of a crowd when the last of its changes is told.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Changes {
    pub(crate) joined: Vec<MemberName>,
    pub(crate) left: Vec<MemberName>,
}

impl Members {
    /// Adds one stream under a name, or under none.
    pub(crate) fn join(&mut self, claim: Option<&Claim>, now: Moment) -> Result<(), NameTaken> {
        self.expire(now);
        let Some(Claim { name, session }) = claim else {
            self.listeners += 1;
            self.census_touched = true;
            return Ok(());
        };
        let folded = name.folded();
        self.joins += 1;
        match self.by_name.get_mut(&folded) {
            Some(member) if member.session != *session => return Err(NameTaken),
            Some(member) => {
                member.streams += 1;
                member.join = self.joins;
                if member.free_at.take().is_some() {
                    self.in_grace -= 1;
                }
                if member.name != *name {
                    let old = std::mem::replace(&mut member.name, name.clone());
                    self.touched.extend([old, name.clone()]);
                }
            }
            None => {
                let member = Member {
                    name: name.clone(),
                    session: *session,
                    streams: 1,
                    join: self.joins,
                    free_at: None,
                };
                self.by_name.insert(folded.clone(), member);
                self.by_session
                    .entry(*session)
                    .or_default()
                    .push(folded.clone());
                self.touch(name.clone());
            }
        }
        self.give_up_old_names(*session, &folded);
        Ok(())
    }

    /// Takes one stream away. The name of the last one stays its owner's for [`NAME_GRACE`],
    /// unless its owner is already here under a newer one.
    pub(crate) fn leave(&mut self, claim: Option<&Claim>, now: Moment) {
        let Some(Claim { name, session }) = claim else {
            self.listeners = self.listeners.saturating_sub(1);
            self.census_touched = true;
            return;
        };
        let folded = name.folded();
        let Some(member) = self
            .by_name
            .get_mut(&folded)
            .filter(|member| member.session == *session)
        else {
            return;
        };
        member.streams = member.streams.saturating_sub(1);
        if member.streams > 0 || member.free_at.is_some() {
            return;
        }
        let join = member.join;
        member.free_at = Some(now + NAME_GRACE);
        self.in_grace += 1;
        let renamed = self
            .names_of(*session)
            .any(|other| other.join > join && other.streams > 0);
        if renamed {
            self.remove(&folded);
        }
    }

    /// Frees the names whose grace is over.
    pub(crate) fn expire(&mut self, now: Moment) {
        if self.in_grace == 0 {
            return;
        }
        let over = |member: &Member| member.free_at.is_some_and(|free_at| free_at <= now);
        let free: Vec<FoldedName> = self
            .by_name
            .iter()
            .filter(|(_, member)| over(member))
            .map(|(folded, _)| folded.clone())
            .collect();
        for folded in free {
            self.remove(&folded);
        }
    }

    /// Finds who speaks: under `name` where one is given, else under the one that the session has.
    pub(crate) fn speaker(
        &mut self,
        name: Option<MemberName>,
        session: Option<SessionId>,
        now: Moment,
    ) -> Result<Speaker, NoSpeaker> {
        self.expire(now);
        let Some(name) = name else {
            let mut own = session
                .into_iter()
                .flat_map(|session| self.names_of(session));
            return match (own.next(), own.next()) {
                (Some(only), None) => Ok(Speaker {
                    name: only.name.clone(),
                    member: true,
                }),
                _ => Err(NoSpeaker::NameRequired),
            };
        };
        match self.by_name.get(&name.folded()) {
            None => Ok(Speaker {
                name,
                member: false,
            }),
            Some(owner) if Some(owner.session) == session => Ok(Speaker {
                name: owner.name.clone(),
                member: true,
            }),
            Some(_) => Err(NoSpeaker::NameTaken),
        }
    }

    /// Whether the session has a name here.
    pub(crate) fn includes(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    pub(crate) fn census(&self) -> Census {
        Census {
            members: self.by_name.len(),
            listeners: self.listeners,
        }
    }

    /// All names, in the order in which they are compared.
    pub(crate) fn names(&self) -> Vec<MemberName> {
        self.by_name
            .values()
            .map(|member| member.name.clone())
            .collect()
    }

    /// The first of them, as many as an event takes: [`ROSTER_NAMES`].
    pub(crate) fn roster(&self) -> Vec<MemberName> {
        let first = self.by_name.values().take(ROSTER_NAMES);
        first.map(|member| member.name.clone()).collect()
    }

    /// Gathers what has changed since this was last asked, of a crowd's changes as many names as
    /// an event takes: the rest comes with the next. `None` if nothing has changed.
    pub(crate) fn take_changes(&mut self) -> Option<Changes> {
        if !std::mem::take(&mut self.census_touched) && self.touched.is_empty() {
            return None;
        }
        let later = match self.touched.iter().nth(ROSTER_NAMES).cloned() {
            Some(first) => self.touched.split_off(&first),
            None => BTreeSet::new(),
        };
        let (mut joined, mut left) = (BTreeSet::new(), Vec::new());
        for name in std::mem::replace(&mut self.touched, later) {
            let present = self.by_name.get(&name.folded()).map(|member| &member.name);
            // Also where it is another spelling that is here: that one may have been told before.
            joined.extend(present.cloned());
            if present != Some(&name) {
                left.push(name);
            }
        }
        let joined = joined.into_iter().collect();
        Some(Changes { joined, left })
    }

    fn names_of(&self, session: SessionId) -> impl Iterator<Item = &Member> {
        self.by_session
            .get(&session)
            .into_iter()
            .flatten()
            .filter_map(|folded| self.by_name.get(folded))
    }

    fn give_up_old_names(&mut self, session: SessionId, current: &FoldedName) {
        let Some(names) = self
            .by_session
            .get(&session)
            .filter(|names| names.len() > 1)
        else {
            return;
        };
        let old = |folded: &&FoldedName| {
            *folded != current && self.by_name.get(*folded).is_some_and(|m| m.streams == 0)
        };
        for folded in names.iter().filter(old).cloned().collect::<Vec<_>>() {
            self.remove(&folded);
        }
    }

    fn remove(&mut self, folded: &FoldedName) {
        let Some(member) = self.by_name.remove(folded) else {
            return;
        };
        if member.free_at.is_some() {
            self.in_grace -= 1;
        }
        if let Some(names) = self.by_session.get_mut(&member.session) {
            names.retain(|name| name != folded);
            if names.is_empty() {
                self.by_session.remove(&member.session);
            }
        }
        self.touch(member.name);
    }

    fn touch(&mut self, name: MemberName) {
        self.touched.insert(name);
        self.census_touched = true;
    }
}

#[cfg(test)]
mod tests;
