//! Counts of all records, a slice at a time, and how far each has come: one of each database. They go on when
//! another worker comes, and begin anew when the server starts.

use std::collections::BTreeMap;

use password_verify_core::decoys::cost_class::ClassKey;
use password_verify_core::decoys::recount::{Counted, Pass as Count, Slice};
use pgrx::pg_sys;

use super::board::MAX_DATABASES;
use super::traffic::{Pass, Tally, Traffic, begin_anew, existing, find, take_note};

/// That of a database; one that nobody needs just now gives way.
fn of(passes: &mut [Pass; MAX_DATABASES], database: pg_sys::Oid) -> Option<&mut Count> {
    let number = find(passes, database).or_else(|| {
        let free = passes.iter().position(|pass| pass.database == pg_sys::InvalidOid);
        let number = free.or_else(|| passes.iter().position(|pass| !pass.count.is_awaited()))?;
        passes[number] = Pass { database, count: Count::default() };
        Some(number)
    })?;
    Some(&mut passes[number].count)
}

/// This session's transaction has moves and begins to commit; false if there is no room to say so.
pub fn enter(database: pg_sys::Oid) -> bool {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    of(passes, database).map(Count::enter).is_some()
}

/// It has reported them all, or has failed.
pub fn leave(database: pg_sys::Oid) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(Count::leave);
}

/// Moves that nobody will report.
pub fn lose(database: pg_sys::Oid, now: i64) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(|count| count.lose(now));
}

/// What is to be counted now, if anything is.
pub fn begin(database: pg_sys::Oid, now: i64) -> Option<Slice> {
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    let count = of(passes, database)?;
    let rested = count.is_resting();
    let slice = count.begin(now);
    if rested && !count.is_resting() {
        // What is said of an earlier pass means nothing for this one, which has counted nothing yet.
        begin_anew(slots, database);
    }
    slice
}

/// A slice is counted; false if that is to be done once more.
pub fn take(database: pg_sys::Oid, slice: Slice, counted: &Counted) -> bool {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).is_some_and(|count| count.take(slice, counted))
}

/// What waits for the worker, the records of each class with that, and how many could not be read: once all
/// are counted.
pub fn result(database: pg_sys::Oid) -> Option<(Vec<Tally>, BTreeMap<ClassKey, u64>, u64)> {
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    existing(passes, database)?.result()?;
    let waiting = take_note(slots, passes, database);
    let (found, unread) = existing(passes, database)?.result()?;
    Some((waiting, found, unread))
}

/// The count is stored, or cannot be made.
pub fn finish(database: pg_sys::Oid, now: i64) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(|count| count.finish(now));
}

/// The database is gone.
pub fn forget(database: pg_sys::Oid) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    if let Some(number) = find(passes, database) {
        passes[number] = Pass { database: pg_sys::InvalidOid, count: Count::default() };
    }
}
