//! Counts of all records, one per database, made a slice at a time. A new worker continues them;
//! after a restart of the server they begin again.

use std::collections::BTreeMap;

use password_verify_core::decoys::cost_class::ClassKey;
use password_verify_core::decoys::recount::{Counted, Pass as Count, Slice};
use pgrx::pg_sys;

use super::board::MAX_DATABASES;
use super::traffic::{Pass, Tally, Traffic, begin_anew, existing, find, take_note};

/// The count of a database, which may take the slot of a count that is not needed now.
fn of(passes: &mut [Pass; MAX_DATABASES], database: pg_sys::Oid) -> Option<&mut Count> {
    let number = find(passes, database).or_else(|| {
        let free = passes.iter().position(|pass| pass.database == pg_sys::InvalidOid);
        let number = free.or_else(|| passes.iter().position(|pass| !pass.count.is_awaited()))?;
        passes[number] = Pass { database, count: Count::default() };
        Some(number)
    })?;
    Some(&mut passes[number].count)
}

/// Notes that this session's transaction has moves and starts to commit; false if there is no slot.
pub fn enter(database: pg_sys::Oid) -> bool {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    of(passes, database).map(Count::enter).is_some()
}

/// Notes that the transaction has reported all its moves, or has failed.
pub fn leave(database: pg_sys::Oid) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(Count::leave);
}

/// Notes that moves were lost, so that everything is counted again.
pub fn lose(database: pg_sys::Oid, now: i64) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(|count| count.lose(now));
}

/// The slice to count now, if any.
pub fn begin(database: pg_sys::Oid, now: i64) -> Option<Slice> {
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    let count = of(passes, database)?;
    let rested = count.is_resting();
    let slice = count.begin(now);
    if rested && !count.is_resting() {
        // Moves noted for an earlier pass do not apply to this one, which has counted nothing yet.
        begin_anew(slots, database);
    }
    slice
}

/// Adds the result of a slice; false if it must be counted once more.
pub fn take(database: pg_sys::Oid, slice: Slice, counted: &Counted) -> bool {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).is_some_and(|count| count.take(slice, counted))
}

/// Once all records are counted: the moves waiting for the worker, the records of each class
/// including those moves, and the number of unreadable records.
pub fn result(database: pg_sys::Oid) -> Option<(Vec<Tally>, BTreeMap<ClassKey, u64>, u64)> {
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    existing(passes, database)?.result()?;
    let waiting = take_note(slots, passes, database);
    let (found, unread) = existing(passes, database)?.result()?;
    Some((waiting, found, unread))
}

/// Ends the count: it is stored, or has failed.
pub fn finish(database: pg_sys::Oid, now: i64) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    existing(passes, database).into_iter().for_each(|count| count.finish(now));
}

/// Drops the count of a database that no longer exists.
pub fn forget(database: pg_sys::Oid) {
    let mut traffic = Traffic::lock();
    let (_, passes) = traffic.parts();
    if let Some(number) = find(passes, database) {
        passes[number] = Pass { database: pg_sys::InvalidOid, count: Count::default() };
    }
}
