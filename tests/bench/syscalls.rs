//! System calls per delivery, counted by strace. Unlike times, these counts depend neither on the
//! machine nor on what else runs on it.

use crate::common::Folder;
use crate::measure::audience;
use crate::scenario::{Case, Scenario};
use crate::server::Peer;
use crate::system::is_installed;
use crate::table::{Column, Table, figure};
use crate::{Bench, Fallible};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// How many calls a row names besides writes and reads.
const NAMED_CALLS: usize = 3;
/// Calls that move data to or from a socket or file.
const WRITES: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "pwrite64"];
const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];

struct Counted {
    /// The names of system calls, and how often the server made each per delivery.
    calls: Vec<(String, f64)>,
}

impl Counted {
    fn sum(&self, wanted: impl Fn(&str) -> bool) -> f64 {
        let calls = self.calls.iter().filter(|(name, _)| wanted(name));
        calls.map(|(_, count)| count).sum()
    }
}

fn is_write(name: &str) -> bool {
    WRITES.contains(&name)
}

fn is_read(name: &str) -> bool {
    READS.contains(&name)
}

const COLUMNS: [Column<Counted>; 4] = [
    ("calls per delivery", |own, _| {
        figure(own, |run| Some(run.sum(|_| true)), 4, "")
    }),
    ("writes", |own, _| {
        figure(own, |run| Some(run.sum(is_write)), 4, "")
    }),
    ("reads", |own, _| {
        figure(own, |run| Some(run.sum(is_read)), 4, "")
    }),
    ("others, most frequent first", |own, _| {
        // These hardly differ between rounds.
        let calls = own.last().map(|run| &run.calls[..]).unwrap_or_default();
        let others = calls.iter();
        let mut others: Vec<_> = others
            .filter(|(name, _)| !is_write(name) && !is_read(name))
            .collect();
        others.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let others = others.iter().take(NAMED_CALLS);
        let others = others.map(|(name, count)| format!("{name} {count:.4}"));
        others.collect::<Vec<_>>().join(", ")
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    if !is_installed("strace") {
        let mut table = Table::new(scenario.name, scenario.rounds, &COLUMNS);
        table.note("Not counted: strace is not installed.".to_owned());
        return Ok(table);
    }
    let run = |peer: &Peer, case: &Arc<Case>| run(bench, peer, case);
    let tell =
        |counted: &Counted| format!("{:.4} system calls per delivery", counted.sum(|_| true));
    let contenders = bench.contenders();
    let (table, _) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    Ok(table)
}

fn run(bench: &Bench, peer: &Peer, case: &Arc<Case>) -> Fallible<Counted> {
    bench.measure(peer, async |server| {
        if server.pids.is_empty() {
            return Err("its process is not known; name it with --pid".into());
        }
        let (mut load, _) = audience(server, case).await?;
        let trace = Trace::attach(&server.pids)?;
        load.deliver_all().await?;
        let mut calls = trace.finish()?;
        let delivered = load.tally.counts().delivered as f64;
        for (_, count) in &mut calls {
            *count /= delivered;
        }
        Ok(Counted { calls })
    })
}

struct Trace {
    strace: Child,
    folder: Folder,
}

impl Trace {
    fn attach(pids: &[u32]) -> Fallible<Self> {
        let folder = Folder::new();
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-o"])
            .arg(folder.path().join("counts"));
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(strace.stderr.take().expect("stderr is piped")).lines();
        for _ in pids {
            let line = lines.next().ok_or("strace ended at once")??;
            if !line.contains("attached") {
                return Err(line.into());
            }
        }
        // Later output of strace goes nowhere, which it tolerates.
        Ok(Self { strace, folder })
    }

    fn finish(mut self) -> Fallible<Vec<(String, f64)>> {
        let pid = self.strace.id().to_string();
        Command::new("sh")
            .args(["-c", "kill -INT \"$0\"", &pid])
            .status()?;
        self.strace.wait()?;
        let counts = fs::read_to_string(self.folder.path().join("counts"))?;
        // Columns: % time, seconds, µs per call, calls, errors where there are any, name.
        let calls = counts.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let name = *words.last().filter(|name| **name != "total")?;
            Some((name.to_owned(), words.get(3)?.parse::<f64>().ok()?))
        });
        Ok(calls.collect())
    }
}
