//! What processes use, as the system counts.

use std::fs;
use std::time::{Duration, Instant};

use password_verify_tests::Cluster;
use password_verify_tests::kill::processes;
use password_verify_tests::mail::Dovecot;
use password_verify_tests::pv_keeper::PvKeeper;

/// Ticks of a processor's time in a second, on every Linux.
const TICKS: f64 = 100.0;

/// Time of processors in seconds, from some moment on.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub keeper: f64,
    pub dovecot: f64,
    pub postgres: f64,
}

/// Looks how much is used while something happens.
pub struct Meter<'a> {
    keeper: &'a PvKeeper,
    dovecot: &'a Dovecot,
    cluster: &'a Cluster,
    begun: Instant,
    before: Used,
}

impl<'a> Meter<'a> {
    pub fn start(keeper: &'a PvKeeper, dovecot: &'a Dovecot, cluster: &'a Cluster) -> Self {
        let before = used(keeper, dovecot, cluster);
        Self { keeper, dovecot, cluster, begun: Instant::now(), before }
    }

    /// Since the start.
    pub fn stop(&self) -> (Duration, Used) {
        let (took, after) = (self.begun.elapsed(), used(self.keeper, self.dovecot, self.cluster));
        let used = Used {
            keeper: after.keeper - self.before.keeper,
            dovecot: after.dovecot - self.before.dovecot,
            postgres: after.postgres - self.before.postgres,
        };
        (took, used)
    }
}

impl Used {
    /// Milliseconds for each of so many: "keeper | Dovecot | PostgreSQL".
    pub fn each(&self, count: usize) -> String {
        let [keeper, dovecot, postgres] =
            [self.keeper, self.dovecot, self.postgres].map(|it| it * 1000.0 / count as f64);
        format!("{keeper:.2} | {dovecot:.2} | {postgres:.2}")
    }
}

fn used(keeper: &PvKeeper, dovecot: &Dovecot, cluster: &Cluster) -> Used {
    let master = fs::read_to_string(dovecot.folder().join("run/master.pid")).unwrap();
    let master = master.trim().parse().unwrap();
    let mut family = children_of(master);
    family.push(master);
    let of = |family: &[u32]| family.iter().map(|pid| ticks(*pid)).sum::<f64>() / TICKS;
    Used { keeper: of(&[keeper.pid()]), dovecot: of(&family), postgres: of(&processes(cluster)) }
}

/// Of a process, and of its children that have ended.
fn ticks(pid: u32) -> f64 {
    let Some(fields) = stat(pid) else { return 0.0 };
    // utime, stime, cutime and cstime; the state is field 0.
    fields[11..15].iter().map(|field| field.parse::<f64>().unwrap()).sum()
}

fn children_of(parent: u32) -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = parent.to_string();
    pids.filter(|pid| stat(*pid).is_some_and(|fields| fields[1] == parent)).collect()
}

/// What is after the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Connections that stand to that port of this machine.
pub fn connections_to(port: u16) -> usize {
    let (end, table) = (format!(":{port:04X}"), fs::read_to_string("/proc/net/tcp").unwrap());
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|it| it.len() > 3 && it[2].ends_with(&end) && it[3] == "01").count()
}
