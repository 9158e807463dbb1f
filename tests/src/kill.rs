//! Processes of a server, and `kill -9`.

use std::fs;
use std::process::Command;

use crate::Cluster;
use crate::cluster::run;
use crate::hold::{pid, process_stat};
use crate::trail::wait_until;

/// `kill -9` of one process of a server.
pub(crate) fn kill_9(pid: u32) {
    run(Command::new("kill").arg("-9").arg(pid.to_string()));
}

/// Is there such a process that is no zombie?
pub fn is_at_work(pid: u32) -> bool {
    // A zombie has no folder that it works in.
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok()
}

fn parent_of(pid: u32) -> Option<u32> {
    process_stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// The processes of a server that runs: the postmaster and its children.
pub fn processes(cluster: &Cluster) -> Vec<u32> {
    let postmaster = cluster.postmaster();
    let mut family = children_of(postmaster);
    family.push(postmaster);
    family
}

fn children_of(parent: u32) -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// `kill -9` of one process of a server that keeps its postmaster: everybody is sent away, and shared memory
/// is made anew. Returns when it lets people in again. The postmaster hears of such an end a little later, and
/// lets people in until then as if nothing had happened, so that a witness has to see it first.
pub fn crash_by(cluster: &Cluster, pid: i32) {
    let mut witness = cluster.admin("postgres");
    kill_9(pid.cast_unsigned());
    wait_until("the crash is noticed", || witness.query_one("SELECT 1", &[]).is_err());
    cluster.await_recovery();
}

/// The same by a session that nobody needs.
pub fn crash(cluster: &Cluster) {
    let mut doomed = cluster.admin("postgres");
    crash_by(cluster, pid(&mut doomed));
}
