//! The binary, run as its users run it, and folders for its files.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{eventually, proc, within};

/// How long a program that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);

/// The path of the binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_chatroom");

/// A program that ends with the test that started it: dropping it kills it, and waits for its end.
pub(crate) struct Program(pub(crate) Child);

/// A running server. Dropping it kills it.
pub(crate) struct Process {
    program: Program,
    address: SocketAddr,
    stderr: Arc<Mutex<String>>,
}

/// The outcome of a run of the binary that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts a program whose output nobody reads.
    #[allow(dead_code, reason = "the tests of one server start none")]
    pub(crate) fn quiet(command: &mut Command) -> Program {
        let name = command.as_std().get_program().to_owned();
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = silent.stderr(Stdio::null()).kill_on_drop(true).spawn();
        Program(started.unwrap_or_else(|error| panic!("{} is needed: {error}", name.display())))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails if the program has ended.
        let _ = self.0.start_kill();
        let deadline = Instant::now() + DYING;
        while let Ok(None) = self.0.try_wait()
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Process {
    /// Starts the binary, on a free port of the loopback address unless the arguments say where.
    pub(crate) async fn start(arguments: &[&str]) -> Process {
        Process::start_with(arguments, &[]).await
    }

    /// Starts the binary with more environment variables.
    pub(crate) async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = command(arguments, environment);
        if !arguments.iter().any(|one| one.starts_with("--listen")) {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Process::launch(command).await
    }

    /// Starts the binary through another program that executes it in its place, on a free port of
    /// the loopback address.
    pub(crate) async fn start_under(wrapper: &[&str], arguments: &[&str]) -> Process {
        let mut command = under(wrapper, arguments, &[]);
        command.args(["--listen", "127.0.0.1:0"]);
        Process::launch(command).await
    }

    /// Starts a server, and waits until it says where it listens.
    pub(crate) async fn launch(mut command: Command) -> Process {
        let program = command.as_std().get_program().to_owned();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} is needed: {error}", program.display()));
        let mut program = Program(child);
        let child = &mut program.0;
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
            .unwrap_or_else(|| panic!("not the documented first line: {first}"));
        // Reads on, so that the server never writes to a full or closed pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Process {
            program,
            address,
            stderr,
        }
    }

    /// Runs the binary until it ends, with options that it refuses or that only print.
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
        self.program.0.id().expect("the process was not reaped yet")
    }

    /// The server's output on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits until the server has said `text` on stderr, which it writes beside its answers, and
    /// gives all that it has said so far.
    pub(crate) async fn said(&self, text: &str) -> String {
        eventually(text, async || self.stderr().contains(text)).await;
        self.stderr()
    }

    /// Shuts the server down, and gives all that it has said on stderr, where it tells of the end.
    pub(crate) async fn last_words(self) -> String {
        self.signal("TERM").await;
        self.said("info: shut down").await
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .await
            .expect("the program kill exists");
        assert!(sent.success(), "kill -{name} failed");
        if name == "STOP" {
            eventually("it stands still", async || proc::stands_still(self.pid())).await;
        }
    }

    /// Waits until the process has ended.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        within("the server's exit", self.program.0.wait())
            .await
            .expect("a child can be waited for")
    }

    /// Whether the server has ended, though somebody may still trace one of its threads.
    pub(crate) fn has_exited(&self) -> bool {
        proc::is_zombie(self.pid())
    }

    /// Kills the server, and waits until it has ended.
    pub(crate) async fn kill(mut self) {
        self.signal("KILL").await;
        self.exited().await;
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        proc::resident_bytes(self.pid())
    }

    /// The most memory that was resident so far, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        proc::peak_bytes(self.pid())
    }

    /// What the kernel holds for the server's connections, in bytes.
    pub(crate) fn socket_bytes(&self) -> u64 {
        proc::socket_bytes(self.address.port())
    }

    /// How many threads the server has.
    pub(crate) fn threads(&self) -> usize {
        proc::threads(self.pid())
    }

    /// How many file descriptors are open.
    pub(crate) fn open_files(&self) -> usize {
        proc::open_files(self.pid())
    }

    /// For how many file descriptors the kernel has room without making more.
    pub(crate) fn room_for_files(&self) -> usize {
        proc::room_for_files(self.pid())
    }

    /// CPU time used so far, in ticks of a hundredth of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        proc::cpu_ticks(self.pid()).iter().sum()
    }
}

fn read(text: &Mutex<String>) -> String {
    text.lock().expect("nobody panics with the lock").clone()
}

/// A port that nobody listens on, of those that the system gives to no outgoing connection, which
/// could take it before its server does.
#[allow(dead_code, reason = "most tests let the system pick")]
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Other test programs begin elsewhere.
    let first = std::process::id() as u16;
    loop {
        let next = first
            .wrapping_mul(61)
            .wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + next % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The binary with these arguments and more environment variables.
pub(crate) fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    under(&[], arguments, environment)
}

/// A program (`strace …`, `sh -c "…; exec $0"`) whose last arguments are the binary and its own.
pub(crate) fn under(wrapper: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = prepared(&[wrapper, &[BINARY], arguments].concat());
    command.envs(environment.iter().copied());
    command
}

/// A program and its arguments. The environment's options for chatroom are removed.
pub(crate) fn prepared<T: AsRef<OsStr>>(words: &[T]) -> Command {
    let mut command = Command::new(&words[0]);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CHATROOM_") {
            command.env_remove(name);
        }
    }
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A temporary folder, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "test-{}-{}",
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

    /// The path as a command line argument.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("the target folder's path is UTF-8")
    }

    /// Writes a file into the folder. Returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now goes with the target folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
