//! The password: who is let in, who is not, and what it costs to guess.

use crate::common::Change as _;
use std::fs::{Permissions, set_permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use chatroom::ManualClock;

use crate::common::{EventStream, Folder, Process, Request, Server, ask, get, unlimited};

const PASSWORD: &str = "cörrect: horse";

/// Base64, as HTTP Basic wants it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit > group.len() {
                '='
            } else {
                char::from(DIGITS[index])
            });
        }
    }
    text
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

async fn locked_server(clock: &ManualClock) -> Server {
    Server::with(|_| {
        let chat = unlimited().clock(clock.clone());
        chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())
            .password(PASSWORD)
            .expect("a password")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_only_health_is_told() {
    let server = locked_server(&ManualClock::default()).await;
    let address = server.address();
    for request in [
        Request::get("/"),
        Request::get("/js/main.js"),
        Request::get("/favicon.svg"),
        Request::get("/chat"),
        Request::get("/chat/dev?name=ann"),
        Request::post_text("/chat?name=ann", "hi"),
        Request::get("/chat/lobby/messages"),
        Request::get("/chat/lobby/members"),
        Request::get("/rooms"),
        Request::get("/metrics"),
        Request::get("/nowhere"),
        Request::get("/chat/.bad"),
        Request::new("DELETE", "/rooms"),
        Request::new("OPTIONS", "/rooms"),
    ] {
        let refused = ask(address, request).await.expect(401, "password-required");
        // One realm for all paths, which tells nothing.
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Basic realm=\"chatroom\", charset=\"UTF-8\"")
        );
        assert_eq!(refused.header("set-cookie"), None);
    }
    get(address, "/healthz").await.expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_lets_in_under_any_user_name() {
    let server = locked_server(&ManualClock::default()).await;
    for user in ["", "ann", "Zoë"] {
        let authorization = basic(user, PASSWORD);
        for target in ["/", "/rooms", "/chat/lobby/messages"] {
            let request = Request::get(target).header("Authorization", &authorization);
            ask(server.address(), request).await.expect(200, "");
        }
        let request = Request::get("/chat").header("Authorization", &authorization);
        EventStream::request(server.address(), request).await;
        let request = Request::post_text("/chat?name=ann", "hi")
            .header("Authorization", authorization.replace("Basic", "bAsIc"));
        ask(server.address(), request).await.expect(201, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_like_the_password_is_not_the_password() {
    let server = locked_server(&ManualClock::default()).await;
    for (n, wrong) in [
        basic("ann", ""),
        basic("ann", "cörrect: hors"),
        basic("ann", "cörrect: horse "),
        basic("ann", "cörrect: horsecörrect: horse"),
        basic("ann", "CÖRRECT: HORSE"),
        basic("ann", "correct: horse"),
        format!("Basic {}", base64(PASSWORD.as_bytes())),
        format!("Basic {PASSWORD}"),
        format!("Bearer {PASSWORD}"),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !!!!".to_owned(),
        "Basic YQ".to_owned(),
        "\u{ff}".to_owned(),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        let request = Request::get("/rooms")
            .header("X-Forwarded-For", format!("192.0.2.{n}"))
            .header("Authorization", wrong);
        ask(server.address(), request)
            .await
            .expect(401, "password-required");
    }
}

/// Gain for an attacker otherwise: as many guesses as the network carries.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_stops_after_ten_wrong_passwords_a_minute() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = locked_server(&clock).await;
    let guess = |password: &str| {
        Request::get("/rooms")
            .header("X-Forwarded-For", "192.0.2.1")
            .header("Authorization", basic("eve", password))
    };
    // Those who show nothing are browsers before they have asked: they guess nothing.
    for _ in 0..20 {
        let nothing = Request::get("/rooms").header("X-Forwarded-For", "192.0.2.1");
        ask(server.address(), nothing)
            .await
            .expect(401, "password-required");
    }
    for n in 0..10 {
        ask(server.address(), guess(&n.to_string()))
            .await
            .expect(401, "password-required");
    }
    for wrong in ["eleven", PASSWORD] {
        let refused = ask(server.address(), guess(wrong))
            .await
            .expect(429, "too-many-attempts");
        assert_eq!(refused.header("retry-after"), Some("6"));
    }
    // The neighbours are not locked out, and health is told still.
    let other = Request::get("/rooms")
        .header("X-Forwarded-For", "192.0.2.2")
        .header("Authorization", basic("ann", PASSWORD));
    ask(server.address(), other).await.expect(200, "");
    get(server.address(), "/healthz").await.expect(200, "");
    clock.advance(Duration::from_secs(6));
    ask(server.address(), guess(PASSWORD)).await.expect(200, "");
    ask(server.address(), guess("wrong"))
        .await
        .expect(401, "password-required");
    ask(server.address(), guess("wrong"))
        .await
        .expect(429, "too-many-attempts");
}

/// Gain for an attacker otherwise: guesses that arrive together are counted as one.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_are_counted_each() {
    let server = locked_server(&ManualClock::default()).await;
    let address = server.address();
    let guesses: Vec<_> = (0..60)
        .map(|n| {
            let request =
                Request::get("/rooms").header("Authorization", basic("eve", &n.to_string()));
            tokio::spawn(async move { ask(address, request).await.status })
        })
        .collect();
    let mut heard = 0;
    for guess in guesses {
        if guess.await.expect("a guess does not panic") == 401 {
            heard += 1;
        }
    }
    // Those that are looked at in one moment, one on each core, may slip through together.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((10..=10 + cores).contains(&heard), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_must_be_there_and_hold_something() {
    let folder = Folder::new();
    let empty = folder.file("empty", "");
    let break_alone = folder.file("break", "\n");
    let missing = folder.path().join("missing");
    for file in [
        &empty,
        &break_alone,
        missing.to_str().expect("UTF-8"),
        folder.as_str(),
    ] {
        let ended = Process::run(&["--password-file", file], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(
            ended.stderr.contains(file) && ended.stderr.contains("--password-file"),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_file_is_read_without_its_line_break_and_never_told() {
    let folder = Folder::new();
    let file = folder.file("password", format!("{PASSWORD}\r\n"));
    set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    let server = Process::start(&["--password-file", &file, "--log", "debug"]).await;
    let right = Request::get("/rooms").header("Authorization", basic("ann", PASSWORD));
    ask(server.address(), right).await.expect(200, "");
    let wrong = Request::get("/rooms").header("Authorization", basic("ann", "gu3ss"));
    ask(server.address(), wrong)
        .await
        .expect(401, "password-required");
    get(server.address(), "/healthz").await.expect(200, "");
    let said = server.said("wrong password from 127.0.0.1").await;
    for secret in [PASSWORD, "gu3ss", &base64(PASSWORD.as_bytes())] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(
        !said.contains("warning"),
        "loopback needs no warning: {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_on_an_open_network_brings_a_warning() {
    let folder = Folder::new();
    let file = folder.file("password", PASSWORD);
    set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    let open = ["--password-file", &file, "--listen", "0.0.0.0:0"];
    let server = Process::start(&open).await;
    server.said("warning").await;
    let behind_proxy = [open.as_slice(), &["--trusted-proxy", "192.0.2.1"]].concat();
    let said = Process::start(&behind_proxy).await.last_words().await;
    assert!(!said.contains("warning"), "{said}");
}
