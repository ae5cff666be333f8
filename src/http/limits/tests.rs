use super::*;
use crate::clock::ManualClock;

fn limits(max_streams: usize, max_streams_per_ip: usize) -> Arc<Limits> {
    limits_at(&ManualClock::at(0), max_streams, max_streams_per_ip)
}

fn limits_at(clock: &ManualClock, max_streams: usize, max_streams_per_ip: usize) -> Arc<Limits> {
    clock.advance(Duration::from_secs(50));
    Arc::new(Limits::new(&Options {
        clock: clock.clone().into(),
        max_streams,
        max_streams_per_ip,
        ..Options::default()
    }))
}

fn address(last: u8) -> ClientAddress {
    ClientAddress::from(std::net::IpAddr::from([10, 0, 0, last]))
}

#[test]
fn a_burst_then_the_rate() {
    let clock = ManualClock::at(0);
    let limits = limits_at(&clock, 9, 9);
    let spend = |author| limits.spend(Allowance::Member(Author(author)), 1);
    for _ in 0..20 {
        assert_eq!(spend(1), Ok(()));
    }
    assert_eq!(spend(1), Err(Duration::from_millis(500)));
    assert_eq!(spend(2), Ok(()), "another visitor");
    let of_address = Allowance::Others(address(1));
    assert_eq!(limits.spend(of_address, 1), Ok(()), "another allowance");
    let check = || limits.spend(Allowance::Member(Author(1)), 0);
    clock.advance(Duration::from_millis(499));
    assert!(check().is_err());
    clock.advance(Duration::from_millis(1));
    assert!(check().is_ok());
    assert_eq!(spend(1), Ok(()));
    assert!(spend(1).is_err());
}

#[test]
fn the_table_is_bounded_and_forgets() {
    let clock = ManualClock::at(0);
    let limits = limits_at(&clock, 9, 9);
    for author in 0..TABLE_ENTRIES as u64 * 3 / 2 {
        let spent = limits.spend(Allowance::Member(Author(author)), 1);
        assert_eq!(spent, Ok(()));
        assert!(lock(&limits.left).len() <= TABLE_ENTRIES);
    }
    assert_eq!(lock(&limits.left).len(), TABLE_ENTRIES / 2);
    clock.advance(Duration::from_secs(1));
    limits.forget_idle();
    assert_eq!(lock(&limits.left).len(), 0);
}

fn refused() -> Result<(), Refusal> {
    Err(Refusal::TooManyStreamsOfAddress {
        retry_after: RETRY_SOON,
    })
}

#[test]
fn what_is_held_is_counted_and_given_back() {
    let limits = limits(3, 2);
    let open = |last, rooms| {
        let mut permit = limits.begin(address(last), 1)?;
        permit
            .take(Holding::Streams, streams_of(rooms))
            .map(|()| permit)
    };
    let first = open(1, 16).expect("free");
    assert_eq!(open(1, 1).map(drop), refused(), "one of many rooms");
    drop(first);
    let first = open(1, 1).expect("free");
    let _second = open(1, 8).expect("free");
    assert_eq!(open(1, 1).map(drop), refused(), "streams");
    let _third = open(2, 9).expect("free");
    assert_eq!(open(3, 1).map(drop), Err(Refusal::TooManyStreams));
    drop(first);
    assert_eq!(limits.streams(), 2);
    assert!(open(1, 1).is_ok());
}

#[test]
fn an_address_has_as_many_requests_under_way_as_connections() {
    let limits = limits(9, 2);
    let most = 2 + SPARE;
    let requests: Vec<Permit> = (0..most)
        .map(|_| limits.begin(address(1), 1).expect("free"))
        .collect();
    assert_eq!(limits.begin(address(1), 1).map(drop), refused());
    assert!(limits.begin(address(2), 1).is_ok());
    let connect = |count| limits.take(address(1), Holding::Connections, count);
    assert_eq!(connect(most), Ok(()), "a count of its own");
    assert_eq!(connect(1), refused());
    limits.give_back(address(1), [most, 0, 0, 0]);
    drop(requests);
    assert!(lock(&limits.open).by_address.is_empty());
}

#[test]
fn unread_answers_are_bounded_but_one_is_always_possible() {
    let limits = limits(9, 9);
    let answer = |bytes: u32| {
        let mut permit = limits.begin(address(1), 1)?;
        permit.take(Holding::AnswerBytes, bytes).map(|()| permit)
    };
    let large = answer(ANSWER_BYTES * 2).expect("the only one");
    assert!(answer(1).is_err());
    drop(large);
    let _half = answer(ANSWER_BYTES / 2).expect("room for it");
    let _other = answer(ANSWER_BYTES / 2).expect("room for it");
    assert!(answer(1).is_err());
}

#[test]
fn what_was_read_on_credit_comes_back_before_more_is_read() {
    let clock = ManualClock::at(0);
    let limits = limits_at(&clock, 9, 68);
    let reading = Allowance::Reading(address(1));
    let (rate, burst) = limits.rate_of(reading);
    assert_eq!((rate, burst), (100.0 * READ_BYTES, 1_000.0 * READ_BYTES));
    let may_read = || limits.spend(reading, 0);
    limits.charge(reading, burst as u32 - 1);
    assert_eq!(may_read(), Ok(()), "a byte is left");
    limits.charge(reading, u32::MAX);
    let wait = may_read().expect_err("nothing is left");
    assert_eq!(wait.as_secs(), READ_BURST as u64, "and no more is owed");
    assert_eq!(limits.spend(Allowance::Reading(address(2)), 0), Ok(()));
    // The clock of a test has whole milliseconds.
    clock.advance(wait + Duration::from_millis(1));
    assert_eq!(may_read(), Ok(()));
}

#[test]
fn streams_under_names_are_opened_at_a_bounded_rate() {
    let opening = Allowance::Openings(address(1));
    for per_ip in [100, 1_000] {
        let clock = ManualClock::at(0);
        let limits = limits_at(&clock, usize::MAX, per_ip);
        let spend = || limits.spend(opening, 1).is_ok();
        let opened = || (0..10_000).take_while(|_| spend()).count();
        assert_eq!(opened(), per_ip);
        clock.advance(Duration::from_secs(2));
        assert_eq!(opened(), per_ip / 5);
    }
    let unlimited = limits(usize::MAX, usize::MAX);
    let spend = |rooms| unlimited.spend(opening, streams_of(rooms)).is_ok();
    assert!((0..10_000).all(|_| spend(32)));
    let limits = limits(usize::MAX, 2);
    let spend = |rooms| limits.spend(opening, streams_of(rooms)).is_ok();
    assert!(!spend(17) && spend(16) && !spend(1), "two tokens");
}
