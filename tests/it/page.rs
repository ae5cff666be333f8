//! The page and its parts: what is embedded is what is served, once per change, and safely.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Process, Request, Server, ask, get};

/// Every part that was packed: its path on the server, its media type, and its content as it was
/// packed and as gzip unpacks it.
fn parts() -> Vec<(String, &'static str, Vec<u8>, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/packed");
    let mut parts = Vec::new();
    for below in ["", "js/"] {
        for entry in fs::read_dir(folder.join(below)).expect("a folder") {
            let file = entry.expect("an entry").path();
            let Some("gz") = file.extension().and_then(|extension| extension.to_str()) else {
                continue;
            };
            let name = file.file_stem().and_then(|name| name.to_str());
            let name = name.expect("UTF-8").trim_start_matches("index.html");
            let media_type = match name.rsplit('.').next() {
                Some("") => "text/html; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                Some("svg") => "image/svg+xml",
                Some("png") => "image/png",
                Some("webmanifest") => "application/manifest+json",
                _ => panic!("{name}"),
            };
            let unpacked = Command::new("gzip").arg("-dc").arg(&file).output();
            let unpacked = unpacked.expect("gzip runs").stdout;
            let packed = fs::read(&file).expect("a file");
            parts.push((format!("/{below}{name}"), media_type, packed, unpacked));
        }
    }
    assert_eq!(parts.len(), 9);
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_served_as_it_was_embedded() {
    let server = Server::start().await;
    for (path, content_type, _, content) in parts() {
        let answer = get(server.address(), &path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert!(answer.body == content, "{path} is not what was packed");
        // A query, as a cache or a campaign adds one, makes no difference.
        let with_query = get(server.address(), &format!("{path}?x=1")).await;
        assert!(with_query.body == content, "{path}?x=1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_part_is_not_sent_again() {
    let server = Server::start().await;
    let mut tags = std::collections::BTreeSet::new();
    let parts = parts();
    for (path, ..) in &parts {
        let first = get(server.address(), path).await;
        let etag = first.header("etag").expect("a tag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2);
        let request = Request::get(path).header("If-None-Match", &etag);
        let again = ask(server.address(), request).await;
        assert_eq!((again.status, again.header("etag")), (304, Some(&*etag)));
        let request = Request::get(path).header("If-None-Match", "\"other\"");
        assert_eq!(ask(server.address(), request).await.status, 200);
        tags.insert(etag);
    }
    assert_eq!(tags.len(), parts.len(), "two parts with one tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_goes_to_whoever_takes_it_under_a_tag_of_its_own() {
    let server = Server::start().await;
    for (path, content_type, packed_content, plain_content) in parts() {
        let told = async |accept: Option<&str>, tag: &str| {
            let request = Request::get(&path).header("If-None-Match", tag);
            let request = match accept {
                Some(accept) => request.header("Accept-Encoding", accept),
                None => request,
            };
            let answer = ask(server.address(), request).await;
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{path}");
            answer
        };
        let (packed, plain) = (told(Some("gzip"), "").await, told(None, "").await);
        assert_eq!(packed.header("content-type"), Some(content_type));
        assert!(
            packed.body == packed_content && plain.body == plain_content,
            "{path}"
        );
        let tags = [&packed, &plain].map(|answer| answer.header("etag").expect("a tag").to_owned());
        assert_ne!(tags[0], tags[1], "{path}");
        for (accept, is_packed) in [
            (Some("br, GZIP;q=0.1"), true),
            (Some("*"), true),
            (Some("x-gzip"), true),
            (Some("gzip;q=1, *;q=0"), true),
            (Some("gzip;q=0, *"), false),
            (Some("*;q=0.0"), false),
            (Some("br, identity"), false),
            (Some(""), false),
            (None, false),
        ] {
            let answer = told(accept, "").await;
            let encoding = is_packed.then_some("gzip");
            assert_eq!(
                answer.header("content-encoding"),
                encoding,
                "{path} {accept:?}"
            );
            let (own, other) = (
                &tags[usize::from(!is_packed)],
                &tags[usize::from(is_packed)],
            );
            assert_eq!(
                answer.header("etag"),
                Some(own.as_str()),
                "{path} {accept:?}"
            );
            let known = told(accept, own).await;
            assert_eq!(
                (known.status, known.header("content-encoding")),
                (304, None)
            );
            assert_eq!(told(accept, other).await.status, 200, "{path} {accept:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_lives_as_long_as_its_content() {
    let (one, other) = (Process::start(&[]).await, Process::start(&[]).await);
    let parts = parts();
    for (path, ..) in &parts {
        let etag = get(one.address(), path)
            .await
            .header("etag")
            .map(str::to_owned);
        assert_eq!(
            get(other.address(), path).await.header("etag"),
            etag.as_deref(),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_tells_what_get_would() {
    let server = Server::start().await;
    let others = [
        "/chat/lobby/messages",
        "/chat/lobby/members",
        "/rooms",
        "/healthz",
    ];
    let parts = parts();
    for path in parts.iter().map(|(path, ..)| path.as_str()).chain(others) {
        let get = get(server.address(), path).await;
        let head = ask(server.address(), Request::new("HEAD", path)).await;
        let told = |answer: &crate::common::Response| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "date");
            (answer.status, headers)
        };
        assert_eq!(told(&head), told(&get), "{path}");
        assert_eq!(
            head.header("content-length"),
            Some(&*get.body.len().to_string()),
            "{path}"
        );
    }
    // This answer differs from one moment to the next.
    let head = ask(server.address(), Request::new("HEAD", "/metrics")).await;
    assert_eq!(head.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_keeps_to_its_own_policy() {
    let server = Server::start().await;
    let page = get(server.address(), "/").await;
    assert_eq!(
        page.header("content-security-policy"),
        Some(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    let html = page.text().to_ascii_lowercase();
    assert!(html.contains("<script"));
    for script in html.split("<script").skip(1) {
        let (attributes, content) = script.split_once('>').expect("a tag ends");
        assert!(
            attributes.contains("src="),
            "an inline script: {attributes}"
        );
        assert!(content.trim_start().starts_with("</script>"), "{content}");
    }
    assert!(!html.contains("<style"), "inline style");
    for tag in html
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
    {
        for attribute in tag.split_whitespace().skip(1) {
            assert!(!attribute.starts_with("on"), "an inline handler: <{tag}>");
            assert!(!attribute.starts_with("style="), "inline style: <{tag}>");
            let target = attribute
                .strip_prefix("src=")
                .or(attribute.strip_prefix("href="));
            if let Some(target) = target.map(|target| target.trim_matches('"')) {
                // Relative, so that the page works below a prefix; and nothing from elsewhere.
                assert!(!target.starts_with('/') && !target.contains(':'), "<{tag}>");
            }
        }
    }
}
