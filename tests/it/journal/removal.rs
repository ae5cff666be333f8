//! A removed text leaves the journal for good, whenever the server is killed; its removal stays.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use chatroom::{Fsync, ManualClock};
use tokio::time::sleep;

use super::{file, held, kept, lines, texts};
use crate::common::http::find;
use crate::common::{
    Client, EventStream, Folder, Process, Random, Request, Response, Server, ask, eventually, get,
    id_of, say, under,
};

/// How soon a removed text is in no file.
const LIMIT: Duration = Duration::from_secs(60);

fn keyed(key: &str, text: &str) -> Request {
    Request::post_text("/chat?name=a", text).header("Idempotency-Key", key)
}

fn removal(id: &str) -> Request {
    Request::new("DELETE", &format!("/chat/lobby/messages/{id}"))
}

/// A session of its own.
async fn session(address: SocketAddr) -> String {
    let page = get(address, "/").await;
    page.session().expect("the page sets the cookie")
}

fn id(message: &Response) -> String {
    id_of(&message.json()).to_string()
}

/// Whether a text is in any file of a folder.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).expect("it can be listed");
    entries.into_iter().any(|entry| {
        let path = entry.expect("it can be listed").path();
        // A file may be renamed or removed meanwhile.
        let content = fs::read(&path).unwrap_or_default();
        let inside = path.is_dir() && is_on_disk(&path, text);
        inside || find(&content, text.as_bytes()).is_some()
    })
}

/// Waits until none of the texts is in any file, within the limit counted from `began`.
async fn until_gone(folder: &Path, texts: &[&str], began: Instant) {
    while texts.iter().any(|text| is_on_disk(folder, text)) {
        assert!(began.elapsed() < LIMIT, "a removed text is still on disk");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_removed_text_is_in_no_file_within_the_limit() {
    let folder = Folder::new();
    let server = Server::with(|_| kept(folder.path()).fsync(Fsync::Always)).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let posted = say(server.address(), "lobby", "a", &format!("secret {n}")).await;
        ids.push(id_of(&posted));
    }
    // The second one has to wait until another rewrite may be forced.
    for n in [0, 2] {
        let began = Instant::now();
        let removed = server.chat().remove("lobby", ids[n]).await;
        removed.expect("it is retained");
        until_gone(folder.path(), &[&format!("secret {n}")], began).await;
    }
    assert_eq!(
        texts(&held(server.address()).await),
        ["secret 1", "secret 3"]
    );
    assert_eq!(
        lines(folder.path()).len(),
        4,
        "two messages and two removals"
    );
}

/// One that the server has no time for is done at the end.
#[tokio::test]
async fn an_end_in_good_order_leaves_no_removed_text() {
    let folder = Folder::new();
    let chat = kept(folder.path()).build().expect("an empty folder");
    for text in ["secret 1", "secret 2", "secret 3"] {
        let posted = chat.post("lobby", "a", text).await.expect("it is taken");
        chat.remove("lobby", posted.id)
            .await
            .expect("it is retained");
    }
    chat.close().await;
    assert!(!is_on_disk(folder.path(), "secret"));
    assert_eq!(lines(folder.path()).len(), 3);
}

#[tokio::test]
async fn a_removal_survives_restarts_and_resumes() {
    let folder = Folder::new();
    let builder = || kept(folder.path());
    let mut server = Server::with(|_| builder()).await;
    let author = session(server.address()).await;
    say(server.address(), "lobby", "b", "before").await;
    let request = keyed("k", "secret").session(&author);
    let posted = ask(server.address(), request.clone()).await;
    let id = id(&posted.expect(201, ""));
    say(server.address(), "lobby", "b", "after").await;
    let stranger = session(server.address()).await;
    let mut removed: Option<Response> = None;
    for _ in 0..3 {
        let address = server.address();
        let again = ask(address, removal(&id).session(&author))
            .await
            .expect(200, "");
        if let Some(removed) = &removed {
            assert_eq!(again.body, removed.body);
        } else {
            // Somebody else may say so only now.
            ask(address, removal(&id).session(&stranger))
                .await
                .expect(200, "");
        }
        assert_eq!(texts(&held(address).await), ["before", "after"]);
        let page = get(address, &format!("/chat/lobby/messages?after={id}"))
            .await
            .json();
        assert_eq!(page["removed"], serde_json::json!([id]));
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
        ask(address, request.clone()).await.expect(410, "removed");
        let resume = Request::get("/chat").header("Last-Event-ID", &id);
        let mut stream = EventStream::request(address, resume).await;
        stream.telling().await;
        assert_eq!(stream.telling().await.text(), "after");
        let told = stream.telling().await;
        assert!(told.is("message-removed"));
        assert_eq!(told.json(), again.json());
        assert_eq!(told.json()["by"], "author");
        removed = Some(again);
        server.stop().await;
        server = Server::with(|_| builder()).await;
    }
    server.stop().await;
    // With smaller bounds only the removal comes back, and with it the key.
    let server = Server::with(|_| builder().history(1)).await;
    ask(server.address(), request).await.expect(410, "removed");
    assert!(held(server.address()).await.is_empty());
}

/// The journal as the first version wrote it.
#[tokio::test]
async fn a_journal_without_authors_loads() {
    const OLD: &str = concat!(
        r#"{"v":1,"eventId":"1795546683744-0","after":"0-0","room":"lobby","name":"ann","member":false,"text":"first words","sentAt":1795546683744,"crc":"4f5bfc20"}"#,
        "\n",
        r#"{"v":1,"eventId":"1795546683751-0","after":"1795546683744-0","room":"lobby","name":"ben","member":false,"text":"and \"more\"","sentAt":1795546683751,"key":"k-1","crc":"ef799aaf"}"#,
        "\n",
    );
    let folder = Folder::new();
    folder.file("messages.jsonl", OLD);
    let server = Server::with(|_| kept(folder.path())).await;
    let address = server.address();
    let messages = held(address).await;
    assert_eq!(texts(&messages), ["first words", "and \"more\""]);
    assert!(messages.iter().all(|message| message["author"].is_null()));
    let repeat = Request::post_text("/chat?name=ben", "and \"more\"");
    let repeat = repeat.header("Idempotency-Key", "k-1");
    ask(address, repeat).await.expect(200, "");
    // Nobody is their author.
    let stranger = session(address).await;
    let id = id_of(&messages[0]);
    ask(address, removal(&id.to_string()).session(&stranger))
        .await
        .expect(403, "not-yours");
    server
        .chat()
        .remove("lobby", id)
        .await
        .expect("a moderator may");
    server.stop().await;
    assert!(!is_on_disk(folder.path(), "first words"));
    let server = Server::with(|_| kept(folder.path())).await;
    assert_eq!(texts(&held(server.address()).await), ["and \"more\""]);
}

/// Where the number of messages had evicted one before its age did, its text has an age all the same.
#[tokio::test]
async fn what_has_expired_leaves_the_file_even_if_it_was_evicted_before() {
    let folder = Folder::new();
    let clock = ManualClock::at(1_000_000_000);
    let age = Duration::from_secs(3_600);
    let server = Server::with(|_| {
        let chat = kept(folder.path()).history(2).history_age(age);
        chat.clock(clock.clone())
    })
    .await;
    let address = server.address();
    say(address, "lobby", "a", "the first").await;
    clock.advance(age / 2);
    for n in 0..2 {
        say(address, "lobby", "a", &format!("later {n}")).await;
    }
    assert!(is_on_disk(folder.path(), "the first"));
    clock.advance(age / 2 + Duration::from_secs(1));
    until_gone(folder.path(), &["the first"], Instant::now()).await;
    assert_eq!(texts(&held(address).await), ["later 0", "later 1"]);
    assert_eq!(lines(folder.path()).len(), 2);
    clock.advance(age);
    until_gone(folder.path(), &["later"], Instant::now()).await;
    assert!(held(address).await.is_empty());
}

/// What a poster was told before its server was killed.
#[derive(Default)]
struct Told {
    /// Key, id and text of what was stored.
    posted: Vec<(String, String, String)>,
    /// Ids of what was removed.
    removed: HashSet<String>,
    /// What was to be removed when no answer came.
    in_doubt: Option<String>,
}

impl Told {
    /// Posts, and removes each third message, until the server is gone.
    async fn until_killed(&mut self, address: SocketAddr, author: &str, deadline: Instant) {
        let mut client = Client::connect(address).await;
        while Instant::now() < deadline {
            let n = self.posted.len();
            let (key, text) = (format!("k-{n}"), format!("text {n} of the author"));
            let Some(answer) = client.try_ask(&keyed(&key, &text).session(author)).await else {
                return;
            };
            // Its answer was lost in an earlier kill, where it is 200.
            assert!(matches!(answer.status, 200 | 201), "{}", answer.head);
            self.posted.push((key, id(&answer), text));
            if n % 3 != 1 {
                continue;
            }
            let target = self.posted[n - 1].1.clone();
            self.in_doubt = Some(target.clone());
            let Some(answer) = client.try_ask(&removal(&target).session(author)).await else {
                return;
            };
            answer.expect(200, "");
            self.removed.extend(self.in_doubt.take());
        }
        panic!("the server was to be killed");
    }

    /// All that was answered is true after a restart.
    async fn holds(&mut self, address: SocketAddr, author: &str, step: &str) {
        let stored: HashMap<String, String> = held(address)
            .await
            .iter()
            .map(|message| {
                let text = message["text"].as_str().expect("a text");
                (id_of(message).to_string(), text.to_owned())
            })
            .collect();
        if let Some(target) = self.in_doubt.take() {
            // Either it was removed or it was not; in both cases it can be, and then it is.
            ask(address, removal(&target).session(author))
                .await
                .expect(200, "");
            self.removed.insert(target);
        }
        for (key, id, text) in &self.posted {
            let again = ask(address, keyed(key, text).session(author)).await;
            if self.removed.contains(id) {
                again.expect(410, "removed");
                assert!(self.in_doubt.is_none());
            } else {
                again.expect(200, "");
                assert_eq!(stored.get(id), Some(text), "{step}: a message was lost");
            }
        }
        let now: Vec<String> = held(address)
            .await
            .iter()
            .map(|one| id_of(one).to_string())
            .collect();
        assert!(
            now.iter().all(|id| !self.removed.contains(id)),
            "{step}: a text came back"
        );
        let removed = get(address, "/chat/lobby/messages?after=0-0&limit=500")
            .await
            .json();
        let told: HashSet<String> = removed["removed"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("an id").to_owned())
            .collect();
        assert_eq!(told, self.removed, "{step}: removals");
    }

    fn removed_texts(&self) -> Vec<&str> {
        let removed = self
            .posted
            .iter()
            .filter(|(_, id, _)| self.removed.contains(id));
        removed.map(|(_, _, text)| text.as_str()).collect()
    }
}

const OPTIONS: [&str; 5] = [
    "--listen=127.0.0.1:0",
    "--history=0",
    "--history-bytes=0",
    "--message-rate=0",
    "--fsync=always",
];

/// A server on `folder`, which strace kills at a step that touches `path`.
async fn killed_at(folder: &Path, path: &Path, step: &str) -> Process {
    let log = folder.with_extension("strace");
    let (log, path) = (log.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
    let inject = format!("inject={step}");
    let trace = "trace=openat,write,copy_file_range,fsync,fdatasync,rename";
    let wrapper = [
        "strace", "-D", "-f", "-o", log, "-P", path, "-e", trace, "-e", &inject,
    ];
    let data = format!("--data={}", folder.display());
    Process::launch(under(&wrapper, &[&OPTIONS[..], &[&data]].concat(), &[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_removal_rewrite_and_rename_brings_no_text_back() {
    // The removal's own line; then the new file: made, written, synced, completed, renamed.
    let steps = [
        (false, "write:signal=KILL:when=3"),
        (false, "fdatasync:signal=KILL:when=3"),
        (true, "openat:signal=KILL"),
        (true, "write:signal=KILL"),
        (true, "fsync:signal=KILL:when=1"),
        (true, "fsync:signal=KILL:when=2"),
        (true, "rename:signal=KILL"),
    ];
    let mut kills = 0;
    for (of_successor, step) in steps {
        let folder = Folder::new();
        let data = folder.path().join("data");
        let successor = data.join("messages.jsonl.new");
        let path = if of_successor {
            successor.clone()
        } else {
            file(&data)
        };
        let mut server = killed_at(&data, &path, step).await;
        let author = session(server.address()).await;
        let deadline = Instant::now() + LIMIT;
        let mut told = Told::default();
        told.until_killed(server.address(), &author, deadline).await;
        assert_eq!(server.exited().await.signal(), Some(9), "{step}");
        kills += 1;

        let began = Instant::now();
        let data_option = format!("--data={}", data.display());
        let again = Process::start(&[&OPTIONS[..], &[&data_option]].concat()).await;
        told.holds(again.address(), &author, step).await;
        until_gone(&data, &told.removed_texts(), began).await;
        assert!(!successor.exists(), "{step}");
        again.kill().await;
    }
    assert_eq!(kills, steps.len());
}

/// How often the server is killed, unless the environment says `CHATROOM_KILLS`.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_no_message_and_bring_no_text_back() {
    let kills = std::env::var("CHATROOM_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let folder = Folder::new();
    let data = format!("--data={}", folder.as_str());
    let options = [&OPTIONS[..], &[&data]].concat();
    let mut chance = Random::seeded(kills);
    let mut told = Told::default();
    let mut author = None;
    for kill in 1..=kills {
        let mut server = Process::start(&options).await;
        let author: &String = match &author {
            Some(author) => author,
            None => author.insert(session(server.address()).await),
        };
        let pid = server.pid().to_string();
        let wait = Duration::from_millis(chance.below(400) as u64 + 20);
        let killer = tokio::spawn(async move {
            sleep(wait).await;
            let mut kill = tokio::process::Command::new("kill");
            kill.args(["-KILL", &pid]).status().await
        });
        let deadline = Instant::now() + LIMIT;
        told.until_killed(server.address(), author, deadline).await;
        assert_eq!(server.exited().await.signal(), Some(9));
        let killed = killer.await.expect("no panic").expect("kill is needed");
        assert!(killed.success());

        let again = Process::start(&options).await;
        told.holds(again.address(), author, &format!("kill {kill}"))
            .await;
        again.kill().await;
    }
    let began = Instant::now();
    let server = Process::start(&options).await;
    until_gone(folder.path(), &told.removed_texts(), began).await;
    assert!(told.removed.len() as u64 >= kills, "removals came to pass");
    told.holds(server.address(), &author.expect("a session"), "the last")
        .await;
}

/// A rewrite that cannot be made does not keep the removal from being stored and seen.
#[tokio::test]
async fn a_removal_is_tried_again_when_its_rewrite_fails() {
    let folder = Folder::new();
    let server = Server::with(|_| kept(folder.path())).await;
    let posted = server.chat().post("lobby", "a", "secret").await;
    let obstacle = folder.path().join("messages.jsonl.new");
    fs::create_dir_all(obstacle.join("in the way")).expect("the folder can be written");
    let began = Instant::now();
    let removed = server
        .chat()
        .remove("lobby", posted.expect("it is taken").id);
    removed.await.expect("it is retained");
    assert!(held(server.address()).await.is_empty());
    eventually("the removal is on record", async || {
        lines(folder.path()).len() == 2
    })
    .await;
    sleep(Duration::from_millis(700)).await;
    assert!(is_on_disk(folder.path(), "secret"));
    fs::remove_dir_all(&obstacle).expect("it can be removed");
    until_gone(folder.path(), &["secret"], began).await;
}
