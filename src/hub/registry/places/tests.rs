use std::mem::size_of;

use super::*;

const ANA: OwnerNumber = OwnerNumber(1);

fn room(room: &str) -> RoomName {
    room.parse().expect("a room")
}

fn read_actions(places: &mut FollowedPlaces) -> Vec<(RoomName, Seq)> {
    let actions = places.take_reads(None).into_iter();
    let pair = |action| match action {
        Action::Read { room, upto, .. } => Some((room, upto)),
        _ => None,
    };
    actions.filter_map(pair).collect()
}

#[tokio::test(start_paused = true)]
async fn reads_are_stored_once_in_ten_seconds_and_on_leaving() {
    let mut places = FollowedPlaces::default();
    let tea = room("tea");
    places.begin(ConnectionId(1), ANA, &tea, None);
    places.read(ANA, tea.clone(), Seq(3));
    assert_eq!(read_actions(&mut places), [(tea.clone(), Seq(3))]);
    for seq in [5, 9, 7] {
        places.read(ANA, tea.clone(), Seq(seq));
    }
    assert_eq!(read_actions(&mut places), []);
    assert_eq!(places.unstored(ANA), [(tea.clone(), Seq(9))]);
    tokio::time::advance(STORED_EVERY).await;
    assert_eq!(read_actions(&mut places), [(tea.clone(), Seq(9))]);
    places.read(ANA, tea.clone(), Seq(10));
    assert_eq!(read_actions(&mut places), []);
    places.end(ConnectionId(1));
    assert_eq!(read_actions(&mut places), [(tea, Seq(10))]);
    tokio::time::advance(STORED_EVERY).await;
    assert_eq!(read_actions(&mut places), []);
    assert!(places.reads.is_empty() && places.is_empty());
}

// Three words in a node of a B-tree are for the tree, and nodes are two thirds
// full.
#[test]
fn a_thousand_rooms_followed_cost_at_most_64_kib() {
    let mut places = FollowedPlaces::default();
    places.begin(ConnectionId(1), ANA, &room("lobby"), None);
    let followed = |n| Followed {
        place: Place::Room(room(&format!("room-{n}"))),
        read: Seq(1),
        last: Seq(1),
        unread: 0,
        mentions: 0,
        level: FollowLevel::All,
    };
    let followed: Vec<_> = (0..MAX_FOLLOWED).map(followed).collect();
    places.set(ConnectionId(1), &followed);
    let told = &places.connections[&ConnectionId(1)];
    let own = told.rooms.capacity() * size_of::<(RoomDigest, Told)>();
    let listed = MAX_FOLLOWED * (size_of::<(RoomDigest, ConnectionId)>() * 3 / 2 + 8);
    assert_eq!(told.rooms.len(), MAX_FOLLOWED);
    assert!(own + listed <= 64 << 10, "{own} {listed}");
    // A connection that follows nothing has nothing here.
    places.end(ConnectionId(1));
    assert!(places.is_empty() && places.listeners.is_empty() && places.owners.is_empty());
}

// Verified to fail when the places that were read replace later changes.
#[test]
fn a_change_while_places_are_read_stays() {
    let mut places = FollowedPlaces::default();
    let (id, left, kept) = (ConnectionId(1), room("left"), room("kept"));
    let followed = [&left, &kept].map(|room| Followed {
        place: Place::Room(room.clone()),
        read: Seq(1),
        last: Seq(1),
        unread: 0,
        mentions: 0,
        level: FollowLevel::All,
    });
    places.begin(id, ANA, &room("lobby"), None);
    // Another connection of the same owner.
    places.change(ANA, &left, None);
    places.set(id, &followed);
    assert_eq!(
        [&left, &kept].map(|room| places.has(id, room)),
        [false, true]
    );
    places.change(ANA, &left, Some(FollowLevel::All));
    assert!(places.has(id, &left));
}
