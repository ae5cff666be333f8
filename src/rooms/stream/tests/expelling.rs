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
