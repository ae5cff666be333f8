//! The store lost entries, and a new epoch begins: everybody is told, once and in its place.

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
    let mut loaded = Loaded::new(id(epoch));
    let history = loaded.room(room(0), id(5));
    kept.iter()
        .for_each(|ms| history.push(entry(*ms), &hub.options));
    hub.load(loaded);
}

/// A hub in an epoch with these entries.
fn hub_of(entries: &[u64]) -> Arc<Hub> {
    let hub = hub_with(Options {
        history: 100,
        data: Some("remembers".into()),
        ..options()
    });
    load(&hub, 5, &[]);
    entries
        .iter()
        .for_each(|ms| hub.publish(&room(0), entry(*ms)));
    hub
}

fn resumed(hub: &Arc<Hub>, after: EventId) -> Vec<Arc<Frame>> {
    take(&mut listen(hub, &[room(0)], Start::After(after))).0
}

fn is_told(frames: &[Arc<Frame>]) -> bool {
    !of_kind(frames, Event::Missed).is_empty()
}

#[test]
fn a_new_epoch_is_told_once_in_its_place() {
    let hub = hub_of(&[10, 11, 12]);
    load(&hub, 20, &[10, 11]);
    hub.publish(&room(0), entry(30));
    for (start, given) in [
        (12, &[30][..]),
        (11, &[30]),
        (10, &[11, 30]),
        (0, &[10, 11, 30]),
    ] {
        let frames = resumed(&hub, id(start));
        let given: Vec<EventId> = given.iter().copied().map(id).collect();
        assert_eq!(messages(&frames), given, "after {start}");
        let missed = frames.iter().position(|f| f.event() == Event::Missed);
        assert_eq!(frames[missed.expect("it is told")].id(), Some(id(20)));
        assert_eq!(messages(&frames[missed.unwrap_or(0)..]), [id(30)]);
        let again = resumed(&hub, last_id(&frames));
        assert!(!is_told(&again), "{}", text(&again));
        assert_eq!(messages(&again), []);
    }
}

#[test]
fn an_open_stream_stays_and_is_told() {
    let hub = hub_of(&[10]);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(0));
    take(&mut stream);
    load(&hub, 20, &[10]);
    let (frames, ended) = take(&mut stream);
    assert!(!ended);
    let text = text(&frames);
    assert_eq!(text.matches("event: messages-missed").count(), 2, "{text}");
    assert_eq!(frames.last().map(|f| f.event()), Some(Event::CaughtUp));
    assert_eq!(last_id(&frames), id(20));
    hub.publish(&room(0), entry(30));
    assert_eq!(messages(&take(&mut stream).0), [id(30)]);
}

#[test]
fn a_history_that_was_loaded_anew_without_a_loss_is_no_gap() {
    let hub = hub_of(&[10, 11]);
    let mut stream = listen(&hub, &[room(0)], Start::Latest(0));
    take(&mut stream);
    load(&hub, 5, &[10, 11, 12]);
    let (frames, _) = take(&mut stream);
    assert!(!is_told(&frames), "{}", text(&frames));
    assert_eq!(messages(&frames), [id(12)]);
}

#[test]
fn whoever_is_cut_right_before_the_notice_is_told_again_and_right_behind_it_is_not() {
    let hub = hub_of(&[10, 11, 12]);
    load(&hub, 20, &[10, 11]);
    let frames = resumed(&hub, id(10));
    let notice = frames.iter().position(|f| f.event() == Event::Missed);
    let notice = notice.expect("it is told");
    assert!(is_told(&resumed(&hub, last_id(&frames[..notice]))));
    assert!(!is_told(&resumed(&hub, last_id(&frames[..=notice]))));
}

#[test]
fn pages_of_a_history_end_in_a_position_that_is_known() {
    let hub = hub_of(&[10, 11, 12]);
    load(&hub, 20, &[10, 11]);
    let page = |after, limit| {
        let page = hub.page(&room(0), PageAt::After(after), limit);
        (messages(&page.messages), page.missed, page.next)
    };
    let (all, missed, next) = page(id(12), 50);
    assert_eq!((all, missed, next), (vec![], true, id(20)));
    assert_eq!(page(next, 50), (vec![], false, next));
    assert_eq!(page(id(9), 1), (vec![id(10)], true, id(10)));
    assert_eq!(page(id(10), 1), (vec![id(11)], true, next));
    assert_eq!(page(id(99), 1), (vec![id(10)], true, id(10)));
}
