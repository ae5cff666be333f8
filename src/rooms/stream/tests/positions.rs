//! Positions in several rooms, of which some are new.

use super::*;

#[test]
fn a_gap_in_a_room_that_is_new_moves_no_position_back() {
    let hub = hub(200);
    let early: Vec<EventId> = (0..200).map(|_| say(&hub, &room(1))).collect();
    let position = say(&hub, &room(0));
    let start = Start {
        after: Some(position.to_string()),
        history: 200,
        new: vec![room(1)],
    };
    let mut stream = listen(&hub, &[room(0), room(1)], start);
    // The first queueful ends within the early ones; the next ones are evicted meanwhile.
    for _ in 0..150 {
        say(&hub, &room(1));
    }
    let text = text(&take(&mut stream).0);
    assert!(text.contains("messages-missed"), "{text}");
    assert!(text.contains(&early[160].to_string()), "{text}");
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    for id in ids {
        assert!(
            id.parse::<EventId>().expect("an id") > position,
            "{id} is not above {position}"
        );
    }
}

#[test]
fn a_newcomer_that_has_everything_misses_nothing_when_it_comes_back() {
    let clock = ManualClock::at(1_000);
    let hub = hub_with(Options {
        history: 9,
        room_ttl: Some(Duration::from_secs(60)),
        clock: clock.clone().into(),
        ..options()
    });
    let _here = listen(&hub, &[room(0)], Start::default());
    say(&hub, &room(0));
    clock.advance(Duration::from_secs(1));
    say(&hub, &room(1));
    clock.advance(Duration::from_secs(61));
    assert!(hub.tick());
    let start = |after| Start {
        after,
        history: 9,
        new: Vec::new(),
    };
    let mut stream = listen(&hub, &[room(0), room(2)], start(None));
    let first = text(&take(&mut stream).0);
    let id = first
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id");
    drop(stream);
    let mut stream = listen(&hub, &[room(0), room(2)], start(Some(id.to_owned())));
    let again = text(&take(&mut stream).0);
    assert!(!again.contains("messages-missed"), "{first}\n---\n{again}");
}
