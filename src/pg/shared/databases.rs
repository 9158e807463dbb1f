//! Which worker serves which database, and what one worker hands over to the next.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use pgrx::pg_sys;

use super::central::{AFTER_FAILURE, Central, Correction, Database, HandOver};
use super::class_counts::{moves, recounts};
use super::{board, budgets, renewals};
use crate::counter;
use crate::error::Error;
use crate::pg::server;

/// The slot of this session's database.
///
/// # Errors
/// [`Error::TooManyDatabases`].
pub fn mine() -> Result<usize, Error> {
    let number = find_or_take(server::database())?;
    MINE.set(Some(number));
    Ok(number)
}

/// The result of the last [`mine`] in this session.
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
    board::of(number).clear();
    databases[number].oid = oid;
    Ok(number)
}

/// Waits until a worker serves the database; false if none does by the deadline.
pub fn await_worker(number: usize, deadline: Instant) -> bool {
    let served = board::of(number).done.wait(deadline, || want_worker(number).then_some(()));
    served.is_some()
}

/// Is a worker serving? If there is none, one is requested.
pub fn want_worker(number: usize) -> bool {
    let (serving, wake) = {
        let mut central = Central::lock();
        let (_, _, databases) = central.parts();
        let database = &mut databases[number];
        (database.serving, database.want())
    };
    if wake {
        board::vacancy().broadcast();
    }
    serving
}

/// What a worker finds that looks for a database.
pub enum Vacancy {
    /// A slot, now claimed by this worker, and its database.
    Database(usize, pg_sys::Oid),
    /// A database that is resting after a failure, for this long.
    Later(Duration),
    Nothing,
}

/// Claims the database that has waited longest for a worker.
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

/// Is a database waiting that could be served now, not resting after a failure?
pub fn any_waits() -> bool {
    let now = server::now();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases.iter().any(|database| database.waits() && database.rests(now) == 0)
}

/// What the last worker of a database has handed over.
pub fn handed_over(number: usize) -> HandOver {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[number].left
}

/// The same for a worker that finds this table of events. Another one belonged to an extension that has been dropped
/// since: what was known of it is forgotten.
pub fn handed_over_for(number: usize, events: pg_sys::Oid) -> HandOver {
    hand_over(number, |left| {
        if left.events != 0 && left.events != events.to_u32() {
            *left = HandOver::default();
        }
    });
    handed_over(number)
}

/// Does the anchor say of this session's database that all of it is sealed?
pub fn is_sealed() -> bool {
    let oid = server::database();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases.iter().any(|database| database.oid == oid && database.left.sealed)
}

/// Notes that a table is not as it was written: for the worker, which says so once.
pub fn note_altered(table: u16) {
    let oid = server::database();
    let wake = {
        let mut central = Central::lock();
        let (_, _, databases) = central.parts();
        let mine = databases.iter().position(|database| database.oid == oid);
        mine.is_some_and(|number| {
            board::of(number).count(counter::ROWS_REFUSED, 1);
            let left = &mut databases[number].left;
            left.altered |= table;
            left.altered != left.told && databases[number].want()
        })
    };
    if wake {
        board::vacancy().broadcast();
    }
}

/// The same, also if the worker has said so: it writes another batch, and its anchor with it.
///
/// # Errors
/// Those of [`mine`].
pub fn note_altered_again(table: u16) -> Result<(), Error> {
    hand_over(mine()?, |left| left.told &= !table);
    note_altered(table);
    Ok(())
}

/// Has the worker signed all that it keeps with the key of that fingerprint? If not, it is asked to.
pub fn is_signed_with(number: usize, fingerprint: [u8; 8]) -> bool {
    let left = handed_over(number);
    if left.signed_with == fingerprint {
        return true;
    }
    if left.signing_with != fingerprint {
        hand_over(number, |left| {
            (left.tidying, left.tidied_to, left.tidy_again_at) = (0, [0; 16], 0);
        });
    }
    want_worker(number);
    false
}

/// Notes what the sums of all tables are to be corrected by, if a restore is accepted.
pub fn accept(correction: Correction) {
    let oid = server::database();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    if let Some(mine) = databases.iter_mut().find(|database| database.oid == oid) {
        mine.left.accept = Some(correction);
    }
}

/// Notes that every row is sealed: for the worker, which writes that into the anchor.
pub fn note_sealed() {
    let oid = server::database();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    if let Some(mine) = databases.iter_mut().find(|database| database.oid == oid) {
        mine.left.found_sealed = true;
    }
}

/// The installation that this session's database has had since its worker came, and the oid of its table of
/// events; zeros without a keyring.
pub fn installation() -> ([u8; 16], u32) {
    let oid = server::database();
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    let mine = databases.iter().find(|database| database.oid == oid);
    mine.map_or(([0; 16], 0), |database| (database.left.installation, database.left.events))
}

/// Changes what the next worker will find.
pub fn hand_over(number: usize, change: impl FnOnce(&mut HandOver)) {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    change(&mut databases[number].left);
}

/// The worker has started: attempts may begin.
pub fn serve(number: usize) {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[number].serving = true;
    board::of(number).done.broadcast();
}

/// The worker's batch is committed: frees the first `count` entries and wakes the sessions with
/// tickets up to the last of them.
pub fn committed(number: usize, count: usize) {
    {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let database = &mut databases[number];
        let last = queue.remove_first(entries, database, count);
        if let Some(ticket) = last {
            board::of(number).committed.store(ticket, Ordering::Release);
        }
    }
    board::of(number).done.broadcast();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It had nothing to do, or made room for another database.
    Done,
    /// It failed; the database rests before the next worker comes.
    Failed,
    /// The database no longer exists: its pending events are discarded.
    Dropped,
}

/// Releases the database of a worker that is leaving.
pub fn leave(number: usize, departure: Departure) {
    if departure == Departure::Dropped {
        let oid = Central::lock().parts().2[number].oid;
        budgets::forget(oid);
        moves::forget(oid);
        recounts::forget(oid);
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
                (database.wanted_since, database.left) = (0, HandOver::default());
                board::of(number).generation.fetch_add(1, Ordering::Release);
                if database.held == 0 {
                    database.vacate();
                    board::of(number).clear();
                }
            }
        }
        // Something arrived while it was leaving, or was found; or it had not finished.
        let found = database.left.altered & !database.left.told != 0;
        let more = database.ready > 0 || database.left.unfinished || found;
        more && database.want()
    };
    board::of(number).done.broadcast();
    if again {
        board::vacancy().broadcast();
    }
}

/// How long this session's database has been waiting for a worker that has not come, and for its oldest event to be
/// written, in microseconds; and how many entries of the queue it has.
///
/// # Errors
/// Those of [`mine`].
pub fn waits() -> Result<(Timestamp, Timestamp, u32), Error> {
    let (number, now) = (mine()?, server::now());
    let mut central = Central::lock();
    let (_, entries, databases) = central.parts();
    let database = &databases[number];
    let wanted = if database.waits() { now - database.wanted_since } else { 0 };
    let first = (database.ready > 0).then(|| now - entries[database.first as usize].queued.at);
    Ok((wanted.max(0), first.unwrap_or_default().max(0), database.held))
}

/// Entries held, entries in total, and events discarded with dropped databases.
pub fn queue_use() -> (usize, usize, u64) {
    let mut central = Central::lock();
    let (queue, entries, databases) = central.parts();
    let held = databases.iter().map(|database| database.held as usize).sum();
    (held, entries.len(), queue.discarded)
}
