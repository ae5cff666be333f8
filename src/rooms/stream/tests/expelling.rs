//! Streams that are ended by others.

use super::*;

fn join_from(hub: &Arc<Hub>, rooms: &[RoomName], address: [u8; 4]) -> Stream {
    let address = Some(address.into());
    let claim = Claim {
        address,
        ..claim("y", 7)
    };
    let stream = hub.subscribe(rooms, Some(claim), None, Start::default());
    stream.unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn expelling_one_stream_of_a_session_leaves_it_its_name_and_its_other_stream() {
    let hub = hub(usize::MAX);
    let _expelled = join_from(&hub, &[room(0)], [10, 0, 0, 1]);
    let mut other = join_from(&hub, &[room(0)], [10, 0, 0, 2]);
    hub.expel(|claim, _| claim.address == Some([10, 0, 0, 1].into()));
    assert_eq!(hub.members(&room(0)).0.len(), 1);
    hub.tick();
    let said = say(&hub, &room(0));
    assert_eq!(messages(&take(&mut other).0), [said]);
}

#[test]
fn whoever_is_expelled_while_waiting_for_a_position_does_not_join() {
    for is_reached_first in [false, true] {
        let hub = hub(9);
        let (reached, reach) = tokio::sync::oneshot::channel::<()>();
        let reach: Reached = Box::pin(async move { drop(reach.await) });
        let claim = Some(claim("y", 7));
        let mut stream = hub.subscribe_after(reach, vec![room(0)], claim, None, Start::default());
        assert!(take(&mut stream).0.is_empty());
        if is_reached_first {
            drop(reached);
            hub.expel(|claim, _| claim.author == Author(7));
        } else {
            hub.expel(|claim, _| claim.author == Author(7));
            drop(reached);
        }
        assert!(take(&mut stream).1, "it has ended");
        drop(stream);
        assert!(hub.members(&room(0)).0.is_empty());
    }
}
