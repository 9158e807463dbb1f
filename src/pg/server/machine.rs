//! The machine on which the server runs, as far as it concerns hashing.

use std::fs;

/// Processors that this server may use.
pub fn processors() -> Option<usize> {
    std::thread::available_parallelism().ok().map(usize::from)
}

/// Memory in kB: that of the machine, or less if a control group has less.
pub fn memory_kb() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|bytes| bytes.trim().parse::<u64>().ok()).map(|bytes| bytes / 1024);
    Some(group.map_or(total, |group| group.min(total)))
}
