//! Bad requests, each with its status and code. Whatever comes, the server answers in its own
//! words, keeps nothing, stays alive and stays small.

mod table;

use table::{Bad, table};

use crate::common::{Client, Process, Request, Response, ask, get};

/// Sends a bad request, checks the refusal, and asks something good on the same connection where
/// the server has left it open.
async fn refuse(client: &mut Client, case: &Bad) -> bool {
    let asked = String::from_utf8_lossy(&case.request.to_bytes()).into_owned();
    let asked: String = asked.chars().take(400).collect();
    let answer = client.ask(&case.request).await;
    assert_eq!(answer.status, case.status, "{asked}\n{}", answer.head);
    if case.request.method() != "HEAD" {
        assert_eq!(answer.code(), case.code, "{asked}\n{}", answer.text());
        let advice = answer.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            advice.contains(' ') && advice.ends_with('.'),
            "not a sentence: {advice}"
        );
        assert!(!advice.contains("src/"), "{advice}");
    }
    if case.status == 405 {
        check_allow(&asked, &answer);
    }
    if answer.header("connection") == Some("close") {
        assert!(
            matches!(case.status, 408 | 413),
            "{asked}: closed without need"
        );
        return false;
    }
    let after = client.ask(&Request::get("/healthz")).await;
    assert_eq!(
        (after.status, after.text()),
        (200, r#"{"status":"ok"}"#),
        "after {asked}"
    );
    true
}

fn check_allow(asked: &str, answer: &Response) {
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let room = matches!(path, "/chat" | "/chat/dev");
    let allow = if room { "GET, POST" } else { "GET, HEAD" };
    assert_eq!(answer.header("allow"), Some(allow), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_has_its_code_and_harms_nothing() {
    let server = Process::start(&["--message-rate", "0", "--log", "error"]).await;
    let address = server.address();
    let table = table();
    assert!(table.len() >= 120, "{}", table.len());
    let mut after_first = 0;
    for round in 0..3 {
        let mut client = Client::connect(address).await;
        for case in &table {
            if !refuse(&mut client, case).await {
                client = Client::connect(address).await;
            }
        }
        if round == 0 {
            after_first = server.resident_bytes();
        }
    }
    let grown = server.resident_bytes().saturating_sub(after_first);
    assert!(
        grown < 1024 * 1024,
        "{grown} bytes more after the same requests again"
    );
    assert_eq!(
        get(address, "/rooms").await.json()["rooms"],
        serde_json::json!([])
    );
    assert_eq!(server.stderr(), "");
}

/// What hyper itself refuses, before any of our code has seen it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_the_connection_ends() {
    let server = Process::start(&["--log", "error"]).await;
    let huge_header = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let many_headers = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    let huge_target = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(70_000)
    );
    for (bytes, statuses) in [
        ("nonsense\r\n\r\n", [400].as_slice()),
        ("\0\0\0\0\r\n\r\n", &[400]),
        ("GET\r\n\r\n", &[400]),
        ("GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", &[400, 505]),
        ("GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nX: \u{7f}\r\n\r\n", &[400]),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("G\u{e9}T / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost localhost\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\n: empty\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nA B: c\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", &[400]),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
            &[400],
        ),
        (
            "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            &[400],
        ),
        (
            "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            &[400],
        ),
        (
            "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
            &[400, 413],
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
        (&huge_header, &[431]),
        (&many_headers, &[431]),
        (&huge_target, &[414, 431]),
    ] {
        let mut client = Client::connect(server.address()).await;
        client.send(bytes.as_bytes()).await;
        let shown: String = bytes.chars().take(60).collect();
        let answer = String::from_utf8(client.rest().await).expect("an answer is ASCII");
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        // One who speaks another protocol is not answered in this one.
        let refused = status.map_or(shown.starts_with("PRI"), |status| {
            statuses.contains(&status)
        });
        assert!(refused, "{shown:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            usize::from(status.is_some()),
            "{shown:?}"
        );
    }
    ask(server.address(), Request::get("/healthz"))
        .await
        .expect(200, "");
    assert_eq!(server.stderr(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_that_breaks_its_format_is_refused() {
    let server = Process::start(&["--message-rate", "0"]).await;
    for body in [
        "x\r\n",
        "-1\r\n\r\n",
        "5\r\nhello",
        "fffffffffffffffff\r\n",
        "2\r\nhi!\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(server.address()).await;
        let head = "POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{body}").as_bytes()).await;
        let (_, mut half) = client.socket().split();
        tokio::io::AsyncWriteExt::shutdown(&mut half)
            .await
            .expect("the client may stop sending");
        let answer = String::from_utf8(client.rest().await).expect("an answer is ASCII");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{body:?}: {answer}"
        );
    }
    let room = get(server.address(), "/chat/lobby/messages").await.json();
    assert_eq!(
        room["messages"],
        serde_json::json!([]),
        "half a message was kept"
    );
}
