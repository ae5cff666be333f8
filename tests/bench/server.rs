//! The servers that are measured: each a process of its own, on a core of its own.

use crate::Fallible;
use crate::common::process::{BINARY, free_port, prepared};
use crate::common::{Folder, Process, Program, eventually, proc};
use crate::system::{core_time, family};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

/// The hidden argument that makes this executable the floor.
pub(crate) const FLOOR_ARGUMENT: &str = "--floor-server";

/// Without the limits that a load from one machine would reach.
const NO_LIMITS: [&str; 4] = [
    "--listen=127.0.0.1:0",
    "--message-rate=0",
    "--max-streams=0",
    "--max-streams-per-ip=0",
];

/// Where Debian keeps nginx's modules.
const NGINX_PREFIX: &str = "/usr/share/nginx";

/// Clock ticks per second in `/proc`: 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Builds chatroom as its users do, and returns the path. The one that cargo built with this program
/// has features of hyper that only the tests need, and larger connections for it.
pub(crate) fn build() -> Fallible<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let profile = Path::new(BINARY).parent();
    let target = profile.and_then(Path::parent).ok_or("no target folder")?;
    let mut cargo = process::Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--release"]);
    cargo.args(["--manifest-path", manifest, "--target-dir"]);
    cargo.arg(target);
    if cfg!(feature = "redis") {
        cargo.args(["--features", "redis"]);
    }
    let built = cargo.status()?.success();
    built
        .then(|| BINARY.to_owned())
        .ok_or("cargo build failed".into())
}

/// Where a server listens, and how it is addressed.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The value of the `Host` header.
    pub(crate) authority: String,
    /// What precedes `/chat` in every path.
    pub(crate) prefix: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Fallible<Target> {
        let rest = url.strip_prefix("http://");
        let rest = rest.ok_or("a URL has to start with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut addresses = match authority.to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(_) => (authority, 80).to_socket_addrs()?,
        };
        let address = addresses.next().ok_or("the URL's host has no address")?;
        Ok(Target {
            address,
            authority: authority.to_owned(),
            prefix: format!("/{path}").trim_end_matches('/').to_owned(),
        })
    }

    /// The path of a room. A single room is the default room, which other servers have too.
    pub(crate) fn path(&self, room: usize, rooms: usize) -> String {
        match rooms {
            1 => format!("{}/chat", self.prefix),
            _ => format!("{}/chat/bench-{room}", self.prefix),
        }
    }
}

/// Which server is measured.
#[derive(Clone)]
pub(crate) enum Peer {
    Floor,
    Chatroom {
        label: String,
        binary: String,
        flags: Vec<String>,
        journal: bool,
    },
    /// Another server: one that is running already, or one that a command starts.
    Other(Arc<Other>),
}

pub(crate) struct Other {
    pub(crate) label: String,
    pub(crate) target: Arc<Target>,
    /// A program and its arguments, or nothing where the server is running already.
    pub(crate) command: Vec<String>,
    /// Its processes, where they are known and it is running already.
    pub(crate) pids: Vec<u32>,
    /// Files that the command needs.
    pub(crate) _folder: Option<Folder>,
}

impl Other {
    /// nginx with the module nchan, which keeps as much history as chatroom's defaults allow.
    fn nchan() -> Fallible<Other> {
        let folder = Folder::new();
        let port = free_port();
        let path = folder.as_str();
        let configuration = format!(
            "load_module modules/ngx_nchan_module.so;
            worker_processes 1; daemon off; pid {path}/pid; error_log stderr crit;
            worker_rlimit_nofile 1048576;
            events {{ worker_connections 65536; use epoll; }}
            http {{
              access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
              nchan_shared_memory_size 512M; client_body_temp_path {path}/body;
              proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u;
              scgi_temp_path {path}/s;
              server {{
                listen 127.0.0.1:{port} backlog=4096;
                location ~ ^/chat(/.*)?$ {{
                  nchan_pubsub; nchan_subscriber eventsource; nchan_channel_id room$1;
                  nchan_message_buffer_length 500; nchan_subscriber_first_message newest;
                  nchan_eventsource_event new-message;
                }}
              }}
            }}"
        );
        let file = folder.file("nginx.conf", configuration);
        let words = ["nginx", "-e", "stderr", "-p", NGINX_PREFIX, "-c", &file];
        Ok(Other {
            label: "nchan".to_owned(),
            target: Arc::new(Target::parse(&format!("http://127.0.0.1:{port}"))?),
            command: words.map(str::to_owned).to_vec(),
            pids: Vec::new(),
            _folder: Some(folder),
        })
    }
}

impl Peer {
    /// A peer by what `--against` says of it: `nchan`, a URL with the command that starts a server
    /// there or without one, or a chatroom executable.
    pub(crate) fn parse(value: &str, pids: &[u32]) -> Fallible<Peer> {
        if value == "nchan" {
            return Ok(Peer::Other(Arc::new(Other::nchan()?)));
        }
        if !value.starts_with("http") {
            return Ok(Peer::Chatroom {
                label: value.to_owned(),
                binary: value.to_owned(),
                flags: Vec::new(),
                journal: false,
            });
        }
        let mut words = value.split_ascii_whitespace().map(str::to_owned);
        let url = words.next().unwrap_or_default();
        Ok(Peer::Other(Arc::new(Other {
            target: Arc::new(Target::parse(&url)?),
            label: url,
            command: words.collect(),
            pids: pids.to_vec(),
            _folder: None,
        })))
    }

    pub(crate) fn label(&self) -> &str {
        match self {
            Peer::Floor => "floor",
            Peer::Chatroom { label, .. } => label,
            Peer::Other(other) => &other.label,
        }
    }

    /// Starts it by a program that executes its last arguments, or by itself without one.
    pub(crate) async fn start(&self, wrapper: &[&str]) -> Fallible<Server> {
        match self {
            Peer::Floor => {
                let program = std::env::current_exe()?;
                let program = program.to_str().ok_or("the path is not UTF-8")?;
                Ok(Server::launch(&[program, FLOOR_ARGUMENT], None, wrapper).await)
            }
            Peer::Chatroom {
                binary,
                flags,
                journal,
                ..
            } => {
                let folder = journal.then(|| Arc::new(Folder::new()));
                Ok(Server::chatroom(binary, flags, folder, wrapper).await)
            }
            Peer::Other(other) => Server::other(other, wrapper).await,
        }
    }
}

/// A server under measurement. Dropping it kills the process that was started for it.
pub(crate) struct Server {
    process: Option<Process>,
    other: Option<Program>,
    pub(crate) pids: Vec<u32>,
    pub(crate) target: Arc<Target>,
    _folder: Option<Arc<Folder>>,
}

impl Server {
    pub(crate) async fn chatroom(
        binary: &str,
        flags: &[String],
        folder: Option<Arc<Folder>>,
        wrapper: &[&str],
    ) -> Server {
        let mut words = vec![binary];
        words.extend(NO_LIMITS);
        if let Some(folder) = &folder {
            words.extend(["--data", folder.as_str()]);
        }
        words.extend(flags.iter().map(String::as_str));
        Server::launch(&words, folder.clone(), wrapper).await
    }

    async fn launch(words: &[&str], folder: Option<Arc<Folder>>, wrapper: &[&str]) -> Server {
        let process = Process::launch(prepared(&[wrapper, words].concat())).await;
        Server {
            pids: vec![process.pid()],
            target: Arc::new(Target {
                address: process.address(),
                authority: process.address().to_string(),
                prefix: String::new(),
            }),
            process: Some(process),
            other: None,
            _folder: folder,
        }
    }

    async fn other(other: &Other, wrapper: &[&str]) -> Fallible<Server> {
        let mut server = Server {
            process: None,
            other: None,
            pids: other.pids.clone(),
            target: Arc::clone(&other.target),
            _folder: None,
        };
        if !other.command.is_empty() {
            let words: Vec<&str> = other.command.iter().map(String::as_str).collect();
            let program = Program::quiet(&mut prepared(&[wrapper, &words].concat()));
            let pid = program.0.id().ok_or("it ended at once")?;
            server.other = Some(program);
            eventually("the peer's answer", async || {
                answers(server.target.address).await.is_ok()
            })
            .await;
            server.pids = family(pid);
        }
        Ok(server)
    }

    /// Ends the process that was started for it, and waits until it has ended.
    pub(crate) async fn end(self) -> Fallible<()> {
        if let Some(process) = self.process {
            process.kill().await;
        }
        if let Some(mut other) = self.other {
            // Not killed, or it would leave its own children behind.
            Command::new("kill")
                .arg(self.pids[0].to_string())
                .status()
                .await?;
            other.0.wait().await?;
        }
        Ok(())
    }

    /// Asks the process that was started for it to end in good order.
    pub(crate) async fn shut_down(self) {
        if let Some(mut process) = self.process {
            process.signal("TERM").await;
            process.exited().await;
        }
    }

    /// CPU time so far, in user mode and in the kernel, in seconds.
    pub(crate) fn cpu(&self) -> Option<[f64; 2]> {
        let mut sum = [0.0; 2];
        for pid in &self.pids {
            for (sum, ticks) in sum.iter_mut().zip(proc::cpu_ticks(*pid)) {
                *sum += ticks as f64 / TICKS_PER_SECOND;
            }
        }
        (!self.pids.is_empty()).then_some(sum)
    }

    /// For how long its threads and those of the load have waited for a core, in seconds.
    pub(crate) fn waited(&self) -> f64 {
        let times = [core_time(&self.pids), core_time(&[std::process::id()])];
        times.iter().flatten().map(|time| time.waited).sum()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Option<f64> {
        let bytes = self
            .pids
            .iter()
            .map(|pid| proc::resident_bytes(*pid) as f64);
        (!self.pids.is_empty()).then(|| bytes.sum())
    }
}

/// The server answers a request, so the processes that do are running.
async fn answers(address: SocketAddr) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    stream.read_u8().await
}
