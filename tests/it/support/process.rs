//! The real binary, run as its users run it, and folders for its files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::within;

/// The real binary. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    stderr: Arc<Mutex<String>>,
}

/// How a run of the binary ended that did not come to listen.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts the binary on a free port of loopback, unless the arguments say where.
    pub(crate) async fn start(arguments: &[&str]) -> Process {
        Process::start_with(arguments, &[]).await
    }

    /// Starts the binary with more in its environment.
    pub(crate) async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = command(arguments, environment);
        if !arguments.iter().any(|one| one.starts_with("--listen")) {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Process::launch(command).await
    }

    /// Starts the binary by another program that ends up being it, on a free port of loopback.
    pub(crate) async fn start_under(wrapper: &[&str], arguments: &[&str]) -> Process {
        let mut command = under(wrapper, arguments, &[]);
        command.args(["--listen", "127.0.0.1:0"]);
        Process::launch(command).await
    }

    /// Starts a prepared command (a wrapper such as `sh -c "ulimit …; exec …"`) that ends up being
    /// the server.
    pub(crate) async fn launch(mut command: Command) -> Process {
        let program = command.as_std().get_program().to_owned();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} is needed: {error}", program.display()));
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let collected = stderr.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                collected
                    .lock()
                    .expect("nobody panics with the lock")
                    .extend([line.as_str(), "\n"]);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let first = within("the first line on stdout", lines.next_line())
            .await
            .expect("stdout can be read")
            .unwrap_or_else(|| panic!("the server does not listen: {}", read(&stderr)));
        let address = first
            .strip_prefix("chatroom listening on http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("not the promised first line: {first}"));
        // Read on, so that the server never writes to a closed pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Process {
            child,
            address,
            stderr,
        }
    }

    /// Runs the binary to its end, for options that it refuses and those that only print.
    pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = within("the binary's end", command(arguments, environment).output())
            .await
            .expect("the binary starts");
        Ended {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process was not waited for yet")
    }

    /// What the server has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .await
            .expect("the program kill is there");
        assert!(sent.success(), "kill -{name} failed");
    }

    /// Waits for the end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        within("the server's exit", self.child.wait())
            .await
            .expect("a child can be waited for")
    }

    /// Ends the server as a power cut would, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.signal("KILL").await;
        self.exited().await;
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process is alive");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("Linux tells the resident memory") * 1024
    }

    /// How many file descriptors are open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the process is alive")
            .count()
    }
}

fn read(text: &Mutex<String>) -> String {
    text.lock().expect("nobody panics with the lock").clone()
}

/// The binary, ready to start, deaf to the options in the environment of the test.
pub(crate) fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    under(&[], arguments, environment)
}

/// The binary as [`command`] has it, started by another program (`strace …`, `sh -c "…; exec $0"`)
/// that is given it as its last arguments.
pub(crate) fn under(wrapper: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let binary = env!("CARGO_BIN_EXE_chatroom");
    let mut command = match wrapper {
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(binary);
            command
        }
        [] => Command::new(binary),
    };
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHATROOM_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A folder of its own for one test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "it-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the target folder can be written");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path as an argument.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("the target folder's path is UTF-8")
    }

    /// Writes a file in the folder, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is removed with the target folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
