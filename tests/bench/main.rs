//! Benchmark of the chatroom server: `cargo bench`, or `cargo bench -- --help`.
//!
//! The server runs in a process of its own, the load in this one, each on a core of its
//! own where the machine has two. Beside it runs a floor that makes one `write` per client
//! and message and nothing else: the ratio to it is the figure that travels between machines.

mod floor;
mod listener;
mod load;
mod marker;
mod measure;
mod options;
mod poster;
mod scenario;
mod server;
mod stalled;
mod storm;
mod syscalls;
mod system;
mod table;

use load::Joining;
use options::Options;
use scenario::Scenario;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Connections that may wait to be accepted: the kernel's usual upper limit.
pub(crate) const ACCEPT_QUEUE: u32 = 4_096;
/// Set for the second start of this program, to the server's core where there is one.
const SERVER_CORE: &str = "BENCH_SERVER_CORE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if cfg!(debug_assertions) && arguments.is_empty() {
        eprintln!("Nothing is measured in a debug build; use cargo bench.");
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.first().map(String::as_str) {
        Some(server::FLOOR_ARGUMENT) => floor::serve(),
        _ => measure_all(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(arguments: Vec<String>) -> Fallible<()> {
    let Some(options) = options::parse(arguments.clone())? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let Some(server_core) = std::env::var_os(SERVER_CORE) else {
        return Err(start_again(&arguments));
    };
    let server_core = server_core.to_str().and_then(|core| core.parse().ok());
    let bench = Bench {
        options,
        server_core,
        started: Instant::now(),
    };
    if bench.server_core.is_none() {
        println!("Server and load share their cores: taskset or a second core is missing.\n");
    }
    for &scenario in &bench.options.scenarios {
        let table = match scenario {
            Scenario::Storm => storm::compare(&bench),
            Scenario::Stalled => stalled::compare(&bench),
            Scenario::Syscalls => syscalls::compare(&bench),
            _ => measure::compare(&bench, scenario),
        };
        table?.print();
    }
    Ok(())
}

/// Replaces this process by one that may open as many files as it is allowed to, and that
/// runs on one core while the server gets another. Comes back only with an error.
fn start_again(arguments: &[String]) -> Box<dyn Error + Send + Sync> {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let cores = system::allowed_cores();
    let pinned = system::program("taskset").is_some() && cores.len() >= 2;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]);
    if pinned {
        command.args(["taskset", "-c", &cores[1].to_string()]);
    }
    let server_core = if pinned {
        cores[0].to_string()
    } else {
        String::new()
    };
    command
        .arg(program)
        .args(arguments)
        .env(SERVER_CORE, server_core);
    command.exec().into()
}

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) options: Options,
    /// The core that the servers run on; the load has another.
    pub(crate) server_core: Option<usize>,
    started: Instant,
}

impl Bench {
    pub(crate) fn rounds(&self, scenario: Scenario) -> usize {
        self.options.rounds.unwrap_or(scenario.rounds())
    }

    pub(crate) fn joining(&self) -> Joining {
        Joining {
            named: self.options.named,
            last_event_id: None,
            first: Some(0),
        }
    }

    /// Runs all contenders in turn, round after round, so that each meets the same weather;
    /// gives the runs of each. What each run showed is told at once to whoever waits.
    pub(crate) fn in_turn<C, R>(
        &self,
        rounds: usize,
        contenders: &[(String, C)],
        run: impl Fn(&C) -> Fallible<R>,
        tell: impl Fn(&R) -> String,
    ) -> Fallible<Vec<Vec<R>>> {
        let mut runs: Vec<Vec<R>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            for ((label, contender), runs) in contenders.iter().zip(&mut runs) {
                let result = run(contender).map_err(|error| format!("{label}: {error}"))?;
                let seconds = self.started.elapsed().as_secs();
                eprintln!(
                    "{seconds:>4} s  {label}, round {round} of {rounds}: {}",
                    tell(&result)
                );
                runs.push(result);
            }
        }
        Ok(runs)
    }
}

/// Runs one measurement on a runtime of its own; its clients go with it.
pub(crate) fn block_on<T>(measurement: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measurement)
}
