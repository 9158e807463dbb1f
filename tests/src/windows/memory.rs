//! The memory of processes of a server, as a core of one of them would have it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::hunt::Hunt;

/// What is looked for in the memory of a process that can be written, shared or not. `None` where the system lets nobody
/// look.
pub fn look(hunt: &Hunt, pid: i32) -> Option<Vec<String>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-")) {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        // A mapping may be longer than what is behind it.
        let mut read = 0;
        while let Ok(more) = memory.read_at(&mut bytes[read..], start + read as u64) {
            if more == 0 {
                break;
            }
            read += more;
        }
        found.extend(hunt.look(&bytes[..read]).into_iter().map(str::to_owned));
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}
