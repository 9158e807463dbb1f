//! Who serves which database, and what has happened in it.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use password_verify_core::account::Timestamp;
use password_verify_core::clock;
use password_verify_core::fold::Allowance;
use pgrx::pg_sys;

use super::budgets;
use super::condition::Condition;
use super::moves;
use super::passes;
use super::queue::{NONE, Queue};
use super::renewals;
use super::segment;
use super::segment::Central;
use crate::error::Error;
use crate::pg::server;

/// Databases of one server in which passwords can be used at the same time.
pub const MAX_DATABASES: usize = 64;
/// Counters of a database; [`crate::counter`] says which is which.
pub const COUNTERS: usize = crate::counter::ALL;

/// How long a database rests after its worker has failed.
const AFTER_FAILURE: Timestamp = 1_000_000;

/// A database in which a password was used since the server's start.
#[repr(C)]
pub struct Database {
    /// Zero: this place is free.
    pub oid: pg_sys::Oid,
    /// Zero: nobody serves it.
    worker: i32,
    /// Has its worker begun? Until then attempts wait.
    serving: bool,
    /// Since when somebody waits for a worker; zero: nobody does.
    wanted_since: Timestamp,
    /// No worker before this time.
    rests_until: Timestamp,
    /// First and last entry that wait for the worker.
    pub first: u32,
    pub last: u32,
    /// How many wait.
    pub ready: u32,
    /// How many belong to it, waiting or not filled in yet.
    pub held: u32,
    /// Tickets given out.
    pub submitted: u64,
    /// What one worker leaves to the next.
    legacy: Legacy,
}

/// What everybody may use of a database without the lock.
#[repr(C)]
pub struct Board {
    /// The last ticket that is committed.
    committed: AtomicU64,
    /// Changes when tickets lose their meaning.
    generation: AtomicU64,
    /// The worker waits here for work.
    pub work: Condition,
    /// Sessions wait here for the worker.
    pub done: Condition,
    counters: [AtomicI64; COUNTERS],
}

/// What one worker of a database leaves to the next, as long as the server runs.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Legacy {
    /// Where the chain stands: epoch, sequence number, MAC; and when the epoch was opened. If that is
    /// still where it stands, the epoch goes on.
    pub epoch: i64,
    pub seq: i64,
    pub mac: [u8; 32],
    pub opened_at: Timestamp,
    /// Is there more to write than what is in the queue?
    pub unfinished: bool,
    /// Rows that a flood may still make.
    pub allowance: Allowance,
    /// How far the tidying of budgets has come, and when it begins again.
    pub tidied_to: [u8; 16],
    pub tidy_again_at: Timestamp,
    /// The oldest epoch there is; zero: nobody has looked.
    pub oldest: i64,
    /// Epochs before this one are on record as removed.
    pub pruned_before: i64,
    /// Of those, rows from this one on are deleted: epoch and number.
    pub pruned_to: (i64, i64),
    /// Has the log been told that nothing is removed because the clock may be wrong?
    pub doubted: bool,
}

impl Board {
    pub fn init(&mut self) {
        self.work.init();
        self.done.init();
    }

    fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// A ticket of another generation will never be committed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The last ticket whose event is committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub fn count(&self, counter: usize, by: i64) {
        self.counters[counter].fetch_add(by, Ordering::Relaxed);
    }

    pub fn counters(&self) -> [i64; COUNTERS] {
        std::array::from_fn(|i| self.counters[i].load(Ordering::Relaxed))
    }
}

impl Database {
    pub fn init(&mut self) {
        (self.first, self.last) = (NONE, NONE);
    }

    fn vacate(&mut self) {
        (self.oid, self.worker, self.serving) = (pg_sys::InvalidOid, 0, false);
        (self.wanted_since, self.rests_until) = (0, 0);
        self.legacy = Legacy::default();
    }

    /// Asks for a worker if there is none; true if workers are to be woken.
    pub fn want(&mut self) -> bool {
        let wake = self.worker == 0 && self.wanted_since == 0;
        if wake {
            self.wanted_since = server::now();
        }
        wake
    }

    fn is_idle(&self) -> bool {
        self.worker == 0 && self.held == 0 && self.wanted_since == 0
    }

    /// Does somebody wait for a worker, and has it none?
    fn waits(&self) -> bool {
        self.oid != pg_sys::InvalidOid && self.worker == 0 && self.wanted_since != 0
    }

    /// How long it still rests.
    fn rests(&self, now: Timestamp) -> Timestamp {
        clock::time_until(self.rests_until, now, AFTER_FAILURE)
    }
}

/// The place of this session's database.
///
/// # Errors
/// [`Error::TooManyDatabases`].
pub fn mine() -> Result<usize, Error> {
    let number = find_or_take(server::database())?;
    MINE.set(Some(number));
    Ok(number)
}

/// What [`mine`] has said the last time.
pub fn last() -> Option<usize> {
    MINE.get()
}

thread_local! {
    static MINE: Cell<Option<usize>> = const { Cell::new(None) };
}

fn find_or_take(oid: pg_sys::Oid) -> Result<usize, Error> {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    if let Some(found) = databases.iter().position(|database| database.oid == oid) {
        return Ok(found);
    }
    let free = databases.iter().position(|database| database.oid == pg_sys::InvalidOid);
    let free = free.or_else(|| databases.iter().position(Database::is_idle));
    let number = free.ok_or(Error::TooManyDatabases)?;
    databases[number].vacate();
    segment::database(number).clear();
    databases[number].oid = oid;
    Ok(number)
}

/// Waits until a worker serves the database; false if none does by the deadline.
pub fn await_worker(number: usize, deadline: Instant) -> bool {
    let served =
        segment::database(number).done.wait(deadline, || want_worker(number).then_some(()));
    served.is_some()
}

/// Is a worker there? If not, one is asked for.
pub fn want_worker(number: usize) -> bool {
    let (serving, wake) = {
        let mut central = Central::lock();
        let (_, _, databases) = central.parts();
        let database = &mut databases[number];
        (database.serving, database.want())
    };
    if wake {
        segment::vacancy().broadcast();
    }
    serving
}

/// What a worker that looks for a database finds.
pub enum Vacancy {
    /// This place, which is now the worker's, and its database.
    Database(usize, pg_sys::Oid),
    /// One that rests after a failure, for so long.
    Later(Duration),
    /// None.
    Nothing,
}

/// The database that has waited longest for a worker becomes this process's.
pub fn claim(pid: i32) -> Vacancy {
    let now = server::now();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    let waiting = databases.iter_mut().enumerate().filter(|(_, database)| database.waits());
    let mut rest: Option<Timestamp> = None;
    let mut longest: Option<(usize, &mut Database)> = None;
    for (number, database) in waiting {
        let left = database.rests(now);
        if left > 0 {
            rest = Some(rest.map_or(left, |rest| rest.min(left)));
        } else if longest.as_ref().is_none_or(|(_, l)| database.wanted_since < l.wanted_since) {
            longest = Some((number, database));
        }
    }
    match (longest, rest) {
        (Some((number, database)), _) => {
            (database.worker, database.wanted_since, database.rests_until) = (pid, 0, 0);
            Vacancy::Database(number, database.oid)
        }
        (None, Some(rest)) => Vacancy::Later(Duration::from_micros(rest.unsigned_abs())),
        (None, None) => Vacancy::Nothing,
    }
}

/// Does a database wait that could be served? One that rests after a failure could not.
pub fn any_waits() -> bool {
    let now = server::now();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases.iter().any(|database| database.waits() && database.rests(now) == 0)
}

/// What the last worker of a database has left.
pub fn legacy(number: usize) -> Legacy {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[number].legacy
}

/// Leaves something to the next worker.
pub fn bequeath(number: usize, change: impl FnOnce(&mut Legacy)) {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    change(&mut databases[number].legacy);
}

/// The worker has read what it goes on from: attempts may begin.
pub fn serve(number: usize) {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[number].serving = true;
    segment::database(number).done.broadcast();
}

/// The worker's batch is committed: its first `count` entries are free again, and everybody with a
/// ticket up to the last of them may go.
pub fn committed(number: usize, count: usize) {
    {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let database = &mut databases[number];
        let last = queue.remove_first(entries, database, count);
        if let Some(ticket) = last {
            segment::database(number).committed.store(ticket, Ordering::Release);
        }
    }
    segment::database(number).done.broadcast();
}

/// How a worker left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It had nothing to do, or made room for another database.
    Done,
    /// It could not go on; the database rests before the next one comes.
    Failed,
    /// The database is gone: what was to be written for it is discarded.
    Dropped,
}

/// The worker is no longer there.
pub fn leave(number: usize, departure: Departure) {
    if departure == Departure::Dropped {
        let oid = Central::lock().parts().2[number].oid;
        budgets::forget(oid);
        moves::forget(oid);
        passes::forget(oid);
        renewals::forget(oid);
    }
    let again = {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let database = &mut databases[number];
        (database.worker, database.serving) = (0, false);
        match departure {
            Departure::Done => {}
            Departure::Failed => database.rests_until = server::now() + AFTER_FAILURE,
            Departure::Dropped => {
                let all = database.ready as usize;
                queue.discarded += all as u64;
                queue.remove_first(entries, database, all);
                (database.wanted_since, database.legacy) = (0, Legacy::default());
                segment::database(number).generation.fetch_add(1, Ordering::Release);
                if database.held == 0 {
                    database.vacate();
                    segment::database(number).clear();
                }
            }
        }
        // Something came while it was leaving, or it had more to do.
        let more = database.ready > 0 || database.legacy.unfinished;
        more && database.want()
    };
    segment::database(number).done.broadcast();
    if again {
        segment::vacancy().broadcast();
    }
}

/// Use of the queue: entries held, entries there are, events discarded with dropped databases.
pub fn queue_use() -> (usize, usize, u64) {
    let mut central = Central::lock();
    let (queue, entries, databases) = central.parts();
    let held = databases.iter().map(|database| database.held as usize).sum();
    let _: &Queue = queue;
    (held, entries.len(), queue.discarded)
}
