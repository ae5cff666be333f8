//! Names: which of them are one, and which are none.

use std::net::SocketAddr;

use serde_json::json;

use crate::common::{EventStream, Request, Response, Server, ask, encode};

async fn join(address: SocketAddr, name: &str) -> EventStream {
    EventStream::open(address, &format!("/chat?name={}", encode(name))).await
}

async fn refused(address: SocketAddr, name: &str) -> Response {
    ask(
        address,
        Request::get(&format!("/chat?name={}", encode(name))),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_compared_without_case() {
    let server = Server::start().await;
    let address = server.address();
    for (owner, others) in [
        ("ÀLICE", ["àlice", "Àlice", "àLICE"].as_slice()),
        ("straße", &["STRASSE", "STRAßE", "strasse"]),
        ("ΣΊΣΥΦΟΣ", &["σίσυφος", "σίσυφοσ"]),
        ("ǆ", &["Ǆ", "ǅ"]),
    ] {
        let _owner = join(address, owner).await;
        for other in others {
            refused(address, other).await.expect(409, "name-taken");
            let post = Request::post_json("/chat", &json!({"text": "x", "name": other}));
            ask(address, post).await.expect(409, "name-taken");
        }
    }
    // A letter with its accent is another name than one without.
    join(address, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_deceives_or_does_not_fit_is_refused_everywhere() {
    let server = Server::start().await;
    let address = server.address();
    let long = "x".repeat(33);
    let wide = "é".repeat(33);
    for name in [
        "",
        " ",
        "\u{3000}\u{3000}",
        " ann",
        "ann ",
        "ann\n",
        "\tann",
        &long,
        &wide,
        "an\u{200b}n",
        "an\u{200d}n",
        "\u{2060}ann",
        "an\u{ad}n",
        "\u{feff}ann", // zero-width
        "\u{202e}nna",
        "ann\u{2066}",
        "\u{200f}ann",
        "\u{61c}ann", // bidi
        "an\0n",
        "an\u{7f}n",
        "an\u{85}n",
        "an\u{9b}n",
        "a\nb",
        "a\rb",
        "a\u{2028}b", // controls
        "ann\u{e000}",
        "ann\u{f8ff}",
        "ann\u{100000}",
        "ann\u{fdd0}",
        "ann\u{fffe}",
        "ann\u{10ffff}",
        "ann\u{fffc}", // nobody's characters
        "ann\u{1bca0}",
        "ann\u{1bc9d}",
        "ann\u{16fe4}", // unseen in most fonts
    ] {
        refused(address, name).await.expect(400, "bad-name");
        let plain = Request::post_text(&format!("/chat?name={}", encode(name)), "x");
        ask(address, plain).await.expect(400, "bad-name");
        let json = Request::post_json("/chat", &json!({"text": "x", "name": name}));
        ask(address, json).await.expect(400, "bad-name");
        let joined = server.chat().join(["lobby"], name, None).await;
        assert_eq!(joined.err().map(|e| e.code()), Some("bad-name"));
    }
    for name in ["x", &"é".repeat(32), "two words", "日本語", "O'Brien-🦀"] {
        join(address, name).await;
    }
}
