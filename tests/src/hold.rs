//! Hash slots as tests hold them: a session in the middle of a long hash, and one that is stopped there.

use std::fmt::Display;
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::{Error, GenericClient};

use crate::cluster::server;
use crate::trail::{stat, wait_until};
use crate::{Cluster, GOOD, Site};

/// A server that the tests of a file share, one at a time: what happens at the slots is everybody's.
pub struct Shared {
    settings: &'static [&'static str],
    cluster: Mutex<Weak<Cluster>>,
    turn: Mutex<()>,
}

/// A new database on a shared server, where nobody else does anything meanwhile.
pub struct Turn {
    pub site: Site,
    _turn: MutexGuard<'static, ()>,
}

impl Shared {
    /// Preloaded, and with these settings.
    pub const fn with(settings: &'static [&'static str]) -> Self {
        Self { settings, cluster: Mutex::new(Weak::new()), turn: Mutex::new(()) }
    }

    /// Waits for the tests before, and until they have left no trace.
    pub fn turn(&'static self) -> Turn {
        let cluster = {
            let mut shared = lock(&self.cluster);
            shared.upgrade().unwrap_or_else(|| {
                let cluster = server(self.settings);
                *shared = Arc::downgrade(&cluster);
                cluster
            })
        };
        let turn = lock(&self.turn);
        let site = Site::on(cluster);
        await_idle(&mut site.admin());
        Turn { site, _turn: turn }
    }
}

/// One slot.
pub static ONE_SLOT: Shared = Shared::with(&["password_verify.hash_slots = 1"]);
/// Two, for hashes of up to 64 MB.
pub static TWO_SLOTS: Shared =
    Shared::with(&["password_verify.hash_slots = 2", "password_verify.hash_memory_limit = 64MB"]);
/// One, and a queue of eight.
pub static SHORT_QUEUE: Shared =
    Shared::with(&["password_verify.hash_slots = 1", "password_verify.queue_length = 8"]);

/// Longer than any test waits: what is answered well before was not answered for being late.
pub const LATE: &str = "queue_timeout = '60s'";

/// A test that has failed is no reason for the next one to.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Hash slots that are taken, and sessions that wait for one.
pub fn slots(client: &mut impl GenericClient) -> (i64, i64) {
    (stat(client, "hash_slots_used"), stat(client, "hash_slots_waited_for"))
}

/// How many attempts have got a slot or waited for one in vain. Hashes of new passwords are no attempts.
pub fn slots_asked_for(client: &mut impl GenericClient) -> i64 {
    let sql = "SELECT COALESCE(sum(value), 0)::bigint
                 FROM auth.pv_stats WHERE statistic LIKE 'slot_time_%'";
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Waits until all slots are free and nobody waits for one.
pub fn await_idle(client: &mut impl GenericClient) {
    wait_until("all slots are free", || slots(client) == (0, 0));
}

/// The process that serves a connection.
pub fn pid(client: &mut impl GenericClient) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

/// `pg_cancel_backend` or `pg_terminate_backend`.
pub fn signal(site: &Site, function: &str, pid: i32) {
    let sql = format!("SELECT {function}($1)");
    assert!(site.admin().query_one(&sql, &[&pid]).unwrap().get::<_, bool>(0));
}

/// A session that has begun a long hash, of a change that is taken back in the end.
pub struct Hashing {
    pub pid: i32,
    session: Option<JoinHandle<Result<(), Error>>>,
}

impl Hashing {
    /// Waits until it has its slot. Nobody else may be asking for one.
    pub fn start(site: &Site) -> Self {
        let mut session = site.admin();
        session
            .batch_execute(
                "SET password_verify.argon2_memory = '64MB';
                 SET password_verify.argon2_iterations = 20; BEGIN",
            )
            .unwrap();
        let pid = pid(&mut session);
        let mut admin = site.admin();
        let (before, _) = slots(&mut admin);
        let session = thread::spawn(move || {
            session.query("SELECT auth.pv_set_password('somebody', $1)", &[&GOOD]).map(drop)
        });
        let hashing = Self { pid, session: Some(session) };
        wait_until("it hashes", || slots(&mut admin).0 > before || hashing.is_over());
        hashing
    }

    fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What its call ends in.
    pub fn end(mut self) -> Result<(), Error> {
        self.session.take().unwrap().join().unwrap()
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.join();
        }
    }
}

/// A slot that is held for as long as a test wants: by a session that is stopped in mid-hash. It goes
/// on when this is dropped.
pub struct Held {
    stopped: Stopped,
    hashing: Hashing,
}

impl Held {
    /// Nobody else may be asking for a slot.
    pub fn slot(site: &Site) -> Self {
        let mut admin = site.admin();
        let (before, _) = slots(&mut admin);
        loop {
            let hashing = Hashing::start(site);
            let stopped = Stopped::with_a_slot(hashing.pid);
            if slots(&mut admin).0 > before {
                return Self { stopped, hashing };
            }
        }
    }

    /// The session that holds it.
    pub fn pid(&self) -> i32 {
        self.hashing.pid
    }

    /// What its call comes to when `pg_cancel_backend` or `pg_terminate_backend` meets it in mid-hash.
    pub fn cut_off(self, site: &Site, function: &str) -> Result<(), Error> {
        signal(site, function, self.pid());
        drop(self.stopped);
        self.hashing.end()
    }

    /// Goes on and waits for its end.
    pub fn release(self) {
        drop(self.stopped);
        self.hashing.end().unwrap();
    }
}

/// What the kernel says of a process: a letter for its state, its parent and more. `None` once it is gone.
pub fn process_stat(pid: impl Display) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Before that comes the name, which may have anything in it.
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

/// A process that is stopped until this is dropped.
pub struct Stopped(i32);

impl Stopped {
    pub fn new(pid: i32) -> Self {
        let stopped = Self(pid);
        stopped.signal("-STOP");
        wait_until("it stops", || process_stat(pid).is_none_or(|stat| stat.starts_with('T')));
        stopped
    }

    /// The same of a session that has just taken a hash slot.
    pub fn with_a_slot(pid: i32) -> Self {
        // It has let go of the lock under which it took the slot.
        thread::sleep(Duration::from_millis(20));
        Self::new(pid)
    }

    fn signal(&self, name: &str) -> Output {
        Command::new("kill").arg(name).arg(self.0.to_string()).output().unwrap()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Where it was killed meanwhile there is nobody to tell.
        self.signal("-CONT");
    }
}
