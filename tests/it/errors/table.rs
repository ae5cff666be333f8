//! The table of bad requests.

use crate::common::Request;

/// A bad request, and how it is to be refused.
pub(super) struct Bad {
    pub(super) request: Request,
    pub(super) status: u16,
    pub(super) code: &'static str,
}

/// All of them.
pub(super) fn table() -> Vec<Bad> {
    [
        unknown_paths(),
        bad_rooms(),
        wrong_methods(),
        bad_bodies(),
        bad_queries(),
        bad_headers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bad(request: Request, status: u16, code: &'static str) -> Bad {
    Bad {
        request,
        status,
        code,
    }
}

/// Paths that lead nowhere.
fn unknown_paths() -> Vec<Bad> {
    [
        "/nowhere",
        "/index.html",
        "/Chat",
        "/CHAT/lobby",
        "/favicon.ico",
        "/www/index.html",
        "/Cargo.toml",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/..%2fetc%2fpasswd",
        "//",
        "//chat",
        "/./chat",
        "/rooms/",
        "/healthz/",
        "/healthz/x",
        "/metrics/",
        "/%00",
        "/%",
        "/%63hat",
        "/;",
        "/chat;x",
        "/chat/lobby/",
        "/chat/lobby/message",
        "/chat/lobby/messages/",
        "/chat/lobby/messages/1/2",
        "/chat/lobby/members/ann",
        "/chat/lobby/../../rooms",
    ]
    .iter()
    .flat_map(|path| ["GET", "HEAD", "POST"].map(|method| (method, path)))
    .map(|(method, path)| bad(Request::new(method, path), 404, "not-found"))
    .collect()
}

/// Rooms whose names are none.
fn bad_rooms() -> Vec<Bad> {
    let long = "x".repeat(65);
    let wide = "%C3%A9".repeat(65);
    let names = [
        "",
        ".",
        "..",
        ".hidden",
        "a%20b",
        "a+b",
        "%2F",
        "a%2Fb",
        "..%2f..%2fetc",
        "%00",
        "a%0Ab",
        "%0D%0Aid:%201",
        "%",
        "a%2",
        "%zz",
        "%ff",
        "%c3",
        "%ed%a0%80",
        "%c0%af",
        "a!b",
        "a@b",
        "a%3Ab",
        "~x",
        "*",
        "'",
        "%3Cb%3E",
        "a%E2%80%8Bb",
        "%E2%80%AEx",
        "%EF%BB%BFx",
        &long,
        &wide,
    ];
    let requests = |name: &str| {
        [
            Request::get(&format!("/chat/{name}")),
            Request::post_text(&format!("/chat/{name}?name=ann"), "hi"),
            Request::get(&format!("/chat/{name}/messages")),
            Request::get(&format!("/chat/{name}/members")),
        ]
    };
    let requests = names.iter().flat_map(|name| requests(name));
    requests
        .map(|request| bad(request, 400, "bad-room"))
        .collect()
}

/// Methods that a path does not take.
fn wrong_methods() -> Vec<Bad> {
    let paths = [
        "/",
        "/js/main.js",
        "/chat.css",
        "/favicon.svg",
        "/chat",
        "/chat/dev",
        "/chat/dev/messages",
        "/chat/dev/members",
        "/rooms",
        "/healthz",
        "/metrics",
    ];
    let methods = [
        "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "get", "X",
    ];
    let everywhere = paths
        .iter()
        .flat_map(|path| methods.map(|method| Request::new(method, path)));
    let head = ["/chat", "/chat/dev"].map(|path| Request::new("HEAD", path));
    let post = paths
        .iter()
        .filter(|path| !matches!(**path, "/chat" | "/chat/dev"));
    let post = post.map(|path| Request::post_text(path, "x"));
    everywhere
        .chain(head)
        .chain(post)
        .map(|request| bad(request, 405, "method-not-allowed"))
        .collect()
}

/// Bodies that hold no message.
fn bad_bodies() -> Vec<Bad> {
    let plain = |body: &[u8]| Request::post_text("/chat?name=ann", body);
    let json = |body: &[u8]| {
        Request::new("POST", "/chat")
            .header("Content-Type", "application/json")
            .body(body)
    };
    let long = "x".repeat(4_097);
    let far_too_long = "x".repeat(40_000);
    let deep = [b"[".repeat(20_000), b"]".repeat(20_000)].concat();
    let mut cases = vec![
        bad(plain(b""), 400, "bad-text"),
        bad(plain(b" \t\r\n"), 400, "bad-text"),
        bad(plain("\u{3000}\u{2028}".as_bytes()), 400, "bad-text"),
        bad(plain(b"\xff\xfe"), 400, "bad-text"),
        bad(plain(b"caf\xe9"), 400, "bad-text"),
        bad(plain(b"cut \xe2\x82"), 400, "bad-text"),
        bad(plain(b"\xed\xa0\x80"), 400, "bad-text"),
        bad(plain(long.as_bytes()), 413, "too-large"),
        bad(plain(far_too_long.as_bytes()), 413, "too-large"),
        bad(
            json(format!(r#"{{"text":"{long}","name":"ann"}}"#).as_bytes()),
            413,
            "too-large",
        ),
        bad(json(&deep), 413, "too-large"),
        bad(json(&deep[10_000..30_000]), 400, "bad-request"),
        bad(
            Request::new("POST", "/chat?name=ann").header("Content-Type", "text/plain"),
            400,
            "bad-text",
        ),
    ];
    for broken in [
        "",
        "{",
        "{}x",
        "nonsense",
        "null",
        "1",
        "\"hi\"",
        "[]",
        "[{\"text\":\"hi\"}]",
        "{'text':'hi'}",
        "{\"text\":\"hi\",}",
        "{\"text\":\"\\ud800\",\"name\":\"ann\"}",
        "{\"text\":\"a\nb\"}",
        "\u{feff}{\"text\":\"hi\"}",
        "text=hi&name=ann",
        "{\"text\":\"hi\"} {\"text\":\"ho\"}",
    ] {
        cases.push(bad(json(broken.as_bytes()), 400, "bad-request"));
    }
    cases.push(bad(
        json(b"{\"text\":\"\xff\",\"name\":\"ann\"}"),
        400,
        "bad-request",
    ));
    for no_text in [
        "{}",
        "{\"name\":\"ann\"}",
        "{\"text\":null}",
        "{\"text\":1}",
        "{\"text\":[\"hi\"]}",
        "{\"text\":{}}",
        "{\"text\":true}",
        "{\"text\":\"\",\"name\":\"ann\"}",
        "{\"text\":\" \\n\",\"name\":\"ann\"}",
        "{\"Text\":\"hi\"}",
    ] {
        cases.push(bad(json(no_text.as_bytes()), 400, "bad-text"));
    }
    for bad_name in [
        "1",
        "[]",
        "{}",
        "true",
        "\"\"",
        "\" \"",
        "\"a\\nb\"",
        "\"\\u202eann\"",
        "\"\\u0000\"",
    ] {
        let body = format!(r#"{{"text":"hi","name":{bad_name}}}"#);
        cases.push(bad(json(body.as_bytes()), 400, "bad-name"));
    }
    for no_name in ["{\"text\":\"hi\"}", "{\"text\":\"hi\",\"name\":null}"] {
        cases.push(bad(json(no_name.as_bytes()), 400, "name-required"));
    }
    cases.push(bad(Request::post_text("/chat", "hi"), 400, "name-required"));
    cases.push(bad(
        Request::post_text("/chat?nam=ann", "hi"),
        400,
        "name-required",
    ));
    cases
}

/// Queries that cannot be understood.
fn bad_queries() -> Vec<Bad> {
    let mut cases = Vec::new();
    for name in [
        "",
        "+",
        "%20ann",
        "ann%20",
        "%00",
        "%0a",
        "%ff",
        "%",
        "%2",
        "%zz",
        "%E2%80%8B",
        "%EF%BB%BF",
        &"x".repeat(33),
    ] {
        cases.push(bad(
            Request::get(&format!("/chat?name={name}")),
            400,
            "bad-name",
        ));
        cases.push(bad(
            Request::post_text(&format!("/chat?name={name}"), "hi"),
            400,
            "bad-name",
        ));
    }
    for query in [
        "after=",
        "after=x",
        "after=1",
        "after=1-",
        "after=-1",
        "after=1-x",
        "after=1-2-3",
        "after=%2B1-0",
        "after=1.0-0",
        "after=18446744073709551616-0",
        "after=%ff",
        "after=0x1-0",
        "before=",
        "before=1",
        "before=now",
        "before=-",
        "limit=",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=%2B1",
        "limit=1e2",
        "limit=x",
        "limit=99999999999999999999",
        "wait=",
        "wait=61",
        "wait=-1",
        "wait=1.5",
        "wait=x",
        "wait=99999999999999999999",
    ] {
        let target = format!("/chat/lobby/messages?{query}");
        cases.push(bad(Request::get(&target), 400, "bad-request"));
        cases.push(bad(Request::new("HEAD", &target), 400, "bad-request"));
    }
    for query in [
        "history=",
        "history=-1",
        "history=x",
        "history=1.5",
        "history=99999999999999999999",
    ] {
        cases.push(bad(
            Request::get(&format!("/chat?{query}")),
            400,
            "bad-request",
        ));
    }
    cases
}

/// Headers that make a good request bad.
fn bad_headers() -> Vec<Bad> {
    let post = || Request::new("POST", "/chat?name=ann").body("hi");
    let mut cases = vec![bad(post(), 415, "unsupported-media-type")];
    for media_type in [
        "",
        "text",
        "text/html",
        "text/plain2",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json+x",
        "application/xml",
        "text/plain; charset=utf-16",
        "application/json; charset=iso-8859-1",
        ";",
        "\u{ff}",
        "text/plain, application/json",
    ] {
        cases.push(bad(
            post().header("Content-Type", media_type),
            415,
            "unsupported-media-type",
        ));
    }
    for key in ["", "a b", "\t", "caf\u{e9}", &"k".repeat(65)] {
        let request = Request::post_text("/chat?name=ann", "hi").header("Idempotency-Key", key);
        cases.push(bad(request, 400, "bad-request"));
    }
    for accept in [
        "text/html",
        "application/json",
        "text/event-stream;q=0",
        "image/*",
        "nonsense",
        "",
    ] {
        cases.push(bad(
            Request::get("/chat").header("Accept", accept),
            406,
            "not-acceptable",
        ));
    }
    for site in ["cross-site", "same-site", "x"] {
        let request = Request::post_text("/chat?name=ann", "hi").header("Sec-Fetch-Site", site);
        cases.push(bad(request, 403, "cross-origin"));
    }
    for host in ["evil.test", "localhost.evil.test", ""] {
        cases.push(bad(Request::get("/rooms").host(host), 403, "unknown-host"));
    }
    cases.push(bad(
        Request::get("/rooms").without_host(),
        400,
        "bad-request",
    ));
    cases.push(bad(
        Request::get("/rooms").header("Host", "localhost"),
        400,
        "bad-request",
    ));
    cases
}
