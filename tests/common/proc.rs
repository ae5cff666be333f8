//! What Linux says about a process, read from `/proc`.

use std::fs;
use std::process::Command;
use std::str::FromStr;

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field::<u64>(&status, "VmRSS:") * 1024
}

/// The most memory that was resident so far, in bytes.
pub(crate) fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field::<u64>(&status, "VmHWM:") * 1024
}

/// Whether the process has ended, and its parent has not asked for it yet.
pub(crate) fn is_zombie(pid: u32) -> bool {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).expect("nobody has asked for it");
    field::<char>(&status, "State:") == 'Z'
}

/// Whether each of the process's threads has been stopped by a signal.
pub(crate) fn stands_still(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.contains("\nState:\tT")
    })
}

/// How many threads there are.
pub(crate) fn threads(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field(&status, "Threads:")
}

/// What the kernel holds for the connections of a server on this port, in bytes: sent and not taken,
/// received and not read, and what it keeps at hand for more of both.
pub(crate) fn socket_bytes(port: u16) -> u64 {
    let filter = format!("sport = :{port}");
    let told = Command::new("ss").args(["-Hatnm", &filter]).output();
    let told = told.expect("ss is needed, of the package iproute2").stdout;
    let told = String::from_utf8(told).expect("ss writes ASCII");
    let counts = told.split("skmem:(").skip(1);
    let fields = counts.flat_map(|counts| counts.split(')').next().unwrap_or_default().split(','));
    // proto(7) of ss(8): r is received, f at hand, w queued to be sent, bl in the backlog.
    let bytes = fields.filter_map(|field| {
        let name = field.trim_end_matches(|c: char| c.is_ascii_digit());
        let bytes = field[name.len()..].parse::<u64>().ok()?;
        matches!(name, "r" | "f" | "w" | "bl").then_some(bytes)
    });
    bytes.sum()
}

/// How many file descriptors are open.
pub(crate) fn open_files(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files.expect("the process runs").count()
}

/// For how many file descriptors the kernel has room without making more.
pub(crate) fn room_for_files(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field(&status, "FDSize:")
}

/// How many file descriptors this process may open.
pub(crate) fn open_files_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("this process runs");
    field(&limits, "Max open files")
}

/// CPU time used so far, in user mode and in the kernel, in ticks of a hundredth of a second.
pub(crate) fn cpu_ticks(pid: u32) -> [u64; 2] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The second field, a name in parentheses, may itself contain blanks and parentheses.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let mut fields = fields.split(' ').skip(11);
    [(); 2].map(|()| {
        let ticks = fields.next().and_then(|ticks| ticks.parse().ok());
        ticks.expect("utime and stime are numbers")
    })
}

/// The first word behind a name that a line begins with.
fn field<T: FromStr>(lines: &str, name: &str) -> T {
    lines
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {lines}"))
}
