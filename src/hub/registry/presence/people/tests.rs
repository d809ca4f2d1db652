use super::*;

/// A room with its own clock. Each member receives events under its number.
struct Room {
    people: People<u64>,
    now: Instant,
}

impl Room {
    fn new() -> Self {
        Room {
            people: People::default(),
            now: Instant::now(),
        }
    }

    fn enter(&mut self, number: u64, name: Option<&str>) {
        let author = author(number, name);
        self.people.enter(number, author, Some(number), self.now);
    }

    fn leave(&mut self, number: u64) {
        self.people.leave(number, self.now);
    }

    fn rename(&mut self, number: u64, name: &str) {
        let name = name.parse().expect("a name");
        self.people.rename(number, &name, self.now);
    }

    /// All events announced during a time, with the members that receive them.
    fn said(&mut self, during: Duration) -> Vec<(String, Vec<u64>)> {
        let end = self.now + during;
        let mut said = Vec::new();
        while let Some(due) = self.people.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let news = self.people.take_news(self.now);
            said.extend(news.into_iter().map(|news| (shown(&news.event), news.to)));
        }
        self.now = end;
        said
    }

    /// The events that one member receives during a time.
    fn heard(&mut self, by: u64, during: Duration) -> Vec<String> {
        let said = self.said(during).into_iter();
        said.filter(|(_, to)| to.contains(&by))
            .map(|(said, _)| said)
            .collect()
    }
}

fn author(number: u64, name: Option<&str>) -> Author {
    Author {
        name: name.map(|name| name.parse().expect("a name")),
        addr: ([127, 0, 0, 1], u16::try_from(number).expect("a port")).into(),
        owner: None,
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Joined { who, members } => format!("+{who} {members}"),
        Event::Left { who, members } => format!("-{who} {members}"),
        Event::Renamed { from, to } => format!("{from}={to}"),
        Event::Members { names, total, .. } if names.is_empty() => format!("{total}"),
        other => format!("{other:?}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_change_is_announced_once_and_only_to_others() {
    let mut room = Room::new();
    room.enter(1, Some("ana"));
    assert_eq!(room.said(SECOND), []);
    room.enter(2, None);
    room.enter(3, Some("ana"));
    assert_eq!(room.said(10 * SECOND), [("+127.0.0.1:2 2".into(), vec![1])]);
    assert_eq!((room.people.total(), room.people.connections()), (2, 3));
    room.rename(2, "bob");
    let renamed = ("127.0.0.1:2=bob".into(), vec![1, 3]);
    assert_eq!(room.said(10 * SECOND), [renamed]);
    room.leave(1);
    assert_eq!(room.said(10 * SECOND), []);
    room.leave(3);
    assert_eq!(room.people.total(), 1);
    let left = ("-ana 1".into(), vec![2]);
    assert_eq!(room.said(10 * SECOND), [left]);
    let (names, total) = room.people.names();
    assert_eq!(
        (names, total),
        (vec![("bob".to_owned(), Some([127, 0, 0, 1].into()))], 1)
    );
}

#[test]
fn a_person_who_returns_soon_is_not_announced() {
    let mut room = Room::new();
    room.enter(1, None);
    room.enter(2, Some("ana"));
    assert_eq!(room.heard(1, SECOND), ["+ana 2"]);
    for number in 3..100 {
        room.leave(number - 1);
        assert_eq!(room.people.total(), 1, "those who are connected count");
        assert_eq!(room.said(SECOND * 4), []);
        room.enter(number, Some("ana"));
        assert_eq!(room.said(SECOND), []);
    }
    room.leave(99);
    assert_eq!(room.heard(1, RETURN_GRACE), ["-ana 1"]);
    // A person without a name cannot be recognised.
    room.enter(100, None);
    room.leave(100);
    let said = ["+127.0.0.1:100 2", "-127.0.0.1:100 1"];
    assert_eq!(room.heard(1, SECOND), said);
}

#[test]
fn a_rename_may_be_announced_as_join_or_leave() {
    let mut room = Room::new();
    room.enter(1, None);
    for (number, name) in [(2, "ana"), (3, "ana"), (4, "bob")] {
        room.enter(number, Some(name));
        room.said(10 * SECOND);
    }
    // One of ana's two connections, then the other; a change to a present name;
    // eve's only connection.
    for (number, name, said) in [
        (2, "eve", "+eve 4"),
        (3, "Dan", "ana=Dan"),
        (3, "bob", "-Dan 3"),
        (2, "bob", "-eve 2"),
    ] {
        room.rename(number, name);
        assert_eq!(room.heard(1, 10 * SECOND), [said], "{name}");
    }
    room.rename(4, "bob");
    assert_eq!(room.said(10 * SECOND), []);
    let (mut names, _) = room.people.names();
    names.sort();
    let names: Vec<_> = names.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["127.0.0.1:1", "bob"]);
    room.leave(1);
    room.leave(2);
    room.leave(3);
    assert_eq!(room.people.total(), 1);
}

#[test]
fn many_joins_at_once_are_announced_as_a_number() {
    let mut room = Room::new();
    room.enter(1, None);
    room.said(10 * SECOND);
    for number in 2..=100 {
        room.enter(number, None);
    }
    let said = room.heard(1, Duration::from_millis(999));
    let named: Vec<_> = (2..8).map(|n| format!("+127.0.0.1:{n} {n}")).collect();
    assert_eq!(said[..6], named);
    assert_eq!(said[6..], ["100"]);
    for number in 2..=100 {
        room.leave(number);
    }
    // The number and the joins before it were announced a second ago.
    let said = room.heard(1, 10 * SECOND);
    assert_eq!(said.last().map(String::as_str), Some("1"));
    assert!(said.len() <= 5, "{said:?}");
}

#[test]
fn no_more_than_a_few_changes_a_second_are_announced() {
    let mut room = Room::new();
    room.enter(1, None);
    room.said(10 * SECOND);
    let mut heard = Vec::new();
    for number in 2..1002 {
        room.enter(number, None);
        room.leave(number);
        heard.extend(room.heard(1, Duration::from_millis(10)));
    }
    assert!(heard.len() <= 48, "{} in ten seconds", heard.len());
}

#[test]
fn a_crowd_is_announced_only_as_a_number() {
    let mut room = Room::new();
    let many = CROWD as u64;
    for number in 1..=many {
        room.enter(number, None);
    }
    room.said(10 * SECOND);
    room.enter(many + 1, Some("ana"));
    room.said(10 * SECOND);
    let mut heard = Vec::new();
    let last = many + 101;
    for number in many + 2..=last {
        room.enter(number, None);
        heard.extend(room.heard(1, SECOND / 10));
    }
    assert!(heard.iter().all(|said| said.parse::<u64>().is_ok()));
    assert!((9..=11).contains(&heard.len()), "{heard:?}");
    // A join and a leave at once change no number.
    heard.extend(room.heard(1, 10 * SECOND));
    room.enter(last + 1, None);
    room.leave(last + 1);
    assert_eq!(room.said(10 * SECOND), []);
}

#[test]
fn a_room_without_listeners_keeps_no_news() {
    let mut room = Room::new();
    room.enter(1, None);
    room.enter(2, Some("ana"));
    room.leave(2);
    assert!(room.people.queue.is_some() && room.people.away == 1);
    room.people.enter(3, author(3, None), None, room.now);
    room.leave(1);
    assert!(room.people.queue.is_none() && room.people.named.is_empty());
    room.people.enter(4, author(4, Some("ana")), None, room.now);
    room.leave(4);
    assert_eq!((room.people.due(), room.people.total()), (None, 1));
    assert!(room.people.named.is_empty());
}

#[test]
fn the_number_of_unannounced_leaves_is_bounded() {
    let mut room = Room::new();
    room.enter(1, None);
    for number in 2..5000 {
        room.enter(number, Some(&format!("n{number}")));
        room.leave(number);
    }
    assert_eq!(room.people.named.len(), MAX_GONE);
    assert_eq!(room.people.total(), 1);
    room.said(10 * SECOND);
    assert!(room.people.named.is_empty());
}
