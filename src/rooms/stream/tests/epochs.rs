//! The store lost entries, and a new epoch begins: everybody is told, once.

use super::super::super::entries::Loaded;
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

fn load(hub: &Hub, epoch: u64, kept: &[u64]) {
    let mut loaded = Loaded::default();
    loaded.epoch = id(epoch);
    let history = loaded.room(room(0), id(5));
    kept.iter()
        .for_each(|ms| history.push(entry(*ms), hub.limits()));
    hub.load(loaded);
}

/// A hub in an epoch with these entries, and what it does when a later one begins with those.
fn hub_with(entries: &[u64]) -> (Arc<Hub>, impl Fn(&[u64]) + use<>) {
    let limits = hub(100).limits().clone();
    let clock: Clock = ManualClock::at(1_000).into();
    let hub = Arc::new(Hub::new(limits, clock, Arc::default(), true));
    load(&hub, 5, &[]);
    entries
        .iter()
        .for_each(|ms| hub.publish(&room(0), entry(*ms)));
    let begin = {
        let hub = hub.clone();
        move |kept: &[u64]| load(&hub, 20, kept)
    };
    (hub, begin)
}

fn resumed(hub: &Arc<Hub>, after: &str) -> Vec<Arc<Frame>> {
    let start = Start::After(after.parse().ok());
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
fn a_new_epoch_is_told_once_and_streams_go_on_from_their_positions() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    for (start, given) in [
        ("12-0", &[][..]),
        ("11-0", &[]),
        ("10-0", &[id(11)]),
        ("garbage", &[id(10), id(11)]),
    ] {
        let frames = resumed(&hub, start);
        assert!(is_told(&frames), "{}", text(&frames));
        assert_eq!(messages(&frames), given);
        resumes_quietly_with_nothing(&hub, &last_id(&frames));
    }
    hub.publish(&room(0), entry(30));
    let frames = resumed(&hub, "12-0");
    assert_eq!(messages(&frames), [id(30)]);
    assert_eq!(last_id(&frames), "30-0");
}

#[test]
fn open_streams_end_with_a_new_epoch() {
    let (hub, begin) = hub_with(&[10]);
    let mut stream = listen(&hub, &[room(0)], Start::Latest(0));
    take(&mut stream);
    begin(&[10]);
    let (frames, ended) = take(&mut stream);
    assert_eq!(
        frames.last().map(|frame| frame.event()),
        Some("server-closing")
    );
    assert!(
        ended && text(&frames).contains("retry: "),
        "{}",
        text(&frames)
    );
}

#[test]
fn whoever_is_cut_right_after_the_notice_is_told_again() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    let frames = resumed(&hub, "10-0");
    let notice = frames.iter().position(|f| f.event() == "messages-missed");
    let cut = last_id(&frames[..=notice.expect("it is told")]);
    let frames = resumed(&hub, &cut);
    assert!(is_told(&frames), "{}", text(&frames));
    assert_eq!(messages(&frames), [id(11)]);
    resumes_quietly_with_nothing(&hub, &last_id(&frames));
}

#[test]
fn a_newcomer_is_told_of_nothing() {
    let (hub, begin) = hub_with(&[10, 11, 12]);
    begin(&[10, 11]);
    for history in [0, 1, 50] {
        let start = Start::Latest(history);
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
    assert_eq!((all, missed), (vec![], true));
    assert_eq!(page(next, 50), (vec![], false, next));
    assert_eq!(page(id(9), 1), (vec![id(10)], true, id(10)));
    assert_eq!(page(id(10), 1), (vec![id(11)], true, next));
    assert_eq!(page(id(99), 1), (vec![id(10)], true, id(10)));
}
