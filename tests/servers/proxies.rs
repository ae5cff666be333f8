//! nginx and Caddy in front of two servers, with the configurations of the guide.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::common::redis::{Redis, free_port};
use crate::common::{Folder, Process, Program, eventually};
use crate::ordeal::{OPTIONS, Ordeal, server};

const GUIDE: &str = include_str!("../../src/guide/servers.md");

/// The fenced block of a language in the guide, with other addresses than the guide's.
pub(crate) fn block(language: &str, addresses: &[(&str, SocketAddr)]) -> String {
    let (_, rest) = GUIDE
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    let (block, _) = rest.split_once("```").expect("it ends");
    let mut replaced = block.to_owned();
    for (address, with) in addresses {
        assert!(block.contains(address), "the guide names other addresses");
        replaced = replaced.replace(address, &with.to_string());
    }
    replaced
}

/// The guide's block of a proxy, with the addresses of these servers.
fn site(language: &str, [a, b]: [SocketAddr; 2]) -> String {
    block(language, &[("127.0.0.1:8081", a), ("127.0.0.1:8082", b)])
}

/// A proxy. Dropping it kills it.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    _program: Program,
    _folder: Folder,
}

impl Proxy {
    pub(crate) async fn nginx(servers: [SocketAddr; 2]) -> Proxy {
        let (folder, port) = (Folder::new(), free_port());
        let path = folder.as_str();
        let upstream = site("nginx", servers);
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr crit;
            events {{ worker_connections 2048; }}
            http {{ access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
              fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
              {upstream}
              server {{ listen 127.0.0.1:{port};
                location / {{ proxy_pass http://chatroom; proxy_http_version 1.1;
                  proxy_set_header Connection ''; proxy_set_header Host $host; }} }} }}"
        );
        let file = folder.file("nginx.conf", configuration);
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p", path, "-c", &file]);
        Proxy::launch(command, folder, port).await
    }

    pub(crate) async fn caddy(servers: [SocketAddr; 2]) -> Proxy {
        let (folder, port) = (Folder::new(), free_port());
        let site = site("caddy", servers);
        let site = site.replace("chat.example.org", &format!("http://:{port}"));
        let file = folder.file("Caddyfile", format!("{{\n admin off\n}}\n{site}"));
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", &file]);
        for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(home, folder.path());
        }
        Proxy::launch(command, folder, port).await
    }

    /// Leads to the one of three Redis servers that is the master.
    pub(crate) async fn haproxy([a, b, c]: [SocketAddr; 3]) -> Proxy {
        let (folder, port) = (Folder::new(), free_port());
        let redis = [
            ("127.0.0.1:6380", SocketAddr::from(([127, 0, 0, 1], port))),
            ("10.0.0.1:6379", a),
            ("10.0.0.2:6379", b),
            ("10.0.0.3:6379", c),
        ];
        let file = folder.file("haproxy.cfg", block("haproxy", &redis));
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", &file]);
        Proxy::launch(command, folder, port).await
    }

    async fn launch(mut command: Command, folder: Folder, port: u16) -> Proxy {
        let path = std::env::var("PATH").unwrap_or_default();
        let program = Program::quiet(command.env("PATH", format!("{path}:/usr/sbin")));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the proxy", async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Proxy {
            address,
            _program: program,
            _folder: folder,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_of_a_server_that_is_killed_resume_at_the_other() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let nginx = Proxy::nginx([a.address(), b.address()]).await;
    let ordeal = Ordeal::with_followers(&[nginx.address], 200).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    a.kill().await;
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    outcome.row("a server killed, 200 clients behind nginx");
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
    assert!(outcome.acknowledged > 50, "{outcome:?}");
}

/// Replaces both servers, one after the other, under load.
async fn upgrade(fault: &str, redis: &Redis, proxy: Proxy, servers: [Process; 2]) {
    let ordeal = Ordeal::with_followers(&[proxy.address], 40).await;
    let mut replaced = Vec::new();
    for mut old in servers {
        ordeal.go_on(Duration::from_secs(2)).await;
        let listen = format!("--listen={}", old.address());
        old.signal("TERM").await;
        old.exited().await;
        let url = redis.url();
        let arguments = [&OPTIONS[..], &["--redis", &url, &listen]].concat();
        replaced.push(Process::start(&arguments).await);
    }
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    outcome.row(fault);
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
    assert!(outcome.longest_away < Duration::from_secs(3), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_behind_nginx_loses_nothing() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let nginx = Proxy::nginx([a.address(), b.address()]).await;
    upgrade("two servers replaced behind nginx", &redis, nginx, [a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_behind_caddy_loses_nothing() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let caddy = Proxy::caddy([a.address(), b.address()]).await;
    upgrade("two servers replaced behind Caddy", &redis, caddy, [a, b]).await;
}
