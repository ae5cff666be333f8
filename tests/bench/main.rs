//! Benchmark of the chatroom server: `cargo bench`, or `cargo bench -- --help`.
//!
//! The server runs in a process of its own and the load in this one, each on its own core if the
//! machine has two. Beside it runs a floor, which makes one `write` per client and message and
//! does nothing else: the ratio between the two is the figure that travels between machines.

#[allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]
#[path = "../common/mod.rs"]
mod common;

mod options;
mod scenario;

mod instructions;
mod measure;
#[cfg(feature = "redis")]
mod servers;
mod stalled;
mod storm;
mod syscalls;

mod listener;
mod load;

mod floor;
mod server;
mod system;
mod table;

use options::Options;
use scenario::{Case, Scenario};
use server::{Peer, Server};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;
use table::{Column, Table};

pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// In the environment of the second start of this program: the server's cores, if it is pinned.
const SERVER_CORE: &str = "BENCH_SERVER_CORE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if cfg!(debug_assertions) && arguments.is_empty() {
        eprintln!("Nothing is measured in a debug build; use cargo bench.");
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.first().map(String::as_str) {
        Some(server::FLOOR_ARGUMENT) => floor::serve(),
        _ => measure_all(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(arguments: &[String]) -> Fallible<()> {
    let Some(server_core) = std::env::var_os(SERVER_CORE) else {
        let all_cores = arguments.iter().any(|flag| flag == options::ALL_CORES);
        return Err(start_again(arguments, all_cores)?.into());
    };
    let Some(options) = options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let server_core = server_core.into_string().ok();
    let core = server_core.filter(|core| !core.is_empty());
    let is_pinned = core.is_some();
    let taskset = core.map(|core| ["taskset".to_owned(), "-c".to_owned(), core]);
    let bench = Bench {
        options,
        taskset: taskset.map(Vec::from).unwrap_or_default(),
        started: Instant::now(),
    };
    if !is_pinned {
        println!("Server and load share their cores: taskset or a second core is missing.\n");
    }
    for scenario in &bench.options.scenarios {
        (scenario.compare)(&bench, scenario)?.print();
    }
    Ok(())
}

/// Replaces this process with one that may open as many files as the hard limit allows, and that
/// is pinned to one core while the server gets another. Returns only an error.
fn start_again(arguments: &[String], all_cores: bool) -> Fallible<std::io::Error> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]);
    let server_core = match &system::allowed_cores()[..] {
        cores @ [server, load, ..] if system::is_installed("taskset") => {
            command.args(["taskset", "-c", &load.to_string()]);
            let servers = if all_cores { cores } else { &[*server] };
            servers
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(",")
        }
        _ => String::new(),
    };
    command.arg(program).args(arguments);
    Ok(command.env(SERVER_CORE, server_core).exec())
}

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) options: Options,
    /// What pins a server to its core, or to all; the load has one.
    taskset: Vec<String>,
    started: Instant,
}

/// One line of a comparison: a server under some condition.
pub(crate) struct Contender<C> {
    pub(crate) label: String,
    pub(crate) what: C,
    /// Which contender its ratios refer to.
    pub(crate) base: usize,
}

impl Bench {
    /// A server that runs on its core.
    pub(crate) fn pinned(&self) -> Vec<&str> {
        self.taskset.iter().map(String::as_str).collect()
    }

    /// The servers, each compared with the floor.
    pub(crate) fn contenders(&self) -> Vec<Contender<Peer>> {
        let contender = |peer: &Peer| Contender {
            label: peer.label().to_owned(),
            what: peer.clone(),
            base: 0,
        };
        self.options.peers.iter().map(contender).collect()
    }

    /// Runs all contenders in turn, round after round, so that each meets the same conditions.
    /// Returns the table, and all runs.
    pub(crate) fn compare<C, R>(
        &self,
        scenario: &Scenario,
        contenders: &[Contender<C>],
        columns: &[Column<R>],
        run: impl Fn(&C, &Arc<Case>) -> Fallible<R>,
        tell: impl Fn(&R) -> String,
    ) -> Fallible<(Table, Vec<R>)> {
        let rounds = self.options.rounds.unwrap_or(scenario.rounds);
        let mut table = Table::new(scenario.name, rounds, columns);
        let mut all = Vec::new();
        for case in scenario.cases(&self.options)? {
            let case = Arc::new(case);
            let mut runs: Vec<Vec<R>> = contenders.iter().map(|_| Vec::new()).collect();
            for round in 1..=rounds {
                for (contender, runs) in contenders.iter().zip(&mut runs) {
                    let what = format!("{}, {}", case.label, contender.label);
                    let result = run(&contender.what, &case);
                    let result = result.map_err(|error| format!("{what}: {error}"))?;
                    let seconds = self.started.elapsed().as_secs();
                    let told = tell(&result);
                    eprintln!("{seconds:>4} s  {what}, round {round} of {rounds}: {told}");
                    runs.push(result);
                }
            }
            for (contender, own) in contenders.iter().zip(&runs) {
                let base = &runs[contender.base];
                let cells = columns.iter().map(|(_, cell)| cell(own, base));
                table.row(&case.label, &contender.label, cells);
            }
            all.extend(runs.into_iter().flatten());
        }
        Ok((table, all))
    }

    /// Runs one measurement of a server that is started for it.
    pub(crate) fn measure<T>(
        &self,
        peer: &Peer,
        measurement: impl AsyncFnOnce(&Server) -> Fallible<T>,
    ) -> Fallible<T> {
        block_on(async {
            let server = peer.start(&self.pinned()).await?;
            let outcome = measurement(&server).await;
            server.end().await?;
            outcome
        })
    }
}

/// Runs one measurement on a runtime of its own, which ends its clients.
pub(crate) fn block_on<T>(measurement: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measurement)
}
