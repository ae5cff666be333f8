//! What is kept beside the messages: the secret behind the authors, and the bans.

use crate::common::Change as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use chatroom::LogLevel;
use serde_json::{Value, json};

use super::{content, file, kept};
use crate::common::{Folder, Process, Request, Server, ask};

/// HTTP Basic with the password `between moderators`.
const MODERATOR: &str = "Basic bW9kOmJldHdlZW4gbW9kZXJhdG9ycw==";

fn builder(folder: &Path) -> chatroom::Options {
    let chat = kept(folder).moderator_password("between moderators");
    chat.expect("a password")
}

/// Nobody takes it for done, and the owner is told why.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_that_cannot_be_stored_is_refused_and_spoken_of() {
    let folder = Folder::new();
    let (lines, logged) = std::sync::mpsc::channel();
    let server = Server::with(|_| {
        let chat = builder(folder.path()).log(LogLevel::Error);
        chat.log_to(move |_, line| drop(lines.send(line.to_owned())))
    })
    .await;
    let address = server.address();
    let author = author(address, &"1".repeat(32)).await;
    // Something that is no file is in the way.
    let next = folder.path().join("bans.json.new");
    fs::create_dir_all(next.join("x")).expect("it can be made");
    let ban = Request::post_json("/bans", &json!({"author": author}));
    let ban = ban.header("Authorization", MODERATOR);
    ask(address, ban.clone())
        .await
        .expect(503, "storage-failed");
    let line = logged.try_recv().expect("a line");
    assert!(
        line.starts_with("bans: cannot write, nothing was changed: "),
        "{line}"
    );
    assert_eq!(bans(address).await, json!({"bans": []}));
    fs::remove_dir_all(next).expect("it is there");
    ask(address, ban).await.expect(201, "");
}

/// Posts under a session, and returns its author.
async fn author(address: SocketAddr, session: &str) -> String {
    let request = Request::post_text("/chat?name=a", "hello").session(session);
    let posted = ask(address, request).await.expect(201, "").json();
    posted["author"].as_str().expect("an author").to_owned()
}

async fn bans(address: SocketAddr) -> Value {
    let request = Request::get("/bans").header("Authorization", MODERATOR);
    ask(address, request).await.expect(200, "").json()
}

/// A folder in which somebody has spoken and was banned.
async fn banned(folder: &Folder) -> (String, String, Value) {
    let server = Server::with(|_| builder(folder.path())).await;
    let address = server.address();
    let session = super::removal::session(address).await;
    let author = author(address, &session).await;
    let request = Request::post_json("/bans", &json!({"author": author, "address": false}));
    let request = request.header("Authorization", MODERATOR);
    ask(address, request).await.expect(201, "");
    let bans = bans(address).await;
    server.stop().await;
    (session, author, bans)
}

#[tokio::test]
async fn the_secret_and_the_bans_survive_a_restart() {
    let folder = Folder::new();
    let (session, author, before) = banned(&folder).await;
    assert_eq!(before["bans"][0]["author"], author);
    for _ in 0..2 {
        let server = Server::with(|_| builder(folder.path())).await;
        let address = server.address();
        assert_eq!(bans(address).await, before);
        let request = || Request::post_text("/chat?name=a", "again").session(&session);
        ask(address, request()).await.expect(403, "banned");
        server.stop().await;
    }
    let server = Server::with(|_| builder(folder.path())).await;
    let lift = Request::new("DELETE", &format!("/bans/{author}"));
    ask(server.address(), lift.header("Authorization", MODERATOR))
        .await
        .expect(204, "");
    server.stop().await;
    let server = Server::with(|_| builder(folder.path())).await;
    assert_eq!(bans(server.address()).await, json!({"bans": []}));
    assert_eq!(
        self::author(server.address(), &session).await,
        author,
        "the same as before"
    );
}

#[tokio::test]
async fn without_a_folder_each_start_has_a_secret_of_its_own() {
    let session = "0123456789abcdef0123456789abcdef";
    let servers = [Server::start().await, Server::start().await];
    let first = author(servers[0].address(), session).await;
    assert_ne!(author(servers[1].address(), session).await, first);
}

#[tokio::test]
async fn damage_of_either_stops_the_start_and_says_what_to_do() {
    for (name, loss) in [("bans.json", "every ban"), ("secret", "a new author")] {
        let folder = Folder::new();
        banned(&folder).await;
        let path = folder.path().join(name);
        let mut damaged = fs::read(&path).expect("it was made");
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&path, &damaged).expect("it can be written");
        // A torn line would be cut off.
        let torn = [&content(folder.path())[..], b"{\"v\":1"].concat();
        fs::write(file(folder.path()), &torn).expect("it can be written");
        let data = ["--listen=127.0.0.1:0", "--data", folder.as_str()];
        let ended = Process::run(&data, &[]).await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "it never listened");
        let said = format!("{}: is damaged", path.display());
        for said in [
            &said,
            "nothing was changed",
            "restore the file from a backup",
            loss,
        ] {
            assert!(ended.stderr.contains(said), "{}", ended.stderr);
        }
        assert_eq!(fs::read(&path).ok(), Some(damaged), "{name}");
        assert!(
            content(folder.path()) == torn,
            "{name}: the journal changed"
        );
        // The advice works.
        fs::remove_file(&path).expect("it is there");
        Process::start(&data[1..]).await.kill().await;
    }
}
