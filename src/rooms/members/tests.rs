use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const START: Moment = Duration::from_secs(100);

fn claim(name: &str, session: u64) -> Claim {
    Claim {
        name: MemberName::parse(name).expect("a name"),
        author: Author(session),
        address: None,
    }
}

/// Joins if the name is admitted, and says whether it was.
fn join(members: &mut Members, claim: &Claim, now: Moment) -> bool {
    let admitted = members.admits(claim, now);
    if admitted {
        members.join(Some(claim));
    }
    admitted
}

fn shown(members: &Members) -> Vec<String> {
    members
        .names()
        .map(|(name, _)| name)
        .map(ToString::to_string)
        .collect()
}

/// What the next event tells, if there is one.
fn told(members: &mut Members) -> Option<Value> {
    let room = RoomName::parse("lobby").expect("a room");
    let frame = members.take_changes(&room)?;
    Some(serde_json::from_slice(&frame.data()).expect("JSON"))
}

fn changes(members: &mut Members) -> (Vec<String>, Vec<String>) {
    let told = told(members).expect("something has changed");
    assert_eq!(told.get("members"), None, "a whole roster");
    let names = |key: &str| {
        let names = told[key].as_array().expect("a list").iter();
        names
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    };
    (names("joined"), names("left"))
}

#[test]
fn a_name_is_its_owners_until_the_grace_is_over() {
    let mut members = Members::default();
    assert!(join(&mut members, &claim("Alice", 1), START));
    assert!(!join(&mut members, &claim("aLICE", 2), START));
    members.leave(Some(&claim("Alice", 1)), START);
    let just_before = START + NAME_GRACE - Duration::from_millis(1);
    assert!(!join(&mut members, &claim("alice", 2), just_before));
    assert_eq!(shown(&members), ["Alice"]);
    assert!(join(&mut members, &claim("alice", 2), START + NAME_GRACE));
    assert_eq!(shown(&members), ["alice"]);
}

#[test]
fn a_crowd_is_told_of_in_the_order_in_which_it_came() {
    let mut members = Members::default();
    // Last in the alphabet, and first to come.
    assert!(join(&mut members, &claim("zoe", 0), START));
    for number in 1..PENDING_CHANGES {
        let claim = claim(&format!("m{number:05}"), number as u64);
        assert!(join(&mut members, &claim, START));
    }
    let (joined, left) = changes(&mut members);
    assert_eq!((joined.len(), left.len()), (ROSTER_NAMES, 0));
    let mut seen: BTreeSet<String> = joined.into_iter().collect();
    assert!(seen.contains("zoe"));
    let (joined, left) = changes(&mut members);
    assert_eq!((joined.len(), left.len()), (ROSTER_NAMES, 0));
    seen.extend(joined);
    assert_eq!(seen, shown(&members).into_iter().collect());
    assert_eq!(told(&mut members), None);
}

#[test]
fn an_encoded_roster_is_kept_while_the_names_that_it_lists_stay() {
    let mut members = Members::default();
    for number in 0..ROSTER_NAMES + 10 {
        let claim = claim(&format!("m{number:05}"), number as u64);
        assert!(join(&mut members, &claim, START));
    }
    let listed = |members: &mut Members| {
        let roster = members.roster();
        let names = json_names(members.names().map(|(name, _)| name).take(ROSTER_NAMES));
        assert_eq!(*roster, *names);
        roster
    };
    let first = listed(&mut members);
    assert!(join(&mut members, &claim("zoe", 9_999), START));
    assert!(Arc::ptr_eq(&first, &listed(&mut members)));
    for (name, session) in [("amy", 9_998), ("m00497x", 9_997)] {
        let before = listed(&mut members);
        assert!(join(&mut members, &claim(name, session), START));
        assert_ne!(before, listed(&mut members), "{name} joins");
    }
    let before = listed(&mut members);
    members.leave(Some(&claim("m00000", 0)), START);
    members.expire(START + NAME_GRACE);
    assert_ne!(before, listed(&mut members));
}

#[test]
fn more_changes_than_are_kept_replace_the_roster() {
    let mut members = Members::default();
    for number in 0..=PENDING_CHANGES {
        let claim = claim(&format!("m{number:05}"), number as u64);
        assert!(join(&mut members, &claim, START));
    }
    assert_eq!(members.untold.capacity(), 0);
    let replaced = told(&mut members).expect("a whole roster");
    assert_eq!(
        replaced["members"].as_array().map(Vec::len),
        Some(ROSTER_NAMES)
    );
    assert_eq!(told(&mut members), None);
    assert!(join(&mut members, &claim("zoe", 9_999), START));
    assert_eq!(changes(&mut members), (vec!["zoe".into()], vec![]));
}

#[test]
fn names_that_come_and_go_leave_nothing_behind() {
    let mut members = Members::default();
    for round in 0..5_000 {
        let claim = claim(&format!("m{round:05}"), round);
        let now = START + Duration::from_millis(100) * round as u32;
        assert!(join(&mut members, &claim, now));
        members.leave(Some(&claim), now);
        let kept = [
            members.by_name.len(),
            members.by_author.len(),
            members.grace.len(),
        ];
        assert!(kept.iter().all(|count| *count <= 101), "{kept:?}");
        assert!(members.untold.len() <= PENDING_CHANGES);
    }
}

#[test]
fn an_evicted_name_is_free_at_once_and_its_streams_end_quietly() {
    let mut members = Members::default();
    let spammer = claim("spam", 1);
    assert!(join(&mut members, &spammer, START));
    members.end_grace(&spammer);
    assert_eq!(shown(&members), ["spam"], "it has a stream");
    members.leave(Some(&spammer), START);
    members.end_grace(&claim("spam", 2));
    assert_eq!(shown(&members), ["spam"], "somebody else's claim");
    members.end_grace(&spammer);
    assert!(join(&mut members, &claim("spam", 2), START));
    members.leave(Some(&spammer), START);
    assert_eq!(shown(&members), ["spam"]);
}

#[test]
fn an_old_spelling_that_is_told_apart_does_not_take_the_new_one_away() {
    let mut members = Members::default();
    assert!(join(&mut members, &claim("zoe", 1), START));
    told(&mut members).expect("the join");
    for number in 1..ROSTER_NAMES {
        let claim = claim(&format!("m{number:05}"), 2 + number as u64);
        assert!(join(&mut members, &claim, START));
    }
    // The old spelling is the last name of one event, the new one the first of the next.
    assert!(join(&mut members, &claim("Zoe", 1), START));
    let (joined, left) = changes(&mut members);
    assert!(joined.contains(&"Zoe".to_owned()));
    assert_eq!(left, ["zoe"]);
    assert_eq!(changes(&mut members), (vec!["Zoe".into()], vec![]));
}

#[test]
fn nobody_sees_a_reconnect() {
    let mut members = Members::default();
    assert!(join(&mut members, &claim("alice", 1), START));
    told(&mut members).expect("the join");
    members.leave(Some(&claim("alice", 1)), START);
    members.expire(START + NAME_GRACE / 2);
    assert!(join(
        &mut members,
        &claim("alice", 1),
        START + NAME_GRACE / 2
    ));
    members.expire(START + NAME_GRACE * 9);
    assert_eq!(told(&mut members), None);
}

#[test]
fn tabs_are_one_member() {
    let mut members = Members::default();
    for _ in 0..3 {
        assert!(join(&mut members, &claim("alice", 1), START));
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
        assert!(join(&mut members, &claim("old", 1), START));
        told(&mut members).expect("the join");
        if new_first {
            assert!(join(&mut members, &claim("new", 1), START));
            members.leave(Some(&claim("old", 1)), START);
        } else {
            members.leave(Some(&claim("old", 1)), START);
            assert!(join(&mut members, &claim("new", 1), START));
        }
        assert_eq!(
            changes(&mut members),
            (vec!["new".into()], vec!["old".into()]),
            "new first: {new_first}"
        );
        assert!(join(&mut members, &claim("old", 2), START));
    }
}

#[test]
fn owners() {
    let mut members = Members::default();
    let name = |text: &str| MemberName::parse(text).expect("a name");
    let alice = name("Alice");
    assert!(join(&mut members, &claim("Alice", 1), START));
    assert_eq!(members.only_name(Author(1)), Some(&alice));
    let owner = |text, session| members.owner(&name(text), session);
    assert_eq!(owner("ALICE", Some(Author(1))), Some((&alice, true)));
    assert_eq!(owner("alice", Some(Author(2))), Some((&alice, false)));
    assert_eq!(owner("alice", None), Some((&alice, false)));
    assert_eq!(owner("bot", None), None);
    assert!(join(&mut members, &claim("Second", 1), START));
    assert_eq!(members.only_name(Author(1)), None);
}

#[test]
fn a_listener_is_counted_and_nothing_else() {
    let mut members = Members::default();
    members.join(None);
    assert_eq!(changes(&mut members), (vec![], vec![]));
    assert_eq!(told(&mut members), None);
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
    Join(u8, u64),
    Leave(u8, u64),
    Wait(u64),
    Tell,
    Enter,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, 0_u64..3).prop_map(|(name, session)| Step::Join(name, session)),
        4 => (0_u8..4, 0_u64..3).prop_map(|(name, session)| Step::Leave(name, session)),
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
        let mut watchers: Vec<BTreeSet<String>> = vec![BTreeSet::new()];
        let mut now = START;
        let tell = |members: &mut Members, watchers: &mut Vec<BTreeSet<String>>| {
            if members.untold.is_empty() {
                return;
            }
            let (joined, left) = changes(members);
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
                    if join(&mut members, &claim, now) {
                        streams.push(claim);
                    }
                }
                Step::Leave(name, session) => {
                    let at = streams.iter().position(|open| open.author == Author(session) && usize::from(name) < 4);
                    if let Some(at) = at {
                        members.leave(Some(&streams.swap_remove(at)), now);
                    }
                }
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    members.expire(now);
                }
                Step::Tell => tell(&mut members, &mut watchers),
                Step::Enter => watchers.push(shown(&members).into_iter().collect()),
            }
        }
        tell(&mut members, &mut watchers);
        let truth: BTreeSet<String> = shown(&members).into_iter().collect();
        for roster in watchers {
            prop_assert_eq!(&roster, &truth);
        }
    }
}
