//! What the operating system knows about a process: CPU time, memory, open files.
//! Everything is read from `/proc`, so elsewhere than on Linux these figures are missing.

use std::fs;
use std::ops::Sub;
use std::path::PathBuf;

/// Ticks a second in `/proc/PID/stat`: 100 on every architecture of Linux, whatever
/// the kernel's own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl CpuTime {
    /// What `pids` used so far, with all their threads.
    pub(crate) fn of(pids: &[u32]) -> Option<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name, second and in parentheses, may hold blanks: count from its end.
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
            sum.user += fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND;
            sum.system += fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND;
        }
        (!pids.is_empty()).then_some(sum)
    }

    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Seconds for which the threads of `pids` so far were ready to run but had to wait for
/// their core: what other programs took from the measurement.
pub(crate) fn core_wait(pids: &[u32]) -> Option<f64> {
    const NANOS_PER_SECOND: f64 = 1e9;
    let mut sum = 0.0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let account = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            let waited: f64 = account.split_ascii_whitespace().nth(1)?.parse().ok()?;
            sum += waited / NANOS_PER_SECOND;
        }
    }
    Some(sum)
}

/// Resident memory of `pids` in bytes.
pub(crate) fn resident_memory(pids: &[u32]) -> Option<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kibibytes = field(&status, "VmRSS:")?.trim_end_matches("kB").trim();
        sum += kibibytes.parse::<f64>().ok()? * 1024.0;
    }
    (!pids.is_empty()).then_some(sum)
}

/// How many files, sockets among them, a process has open.
pub(crate) fn open_files(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// How many files this process may open at once.
pub(crate) fn open_file_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    field(&limits, "Max open files")?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Connections that this machine dropped so far because an accept queue was full.
pub(crate) fn listen_overflows() -> Option<u64> {
    let netstat = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut extended = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (extended.next()?, extended.next()?);
    let mut pairs = names
        .split_ascii_whitespace()
        .zip(values.split_ascii_whitespace());
    pairs
        .find(|(name, _)| *name == "ListenOverflows")?
        .1
        .parse()
        .ok()
}

/// The cores that this process may run on, in ascending order.
pub(crate) fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ranges = field(&status, "Cpus_allowed_list:")
        .unwrap_or_default()
        .split(',');
    let bounds = ranges.filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    bounds.flatten().collect()
}

/// Where a program is, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}
