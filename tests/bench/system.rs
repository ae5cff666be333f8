//! What the operating system knows about this machine and the cores of a process.

use std::fs;
use std::process::Command;

/// How long the threads of a process have run, and how long they were ready to run but waited for
/// a core because something else ran on it; in seconds.
#[derive(Default)]
pub(crate) struct CoreTime {
    pub(crate) ran: f64,
    pub(crate) waited: f64,
}

/// The core time of some processes so far.
pub(crate) fn core_time(pids: &[u32]) -> Option<CoreTime> {
    const NANOS_PER_SECOND: f64 = 1e9;
    let mut sum = CoreTime::default();
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let account = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            let mut nanos = account
                .split_ascii_whitespace()
                .map_while(|n| n.parse::<f64>().ok());
            sum.ran += nanos.next()? / NANOS_PER_SECOND;
            sum.waited += nanos.next()? / NANOS_PER_SECOND;
        }
    }
    (!pids.is_empty()).then_some(sum)
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children
        .split_ascii_whitespace()
        .map_while(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// Connections that this machine has dropped because an accept queue was full.
pub(crate) fn listen_overflows() -> Option<f64> {
    let netstat = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "ListenOverflows")?;
    value.parse().ok()
}

/// The cores that this process may run on, in ascending order.
pub(crate) fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lists = status
        .lines()
        .filter_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = lists.next().unwrap_or_default().split(',');
    let bounds = ranges.filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    bounds.flatten().collect()
}

/// Whether a program that knows `-V` is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}
