//! The servers that are measured: each a process of its own, on a core of its own.

use crate::Fallible;
use crate::common::process::prepared;
use crate::common::{Folder, Process, proc};
use crate::system::core_time;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// The hidden argument that makes this executable the floor.
pub(crate) const FLOOR_ARGUMENT: &str = "--floor-server";

/// Without the limits that a load from one machine would reach.
const NO_LIMITS: [&str; 4] = [
    "--listen=127.0.0.1:0",
    "--message-rate=0",
    "--max-streams=0",
    "--max-streams-per-ip=0",
];

/// Clock ticks per second in `/proc`: 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

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
        binary: String,
        flags: Vec<String>,
        journal: bool,
    },
    /// A server that is running already, and its processes if they are known.
    Other {
        target: Arc<Target>,
        pids: Vec<u32>,
    },
}

impl Peer {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Peer::Floor => "floor",
            Peer::Chatroom { .. } => "chatroom",
            Peer::Other { .. } => "other",
        }
    }

    pub(crate) async fn start(&self, core: Option<&str>) -> Fallible<Server> {
        match self {
            Peer::Floor => {
                let program = std::env::current_exe()?;
                let program = program.to_str().ok_or("the path is not UTF-8")?;
                Ok(Server::launch(&[program, FLOOR_ARGUMENT], None, core).await)
            }
            Peer::Chatroom {
                binary,
                flags,
                journal,
            } => {
                let folder = journal.then(|| Arc::new(Folder::new()));
                Ok(Server::chatroom(binary, flags, folder, core).await)
            }
            Peer::Other { target, pids } => Ok(Server {
                process: None,
                pids: pids.clone(),
                target: Arc::clone(target),
                _folder: None,
            }),
        }
    }
}

/// A server under measurement. Dropping it kills the process that was started for it.
pub(crate) struct Server {
    process: Option<Process>,
    pub(crate) pids: Vec<u32>,
    pub(crate) target: Arc<Target>,
    _folder: Option<Arc<Folder>>,
}

impl Server {
    pub(crate) async fn chatroom(
        binary: &str,
        flags: &[String],
        folder: Option<Arc<Folder>>,
        core: Option<&str>,
    ) -> Server {
        let mut words = vec![binary];
        words.extend(NO_LIMITS);
        if let Some(folder) = &folder {
            words.extend(["--data", folder.as_str()]);
        }
        words.extend(flags.iter().map(String::as_str));
        Server::launch(&words, folder.clone(), core).await
    }

    async fn launch(words: &[&str], folder: Option<Arc<Folder>>, core: Option<&str>) -> Server {
        let pinned = core.map(|core| ["taskset", "-c", core]);
        let pinned = pinned.as_ref().map_or(&[][..], |pinned| &pinned[..]);
        let process = Process::launch(prepared(&[pinned, words].concat())).await;
        Server {
            pids: vec![process.pid()],
            target: Arc::new(Target {
                address: process.address(),
                authority: process.address().to_string(),
                prefix: String::new(),
            }),
            process: Some(process),
            _folder: folder,
        }
    }

    /// Kills the process that was started for it, and waits until it has ended.
    pub(crate) async fn end(self) {
        if let Some(process) = self.process {
            process.kill().await;
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
