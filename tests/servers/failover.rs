//! A replica takes over from a Redis that died.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::process::Command;

use crate::common::redis::{Redis, free_port, redis_cli};
use crate::common::{Folder, Program, eventually};
use crate::ordeal::{Ordeal, server};
use crate::proxies::{Proxy, block};
use crate::relay::{Line, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over() {
    let mut first = Redis::start().await;
    let second = Redis::start().await;
    let port = first.address().port().to_string();
    second.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    let relay = Relay::to(first.address()).await;
    let (a, b) = (server(&relay.url()).await, server(&relay.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    ordeal.go_on(Duration::from_secs(2)).await;
    first.kill().await;
    second.command(&["REPLICAOF", "NO", "ONE"]).await;
    relay.set(Line::Leads(second.address()));
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    outcome.row("Redis killed, a replica promoted by hand");
    // Nobody can know what the first had acknowledged and the second never got.
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
    assert!(outcome.acknowledged > 50, "{outcome:?}");
}

/// One of the programs that watch over a master and its replicas. Dropping it kills it.
struct Sentinel {
    port: u16,
    _program: Program,
    _folder: Folder,
}

impl Sentinel {
    /// Starts one with the guide's settings, but that it does not take five seconds to believe that
    /// a master is dead.
    async fn over(master: SocketAddr) -> Sentinel {
        let (folder, port) = (Folder::new(), free_port());
        let guide = block("redis-sentinel", &[]);
        let (ip, name) = (master.ip(), format!(" {} ", master.port()));
        let settings = guide
            .replace("10.0.0.1 6379 ", &format!("{ip}{name}"))
            .replace("chat 5000", "chat 1000");
        assert!(settings.contains(&name) && settings.contains(" 1000"));
        let file = folder.file("sentinel.conf", settings);
        let mut command = Command::new("redis-server");
        command
            .args([&file, "--sentinel", "--port", &port.to_string()])
            .args(["--bind", "127.0.0.1", "--dir", folder.as_str()]);
        Sentinel {
            port,
            _program: Program::quiet(&mut command),
            _folder: folder,
        }
    }

    /// Whether it knows the two others and both replicas.
    async fn knows_all(&self) -> bool {
        let master = redis_cli(self.port, &["SENTINEL", "MASTER", "chat"]).await;
        let words: Vec<&str> = master.lines().collect();
        let is = |name: &str, value: &str| words.windows(2).any(|pair| pair == [name, value]);
        is("num-slaves", "2") && is("num-other-sentinels", "2")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_promote_a_replica() {
    let settings = block("redis-replicas", &[]);
    let settings: Vec<String> = settings
        .lines()
        .flat_map(|line| {
            format!("--{line}")
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .chain(["--save", "", "--repl-diskless-sync-delay", "0"].map(str::to_owned))
        .collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut first = Redis::with(&settings).await;
    let port = first.address().port().to_string();
    let follow = ["--replicaof", "127.0.0.1", &port];
    let second = Redis::with(&[&settings[..], &follow].concat()).await;
    let third = Redis::with(&[&settings[..], &follow].concat()).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(Sentinel::over(first.address()).await);
    }
    for sentinel in &sentinels {
        eventually("the sentinels' acquaintance", async || {
            sentinel.knows_all().await
        })
        .await;
    }
    let haproxy = Proxy::haproxy([first.address(), second.address(), third.address()]).await;
    let url = format!("redis://{}", haproxy.address);
    let (a, b) = (server(&url).await, server(&url).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    ordeal.go_on(Duration::from_secs(2)).await;
    first.kill().await;
    eventually("another master", async || {
        second.is_master().await || third.is_master().await
    })
    .await;
    ordeal.go_on(Duration::from_secs(4)).await;
    // It comes back as the master that it was, until a sentinel tells it otherwise.
    first.restart().await;
    ordeal.go_on(Duration::from_secs(2)).await;
    eventually("a single master", async || !first.is_master().await).await;
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    outcome.row("Redis killed, a replica promoted by Sentinel, the first back later");
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
    assert!(outcome.acknowledged > 50, "{outcome:?}");
}
