//! Streams and the limit of rooms.

use super::*;

fn hub_of_one_room() -> Arc<Hub> {
    hub_with(Options {
        max_rooms: 1,
        ..options()
    })
}

#[test]
fn a_stream_of_many_rooms_does_not_pass_the_limit() {
    let hub = hub_of_one_room();
    let rooms = [room(0), room(1)];
    let stream = hub.subscribe(&rooms, None, None, Start::Latest(0));
    assert!(matches!(stream, Err(Refusal::TooManyRooms)));
}

#[test]
fn entries_on_their_way_do_not_pass_the_limit_of_rooms() {
    let hub = hub_of_one_room();
    assert_eq!(hub.open(&room(0)), Ok(()));
    assert_eq!(hub.open(&room(1)), Err(Refusal::TooManyRooms));
}

#[test]
fn a_stream_that_makes_room_for_itself_does_not_pass_the_limit() {
    let hub = hub_with(Options {
        max_rooms: 2,
        ..options()
    });
    let join =
        |rooms: &[RoomName]| hub.subscribe(rooms, Some(claim("a", 1)), None, Start::Latest(0));
    drop(join(&[room(0)]));
    let _other = listen(&hub, &[room(1)], Start::Latest(0));
    let _stream = join(&[room(0), room(2)]);
    assert!(
        hub.summaries(&[]).len() <= 2,
        "{} rooms",
        hub.summaries(&[]).len()
    );
}
