//! Who is in a room: names, presence, the grace after a stream's end, and how the others are told.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::ManualClock;
use serde_json::{Value, json};

use crate::common::{
    Client, EventStream, Request, Response, Server, ask, encode, eventually, figure, get, say,
    unlimited, until_streams,
};

/// How long a name stays its owner's after the last stream.
const GRACE: Duration = Duration::from_secs(10);

fn joining(name: &str, session: Option<&str>) -> Request {
    let request = Request::get(&format!("/chat?name={}", encode(name)));
    match session {
        Some(session) => request.session(session),
        None => request,
    }
}

/// Joins the lobby under a name, with a session or to get one.
async fn join(address: SocketAddr, name: &str, session: Option<&str>) -> EventStream {
    EventStream::request(address, joining(name, session)).await
}

async fn refused(address: SocketAddr, name: &str, session: Option<&str>) -> Response {
    match EventStream::attempt(address, joining(name, session)).await {
        Ok(_) => panic!("{name} was let in"),
        Err(refused) => refused,
    }
}

async fn members(address: SocketAddr) -> Value {
    get(address, "/chat/lobby/members").await.json()["members"].clone()
}

/// A stream without a name that is told who comes and goes.
struct Watcher {
    stream: EventStream,
    sentinels: usize,
}

impl Watcher {
    async fn open(address: SocketAddr) -> Watcher {
        let mut stream = EventStream::open(address, "/chat?history=0").await;
        stream.until("chat-room-connected").await;
        Watcher {
            stream,
            sentinels: 0,
        }
    }

    /// All names that were told to have come or gone, in that order, up to and without the
    /// sentinel, which joins to mark the end.
    async fn told(&mut self, address: SocketAddr) -> Vec<(&'static str, String)> {
        self.sentinels += 1;
        let name = format!("sentinel {}", self.sentinels);
        let sentinel = join(address, &name, None).await;
        let mut told = Vec::new();
        loop {
            let event = self.stream.until("members-changed").await;
            assert_eq!((&event.id, event.retry), (&None, None), "{}", event.raw);
            let json = event.json();
            // To be applied in this order.
            for change in ["left", "joined"] {
                for name in json[change].as_array().expect("a list of names") {
                    told.push((change, name.as_str().expect("a name").to_owned()));
                }
            }
            if told.contains(&("joined", name.clone())) {
                told.retain(|(_, name)| !name.starts_with("sentinel"));
                drop(sentinel);
                return told;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_race_for_a_name_exactly_one_wins() {
    let server = Server::start().await;
    let address = server.address();
    for round in 0..20 {
        let attempts: Vec<_> = (0..4)
            .map(|_| {
                let request = joining(&format!("racer{round}"), None);
                tokio::spawn(EventStream::attempt(address, request))
            })
            .collect();
        let mut won = Vec::new();
        for attempt in attempts {
            match attempt.await.expect("an attempt does not panic") {
                Ok(stream) => won.push(stream),
                Err(refused) => drop(refused.expect(409, "name-taken")),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_greeted_with_its_name_and_the_roster() {
    let server = Server::start().await;
    let address = server.address();
    let _zoe = join(address, "Zoë", None).await;
    let _listener = EventStream::open(address, "/chat").await;
    let mut ann = join(address, "ann", None).await;
    let greeting = ann.event().await.json();
    assert_eq!(greeting["name"], "ann");
    assert_eq!(
        greeting.get("members"),
        None,
        "the roster is one event, and this another"
    );
    let roster = ann.event().await.json();
    assert_eq!(roster["members"], json!(["ann", "Zoë"]));
    for event in [greeting, roster] {
        let counts = (&event["memberCount"], &event["listenerCount"]);
        assert_eq!(counts, (&json!(2), &json!(1)));
    }
    assert!(ann.event().await.is("caught-up"));
    assert_eq!(
        get(address, "/chat/lobby/members").await.json(),
        json!({"room": "lobby", "members": ["ann", "Zoë"], "memberCount": 2, "listenerCount": 1})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_names_at_most_500_and_counts_all() {
    let server = Server::start().await;
    let mut seats = Vec::new();
    for n in 0..510 {
        let name = format!("member {n}");
        let joined = server.chat().join(["lobby"], name, None).await;
        seats.push(joined.expect("a free name"));
    }
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let roster = stream.until("members-changed").await.json();
    assert_eq!(roster["members"].as_array().map(Vec::len), Some(500));
    assert_eq!(roster["memberCount"], seats.len());
    let asked = get(server.address(), "/chat/lobby/members").await.json();
    assert_eq!(asked["members"].as_array().map(Vec::len), Some(510));
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going_is_told_and_a_name_is_free_after_the_grace() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let mut watcher = Watcher::open(address).await;
    let ann = join(address, "ann", None).await;
    assert_eq!(watcher.told(address).await, [("joined", "ann".to_owned())]);
    drop(ann);
    until_streams(address, 1).await;
    clock.advance(GRACE - Duration::from_millis(1));
    refused(address, "ANN", None)
        .await
        .expect(409, "name-taken");
    let post = Request::post_text("/chat?name=ann", "as her");
    ask(address, post.clone()).await.expect(409, "name-taken");
    assert!(members(address).await.to_string().contains("ann"));
    clock.advance(Duration::from_millis(1));
    assert!(!members(address).await.to_string().contains("ann"));
    let message = ask(address, post).await.expect(201, "").json();
    assert_eq!(message["member"], false);
    let told = watcher.told(address).await;
    assert!(told.contains(&("left", "ann".to_owned())), "{told:?}");
    join(address, "ANN", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_inside_the_grace_is_seen_by_nobody() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let ann = join(address, "ann", None).await;
    let session = ann.session();
    let mut watcher = Watcher::open(address).await;
    watcher.told(address).await;
    drop(ann);
    until_streams(address, 1).await;
    clock.advance(GRACE - Duration::from_millis(1));
    let mut back = join(address, "ann", Some(&session)).await;
    assert_eq!(back.event().await.json()["name"], "ann");
    // The old grace is over now, and it must not count for the new stream.
    clock.advance(GRACE);
    let told = watcher.told(address).await;
    assert!(told.iter().all(|(_, name)| name != "ann"), "{told:?}");
    refused(address, "ann", None)
        .await
        .expect(409, "name-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_takes_its_name_over_while_the_old_stream_still_hangs() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let hanging = join(address, "ann", None).await;
    let mut back = join(address, "ann", Some(&hanging.session())).await;
    let greeting = back.event().await.json();
    assert_eq!(
        (&greeting["name"], &greeting["memberCount"]),
        (&json!("ann"), &json!(1))
    );
    drop(hanging);
    until_streams(address, 1).await;
    clock.advance(2 * GRACE);
    assert_eq!(members(address).await, json!(["ann"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_another_session_may_have_the_name_and_the_first_may_not() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let first = join(address, "ann", None).await;
    let session = first.session();
    drop(first);
    until_streams(address, 0).await;
    clock.advance(GRACE);
    let _second = join(address, "ann", None).await;
    refused(address, "ann", Some(&session))
        .await
        .expect(409, "name-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tabs_of_one_session_are_one_member() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let mut watcher = Watcher::open(address).await;
    let first = join(address, "ann", None).await;
    let session = first.session();
    let second = join(address, "ann", Some(&session)).await;
    assert_eq!(watcher.told(address).await, [("joined", "ann".to_owned())]);
    drop(first);
    until_streams(address, 2).await;
    clock.advance(2 * GRACE);
    let told = watcher.told(address).await;
    assert!(told.iter().all(|(_, name)| name != "ann"), "{told:?}");
    assert!(members(address).await.to_string().contains("ann"));
    drop(second);
    until_streams(address, 1).await;
    clock.advance(GRACE);
    assert_eq!(members(address).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_names_leaves_under_the_old_one_and_joins_under_the_new() {
    let (server, _clock) = Server::in_still_time().await;
    let address = server.address();
    let mut watcher = Watcher::open(address).await;
    let old = join(address, "ann", None).await;
    let session = old.session();
    assert_eq!(watcher.told(address).await, [("joined", "ann".to_owned())]);
    drop(old);
    until_streams(address, 1).await;
    // No time passes: the old name has no grace, for its owner is here.
    let new = join(address, "anna", Some(&session)).await;
    let told = watcher.told(address).await;
    assert!(told.contains(&("left", "ann".to_owned())), "{told:?}");
    assert!(told.contains(&("joined", "anna".to_owned())), "{told:?}");
    let bob = join(address, "ann", None).await;
    drop((new, bob));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_beside_the_old_stream_replaces_it_when_that_ends() {
    let (server, _clock) = Server::in_still_time().await;
    let address = server.address();
    let old = join(address, "ann", None).await;
    let session = old.session();
    let _new = join(address, "anna", Some(&session)).await;
    assert_eq!(members(address).await, json!(["ann", "anna"]));
    // Two names of one's own: which one speaks has to be said.
    let nameless = Request::post_text("/chat", "hi").session(&session);
    ask(address, nameless.clone())
        .await
        .expect(400, "name-required");
    drop(old);
    until_streams(address, 1).await;
    assert_eq!(members(address).await, json!(["anna"]));
    assert_eq!(
        ask(address, nameless).await.expect(201, "").json()["name"],
        "anna"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spelling_of_ones_own_name_may_change() {
    let (server, _clock) = Server::in_still_time().await;
    let address = server.address();
    let mut watcher = Watcher::open(address).await;
    let old = join(address, "ann", None).await;
    let _new = join(address, "Ann", Some(&old.session())).await;
    let told = watcher.told(address).await;
    let joined: Vec<_> = told
        .iter()
        .filter(|(change, _)| *change == "joined")
        .collect();
    assert_eq!(
        joined.last().map(|(_, name)| name.as_str()),
        Some("Ann"),
        "{told:?}"
    );
    assert!(!members(address).await.to_string().contains("\"ann\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_belongs_to_a_session_per_room() {
    let server = Server::start().await;
    let address = server.address();
    let _lobby = join(address, "ann", None).await;
    let other = EventStream::open(address, "/chat/dev?name=ann").await;
    let post = Request::post_text("/chat/dev", "hi").session(&other.session());
    assert_eq!(
        ask(address, post).await.expect(201, "").json()["member"],
        true
    );
    let nameless = Request::post_text("/chat", "hi").session(&other.session());
    ask(address, nameless).await.expect(400, "name-required");
    say(address, "third", "ann", "free here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_without_a_word_leaves_no_ghost() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|_| {
        unlimited()
            .clock(clock.clone())
            .write_timeout(Duration::from_millis(300))
    })
    .await;
    let address = server.address();
    // Its kernel still holds the connection, as far as the server can see: it takes nothing, and
    // no FIN or RST ever comes.
    let client = Client::connect_narrow(address, 4_096).await;
    let vanished = EventStream::over(client, joining("ghost", None)).await;
    let vanished = vanished.expect("the name is free");
    let text = "x".repeat(4_000);
    eventually("the cut", || async {
        for _ in 0..20 {
            say(address, "lobby", "bot", &text).await;
        }
        figure(address, "chatroom_streams").await == 0
    })
    .await;
    refused(address, "ghost", None)
        .await
        .expect(409, "name-taken");
    clock.advance(GRACE);
    join(address, "ghost", None).await;
    drop(vanished);
}
