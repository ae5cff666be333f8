//! Who is in a room: names, the sessions that own them, and what has changed since the room was
//! last told.

use std::collections::{BTreeSet, HashMap};
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
    by_name: HashMap<FoldedName, Member>,
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
/// roster seen since then into the present one.
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

    /// All names, in order.
    pub(crate) fn names(&self) -> Vec<MemberName> {
        let mut names: Vec<MemberName> = self
            .by_name
            .values()
            .map(|member| member.name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// As many names as an event takes, [`ROSTER_NAMES`].
    pub(crate) fn roster(&self) -> Vec<MemberName> {
        let mut names = self.names();
        names.truncate(ROSTER_NAMES);
        names
    }

    /// Gathers what has changed since this was last asked; `None` if nothing has.
    pub(crate) fn take_changes(&mut self) -> Option<Changes> {
        if !std::mem::take(&mut self.census_touched) && self.touched.is_empty() {
            return None;
        }
        let present = |name: &MemberName| {
            self.by_name
                .get(&name.folded())
                .is_some_and(|member| member.name == *name)
        };
        let (joined, left) = std::mem::take(&mut self.touched)
            .into_iter()
            .partition(present);
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
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const START: Moment = Duration::from_secs(100);

    fn claim(name: &str, session: u128) -> Claim {
        Claim {
            name: MemberName::parse(name).expect("a name"),
            session: SessionId(session),
        }
    }

    fn shown(members: &Members) -> Vec<String> {
        members.names().iter().map(ToString::to_string).collect()
    }

    fn changes(members: &mut Members) -> (Vec<String>, Vec<String>) {
        let Changes { joined, left } = members.take_changes().expect("a change");
        let text = |names: Vec<MemberName>| names.iter().map(ToString::to_string).collect();
        (text(joined), text(left))
    }

    #[test]
    fn a_name_is_its_owners_until_the_grace_is_over() {
        let mut members = Members::default();
        members.join(Some(&claim("Alice", 1)), START).expect("free");
        assert_eq!(
            members.join(Some(&claim("aLICE", 2)), START),
            Err(NameTaken)
        );
        members.leave(Some(&claim("Alice", 1)), START);
        let just_before = START + NAME_GRACE - Duration::from_millis(1);
        assert_eq!(
            members.join(Some(&claim("alice", 2)), just_before),
            Err(NameTaken)
        );
        assert_eq!(shown(&members), ["Alice"]);
        members
            .join(Some(&claim("alice", 2)), START + NAME_GRACE)
            .expect("free again");
        assert_eq!(shown(&members), ["alice"]);
    }

    #[test]
    fn nobody_sees_a_reconnect() {
        let mut members = Members::default();
        members.join(Some(&claim("alice", 1)), START).expect("free");
        members.take_changes().expect("the join");
        members.leave(Some(&claim("alice", 1)), START);
        members.expire(START + NAME_GRACE / 2);
        members
            .join(Some(&claim("alice", 1)), START + NAME_GRACE / 2)
            .expect("its own");
        members.expire(START + NAME_GRACE * 9);
        assert_eq!(members.take_changes(), None);
        assert_eq!(members.in_grace, 0);
    }

    #[test]
    fn tabs_are_one_member() {
        let mut members = Members::default();
        for _ in 0..3 {
            members.join(Some(&claim("alice", 1)), START).expect("own");
        }
        assert_eq!(
            members.census(),
            Census {
                members: 1,
                listeners: 0
            }
        );
        members.leave(Some(&claim("alice", 1)), START);
        members.leave(Some(&claim("alice", 1)), START);
        members.expire(START + NAME_GRACE * 2);
        assert_eq!(shown(&members), ["alice"]);
        members.leave(Some(&claim("alice", 1)), START);
        members.expire(START + NAME_GRACE * 2);
        assert_eq!(shown(&members), [""; 0]);
    }

    #[test]
    fn a_rename_leaves_and_joins_at_once_in_either_order() {
        for new_first in [true, false] {
            let mut members = Members::default();
            members.join(Some(&claim("old", 1)), START).expect("free");
            members.take_changes().expect("the join");
            if new_first {
                members.join(Some(&claim("new", 1)), START).expect("free");
                members.leave(Some(&claim("old", 1)), START);
            } else {
                members.leave(Some(&claim("old", 1)), START);
                members.join(Some(&claim("new", 1)), START).expect("free");
            }
            assert_eq!(
                changes(&mut members),
                (vec!["new".into()], vec!["old".into()]),
                "new first: {new_first}"
            );
            members
                .join(Some(&claim("old", 2)), START)
                .expect("given up");
        }
    }

    #[test]
    fn speaking() {
        let mut members = Members::default();
        let name = |text: &str| Some(MemberName::parse(text).expect("a name"));
        let speaker = |text: &str, member| {
            Ok(Speaker {
                name: MemberName::parse(text).expect("a name"),
                member,
            })
        };
        members.join(Some(&claim("Alice", 1)), START).expect("free");
        assert_eq!(
            members.speaker(None, Some(SessionId(1)), START),
            speaker("Alice", true)
        );
        assert_eq!(
            members.speaker(name("ALICE"), Some(SessionId(1)), START),
            speaker("Alice", true)
        );
        assert_eq!(
            members.speaker(name("alice"), Some(SessionId(2)), START),
            Err(NoSpeaker::NameTaken)
        );
        assert_eq!(
            members.speaker(name("alice"), None, START),
            Err(NoSpeaker::NameTaken)
        );
        assert_eq!(
            members.speaker(name("bot"), None, START),
            speaker("bot", false)
        );
        assert_eq!(
            members.speaker(None, None, START),
            Err(NoSpeaker::NameRequired)
        );
        members
            .join(Some(&claim("Second", 1)), START)
            .expect("free");
        assert_eq!(
            members.speaker(None, Some(SessionId(1)), START),
            Err(NoSpeaker::NameRequired)
        );
    }

    #[test]
    fn a_listener_is_counted_and_nothing_else() {
        let mut members = Members::default();
        members.join(None, START).expect("anyone may listen");
        assert_eq!(
            members.take_changes(),
            Some(Changes {
                joined: vec![],
                left: vec![]
            })
        );
        assert_eq!(members.take_changes(), None);
        assert_eq!(
            members.census(),
            Census {
                members: 0,
                listeners: 1
            }
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join(u8, u128),
        Leave(u8, u128),
        Wait(u64),
        Tell,
        Enter,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..4, 0_u128..3).prop_map(|(name, session)| Step::Join(name, session)),
            4 => (0_u8..4, 0_u128..3).prop_map(|(name, session)| Step::Leave(name, session)),
            2 => (1_u64..15).prop_map(Step::Wait),
            2 => Just(Step::Tell),
            1 => Just(Step::Enter),
        ]
    }

    proptest! {
        /// Whoever takes the roster at any moment and applies every change told since then ends
        /// with the true roster.
        #[test]
        fn blindly_applied_changes_give_the_true_roster(steps in prop::collection::vec(step(), 1..200)) {
            let mut members = Members::default();
            let mut streams: Vec<Claim> = Vec::new();
            let mut watchers: Vec<BTreeSet<MemberName>> = vec![BTreeSet::new()];
            let mut now = START;
            let tell = |members: &mut Members, watchers: &mut Vec<BTreeSet<MemberName>>| {
                let Some(Changes { joined, left }) = members.take_changes() else { return };
                for roster in watchers {
                    roster.retain(|name| !left.contains(name));
                    roster.extend(joined.iter().cloned());
                }
            };
            for step in steps {
                match step {
                    Step::Join(name, session) => {
                        // Two spellings of two names.
                        let claim = claim(["a", "A", "b", "B"][usize::from(name)], session);
                        if members.join(Some(&claim), now).is_ok() {
                            streams.push(claim);
                        }
                    }
                    Step::Leave(name, session) => {
                        let at = streams.iter().position(|open| open.session == SessionId(session) && usize::from(name) < 4);
                        if let Some(at) = at {
                            members.leave(Some(&streams.swap_remove(at)), now);
                        }
                    }
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        members.expire(now);
                    }
                    Step::Tell => tell(&mut members, &mut watchers),
                    Step::Enter => watchers.push(members.names().into_iter().collect()),
                }
            }
            tell(&mut members, &mut watchers);
            let truth: BTreeSet<MemberName> = members.names().into_iter().collect();
            for roster in watchers {
                prop_assert_eq!(&roster, &truth);
            }
            prop_assert_eq!(members.in_grace, members.by_name.values().filter(|m| m.free_at.is_some()).count());
        }
    }
}
