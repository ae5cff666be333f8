//! A server that is killed around removals, at chosen steps and at random moments, loses nothing that
//! it answered, and brings no removed text back.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::removal::{id, keyed, removal, session, until_gone};
use super::{file, held};
use crate::common::{Client, Folder, Process, Random, ask, get, id_of, longer, under};

/// A server answers so many posts at most before it is killed.
const MOST_POSTS: usize = 5_000;

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
    async fn until_killed(&mut self, address: SocketAddr, author: &str) {
        let mut client = Client::connect(address).await;
        let first = self.posted.len();
        loop {
            let n = self.posted.len();
            assert!(n - first < MOST_POSTS, "the server was to be killed");
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
        let mut client = Client::connect(address).await;
        for (key, id, text) in &self.posted {
            let again = client.ask(&keyed(key, text).session(author)).await;
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
        let (mut told, mut after) = (HashSet::new(), "0-0".to_owned());
        loop {
            let target = format!("/chat/lobby/messages?after={after}&limit=500");
            let page = get(address, &target).await.json();
            let removed = page["removed"].as_array().expect("a list").iter();
            told.extend(removed.map(|id| id.as_str().expect("an id").to_owned()));
            let next = page["next"].as_str().expect("an id");
            if next == after {
                break;
            }
            after = next.to_owned();
        }
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
    let trace = "trace=openat,write,fsync,fdatasync,rename";
    let wrapper = [
        "strace", "-D", "-f", "-o", log, "-P", path, "-e", trace, "-e", &inject,
    ];
    let data = format!("--data={}", folder.display());
    Process::launch(under(&wrapper, &[&OPTIONS[..], &[&data]].concat(), &[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_removal_rewrite_and_rename_brings_no_text_back() {
    // The removal's own line; then the new file: made, written, synced, renamed.
    let steps = [
        (false, "write:signal=KILL:when=3"),
        (false, "fdatasync:signal=KILL:when=3"),
        (true, "openat:signal=KILL"),
        (true, "write:signal=KILL"),
        (true, "fsync:signal=KILL"),
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
        let mut told = Told::default();
        told.until_killed(server.address(), &author).await;
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

/// How often the server is killed.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_no_message_and_bring_no_text_back() {
    let kills = KILLS * longer();
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
        told.until_killed(server.address(), author).await;
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
