//! Positions in several rooms.

use std::time::Duration;

use super::*;

#[test]
fn a_newcomer_that_has_everything_misses_nothing_when_it_comes_back() {
    let clock = ManualClock::at(1_000);
    let limits = Limits {
        room_ttl: Some(Duration::from_secs(60)),
        ..hub(9).limits.clone()
    };
    let hub = Arc::new(Hub::new(
        limits,
        clock.clone().into(),
        Arc::default(),
        false,
    ));
    let _here = listen(&hub, &[room(0)], Start::Latest(0));
    say(&hub, &room(0));
    clock.advance(Duration::from_secs(1));
    say(&hub, &room(1));
    clock.advance(Duration::from_secs(61));
    assert!(hub.tick());
    let mut stream = listen(&hub, &[room(0), room(2)], Start::Latest(9));
    let first = text(&take(&mut stream).0);
    let id = first
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id");
    drop(stream);
    let mut stream = listen(&hub, &[room(0), room(2)], Start::After(id.parse().ok()));
    let again = text(&take(&mut stream).0);
    assert!(!again.contains("messages-missed"), "{first}\n---\n{again}");
}
