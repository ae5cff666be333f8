//! The servers that are measured: each is a process of its own, on a core of its own.

use crate::Fallible;
use crate::system::{self, CpuTime};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// The hidden argument with which this executable becomes the floor server.
pub(crate) const FLOOR_ARGUMENT: &str = "--floor-server";

/// Where a server listens and how it is spoken to.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Value of the `Host` header.
    pub(crate) authority: String,
    /// What stands before `/chat` in every path.
    pub(crate) prefix: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Fallible<Self> {
        let rest = url
            .strip_prefix("http://")
            .ok_or("a URL has to start with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let with_port = if authority
            .rsplit(':')
            .next()
            .is_some_and(|port| port.parse::<u16>().is_ok())
        {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let address = with_port
            .to_socket_addrs()?
            .next()
            .ok_or("the URL's host has no address")?;
        let path = path.trim_end_matches('/');
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            address,
            authority: authority.to_owned(),
            prefix,
        })
    }

    /// The path of room number `room` of `rooms`. One room alone is the default room,
    /// which servers other than this one may have too.
    pub(crate) fn path(&self, room: usize, rooms: usize) -> String {
        match rooms {
            1 => format!("{}/chat", self.prefix),
            _ => format!("{}/chat/bench-{room}", self.prefix),
        }
    }
}

/// Who is measured.
#[derive(Clone)]
pub(crate) enum Peer {
    Floor,
    Chatroom {
        binary: PathBuf,
        flags: Vec<String>,
        journal: bool,
    },
    /// A server that runs already, and its processes where they are known.
    Other {
        target: Arc<Target>,
        pids: Vec<u32>,
    },
}

impl Peer {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Chatroom { .. } => "chatroom",
            Self::Other { .. } => "other",
        }
    }

    /// This server with further command line flags; the others take none.
    pub(crate) fn with_flags(&self, more: &[String]) -> Self {
        let mut peer = self.clone();
        if let Self::Chatroom { flags, .. } = &mut peer {
            flags.extend_from_slice(more);
        }
        peer
    }

    pub(crate) fn start(&self, core: Option<usize>) -> Fallible<Server> {
        match self {
            Self::Floor => Server::spawn(
                &std::env::current_exe()?,
                &[FLOOR_ARGUMENT.to_owned()],
                core,
                None,
            ),
            Self::Chatroom {
                binary,
                flags,
                journal,
            } => {
                let folder = if *journal {
                    Some(Arc::new(Folder::new()?))
                } else {
                    None
                };
                Server::chatroom(binary, flags, folder, core)
            }
            Self::Other { target, pids } => Ok(Server {
                _process: None,
                pids: pids.clone(),
                target: Arc::clone(target),
                _folder: None,
            }),
        }
    }
}

/// A server under measurement. Dropping it ends the process, if it was started here.
pub(crate) struct Server {
    _process: Option<Process>,
    pub(crate) pids: Vec<u32>,
    pub(crate) target: Arc<Target>,
    _folder: Option<Arc<Folder>>,
}

impl Server {
    /// Starts this project's server without the limits that a load from one machine would meet.
    pub(crate) fn chatroom(
        binary: &Path,
        flags: &[String],
        folder: Option<Arc<Folder>>,
        core: Option<usize>,
    ) -> Fallible<Self> {
        let limits = "--listen 127.0.0.1:0 --message-rate 0 --max-streams 0 --max-streams-per-ip 0";
        let mut arguments: Vec<String> = limits.split(' ').map(str::to_owned).collect();
        if let Some(folder) = &folder {
            arguments.extend(["--data".to_owned(), folder.0.display().to_string()]);
        }
        arguments.extend_from_slice(flags);
        Self::spawn(binary, &arguments, core, folder)
    }

    /// Starts a program whose first line ends in the URL that it listens on.
    fn spawn(
        program: &Path,
        arguments: &[String],
        core: Option<usize>,
        folder: Option<Arc<Folder>>,
    ) -> Fallible<Self> {
        let mut command = match core {
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.arg("-c").arg(core.to_string()).arg(program);
                pinned
            }
            None => Command::new(program),
        };
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut process = Process {
            child,
            _lines: None,
        };
        let mut first = String::new();
        lines.read_line(&mut first)?;
        process._lines = Some(lines);
        let Some(url) = first.find("http://").map(|at| first[at..].trim()) else {
            return Err(
                format!("no server came up; start it by hand to see why: {command:?}").into(),
            );
        };
        Ok(Self {
            pids: vec![process.child.id()],
            target: Arc::new(Target::parse(url)?),
            _process: Some(process),
            _folder: folder,
        })
    }

    pub(crate) fn cpu(&self) -> Option<CpuTime> {
        CpuTime::of(&self.pids)
    }

    pub(crate) fn resident(&self) -> Option<f64> {
        system::resident_memory(&self.pids)
    }
}

struct Process {
    child: Child,
    /// Kept open, so that the server may print more without failing.
    _lines: Option<BufReader<ChildStdout>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which its clients have reported then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A temporary folder for a journal, removed with everything in it when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Fallible<Self> {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let name = format!(
            "chatroom-bench-{}-{}",
            std::process::id(),
            since_epoch.as_nanos()
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
