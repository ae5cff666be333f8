//! How a server reaches Redis: with a password, and over TLS.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::common::process::command;
use crate::common::redis::Redis;
use crate::common::{Process, Request, ask, within};

/// What a server says on stderr that cannot reach Redis and goes on trying.
async fn refused(mut server: Command) -> String {
    let mut child = server.spawn().expect("the binary starts");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    let mut lines = BufReader::new(stderr).lines();
    within("the reason on stderr", async {
        while let Some(line) = lines.next_line().await.expect("stderr can be read") {
            if line.contains("chatroom error: waiting for Redis: ") {
                return line;
            }
        }
        panic!("it ended instead of waiting");
    })
    .await
}

async fn takes_a_message(server: &Process) {
    let post = Request::post_text("/chat?name=bot", "hello");
    ask(server.address(), post).await.expect(201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_redis_and_is_never_told() {
    let redis = Redis::with(&["--save", "", "--requirepass", "open-sesame"]).await;
    let url = |password| format!("redis://:{password}@{}", redis.address());
    let right = url("open-sesame");
    let server = Process::start_with(&["--log=debug"], &[("CHATROOM_REDIS", &right)]).await;
    takes_a_message(&server).await;
    assert!(!server.stderr().contains("sesame"), "{}", server.stderr());
    for wrong in [url("not-sesame"), format!("redis://{}", redis.address())] {
        let said = refused(command(&["--listen=0"], &[("CHATROOM_REDIS", &wrong)])).await;
        assert!(
            said.contains("chatroom error: waiting for Redis: "),
            "{said}"
        );
        assert!(!said.contains("sesame"), "{said}");
    }
}

#[cfg(feature = "redis-tls")]
mod tls {
    use std::time::Duration;

    use super::*;
    use crate::common::Folder;
    use crate::common::redis::free_port;
    use crate::ordeal::{OPTIONS, Ordeal};
    use crate::relay::{Line, Relay};

    /// Makes an authority, and a certificate of it for the host `localhost`.
    async fn certificates(folder: &Folder) -> [String; 3] {
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        let steps = [
            format!("{new} -keyout ca.key -out ca.pem -subj /CN=authority"),
            format!(
                "{new} -CA ca.pem -CAkey ca.key -keyout redis.key -out redis.pem -subj /CN=redis
                -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost"
            ),
        ];
        for step in steps {
            let mut openssl = Command::new("openssl");
            openssl.args(step.split_whitespace());
            openssl.current_dir(folder.path()).kill_on_drop(true);
            let made = within("openssl", openssl.output()).await;
            let made = made.expect("openssl is installed");
            assert!(made.status.success(), "{made:?}");
        }
        ["ca.pem", "redis.pem", "redis.key"].map(|file| format!("{}/{file}", folder.as_str()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_is_spoken_with_whom_the_authority_vouches_for_and_nobody_else() {
        let folder = Folder::new();
        let [authority, certificate, key] = certificates(&folder).await;
        let port = free_port();
        let _redis = Redis::with(&[
            "--save",
            "",
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "no",
        ])
        .await;
        let good = Line::Leads(([127, 0, 0, 1], port).into());
        let relay = Relay::to(([127, 0, 0, 1], port).into()).await;
        let secure = format!("--redis=rediss://localhost:{}", relay.port());
        let trusting = [("SSL_CERT_FILE", authority.as_str())];
        let options = [&OPTIONS[..], &[&secure]].concat();
        let a = Process::start_with(&options, &trusting).await;
        let b = Process::start_with(&options, &trusting).await;
        let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
        for _ in 0..3 {
            ordeal.go_on(Duration::from_millis(500)).await;
            relay.set(good);
        }
        let outcome = ordeal.end().await;
        outcome.row("connections with TLS cut three times");
        assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");

        let said = refused(command(&["--listen=0", &secure], &[])).await;
        assert!(said.contains("UnknownIssuer"), "{said}");
        let other_name = format!("--redis=rediss://127.0.0.1:{}", relay.port());
        let said = refused(command(&["--listen=0", &other_name], &trusting)).await;
        assert!(said.contains("certificate"), "{said}");
    }
}
