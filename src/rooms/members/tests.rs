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
fn a_crowd_is_told_of_by_and_by() {
    const CROWD: usize = 2 * ROSTER_NAMES + 100;
    let mut members = Members::default();
    for number in 0..CROWD {
        let claim = claim(&format!("m{number:05}"), number as u128);
        members.join(Some(&claim), START).expect("free");
    }
    let mut seen = BTreeSet::new();
    for expected in [ROSTER_NAMES, ROSTER_NAMES, 100] {
        let (joined, left) = changes(&mut members);
        assert_eq!((joined.len(), left.len()), (expected, 0));
        seen.extend(joined);
    }
    assert_eq!(seen, shown(&members).into_iter().collect());
    assert_eq!(members.take_changes(), None);
}

#[test]
fn an_old_spelling_that_is_told_late_does_not_take_the_new_one_away() {
    let mut members = Members::default();
    members.join(Some(&claim("zoe", 1)), START).expect("free");
    members.take_changes().expect("the join");
    // The new spelling is told with the first names, the old one behind the crowd.
    members
        .join(Some(&claim("Zoe", 1)), START)
        .expect("its own");
    for number in 0..ROSTER_NAMES {
        let claim = claim(&format!("m{number:05}"), 2 + number as u128);
        members.join(Some(&claim), START).expect("free");
    }
    let (joined, left) = changes(&mut members);
    assert!(joined.contains(&"Zoe".to_owned()) && left.is_empty());
    let (joined, left) = changes(&mut members);
    assert!(joined.contains(&"Zoe".to_owned()));
    assert_eq!(left, ["zoe"]);
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
