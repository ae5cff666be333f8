//! The store lost entries, and a new epoch begins: everybody is told, once.

use super::super::super::message::Entry;
use super::*;

fn id(milliseconds: u64) -> EventId {
    EventId {
        milliseconds,
        sequence: 0,
    }
}

fn entry(milliseconds: u64) -> Entry {
    draft().into_entry(&room(0), id(milliseconds), milliseconds)
}

/// A hub in an epoch with these entries, and what it does when a later one begins with those.
fn hub_with(entries: &[u64]) -> (Arc<Hub>, impl Fn(&[u64]) + use<>) {
    let hub = super::hub_with(Options {
        history: 100,
        data: Some("remembers".into()),
        ..options()
    });
    hub.reload(id(5), EventId::ZERO, Vec::new());
    entries
        .iter()
        .for_each(|ms| hub.publish(&room(0), entry(*ms)));
    let begin = {
        let hub = hub.clone();
        move |kept: &[u64]| {
            let kept = kept.iter().map(|ms| entry(*ms)).collect();
            hub.reload(id(20), EventId::ZERO, vec![(room(0), id(5), kept)]);
        }
    };
    (hub, begin)
}

fn resumed(hub: &Arc<Hub>, after: &str) -> Vec<Arc<Frame>> {
    let start = Start {
        after: Some(after.to_owned()),
        ..Start::default()
    };
    take(&mut listen(hub, &[room(0)], start)).0
}

/// The `Last-Event-ID` of a client that has got these frames.
fn last_id(frames: &[Arc<Frame>]) -> String {
    let text = text(frames);
    let mut ids = text
        .lines()
        .rev()
        .filter_map(|line| line.strip_prefix("id: "));
    ids.next().expect("an id").to_owned()
}

fn is_told(frames: &[Arc<Frame>]) -> bool {
    frames
        .iter()
        .any(|frame| frame.event() == "messages-missed")
}

fn resumes_quietly_with_nothing(hub: &Arc<Hub>, after: &str) {
    let frames = resumed(hub, after);
    assert!(!is_told(&frames), "{}", text(&frames));
    assert_eq!(messages(&frames), [], "after {after}");
    assert_eq!(last_id(&frames), after);
}

#[test]
fn a_new_epoch_is_told_once() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    for start in ["12-0", "11-0", "10-0", "garbage"] {
        let frames = resumed(&hub, start);
        assert!(is_told(&frames), "{}", text(&frames));
        assert_eq!(messages(&frames), [id(10), id(11)]);
        resumes_quietly_with_nothing(&hub, &last_id(&frames));
    }
    hub.publish(&room(0), entry(30));
    let frames = resumed(&hub, "12-0");
    assert_eq!(messages(&frames), [id(10), id(11), id(30)]);
    assert_eq!(last_id(&frames), "30-0");
}

#[test]
fn open_streams_are_told_once_with_more_to_come_or_without() {
    for (seen, kept, given) in [(12, &[10, 11][..], vec![]), (10, &[10, 11], vec![id(11)])] {
        let (hub, begin) = hub_with(&[seen]);
        let mut stream = listen(&hub, &[room(0)], Start::default());
        take(&mut stream);
        begin(kept);
        let (frames, _) = take(&mut stream);
        assert!(is_told(&frames), "{}", text(&frames));
        assert_eq!(messages(&frames), given);
        resumes_quietly_with_nothing(&hub, &last_id(&frames));
        hub.publish(&room(0), entry(30));
        assert_eq!(messages(&take(&mut stream).0), [id(30)]);
    }
}

#[test]
fn whoever_is_cut_right_after_the_notice_misses_nothing() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    let frames = resumed(&hub, "12-0");
    let notice = frames.iter().position(|f| f.event() == "messages-missed");
    let cut = last_id(&frames[..=notice.expect("it is told")]);
    // It is told again, and has everything anew.
    let frames = resumed(&hub, &cut);
    assert!(is_told(&frames), "{}", text(&frames));
    assert_eq!(messages(&frames), [id(10), id(11)]);
    resumes_quietly_with_nothing(&hub, &last_id(&frames));
}

#[test]
fn a_newcomer_is_told_of_nothing() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    for history in [0, 1, 50] {
        let start = Start {
            history,
            ..Start::default()
        };
        let (frames, _) = take(&mut listen(&hub, &[room(0)], start));
        assert_eq!(messages(&frames).len(), history.min(2));
        resumes_quietly_with_nothing(&hub, &last_id(&frames));
    }
}

#[test]
fn pages_of_a_history_end_in_a_position_that_is_known() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    let page = |after, limit| {
        let page = hub.page(&room(0), Some(after), None, limit);
        (messages(&page.messages), page.missed, page.next)
    };
    let (all, missed, next) = page(id(12), 50);
    assert_eq!((all, missed), (vec![id(10), id(11)], true));
    assert_eq!(page(next, 50), (vec![], false, next));
    assert_eq!(page(id(12), 1), (vec![id(10)], true, id(10)));
    assert_eq!(page(id(10), 1), (vec![id(11)], true, next));
    assert_eq!(page(id(11), 1), (vec![], true, next));
}
