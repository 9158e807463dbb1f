//! Counts of all records, one per database, made a slice at a time. A new worker continues them;
//! after a restart of the server they begin again.

use std::collections::BTreeMap;

use password_verify_core::decoys::cost_class::ClassKey;
use password_verify_core::decoys::recount::{Counted, Recount, Slice};
use pgrx::pg_sys;

use super::{ClassCounts, DatabaseRecount, Tally, begin_anew, existing, find, take_note};
use crate::pg::shared::board::MAX_DATABASES;

/// The count of a database, which may take the slot of a count that is not needed now.
fn of(
    recounts: &mut [DatabaseRecount; MAX_DATABASES],
    database: pg_sys::Oid,
) -> Option<&mut Recount> {
    let number = find(recounts, database).or_else(|| {
        let free = recounts.iter().position(|recount| recount.database == pg_sys::InvalidOid);
        let number =
            free.or_else(|| recounts.iter().position(|recount| !recount.count.is_awaited()))?;
        recounts[number] = DatabaseRecount { database, count: Recount::default() };
        Some(number)
    })?;
    Some(&mut recounts[number].count)
}

/// Notes that this session's transaction has moves and starts to commit; false if there is no slot.
pub fn enter(database: pg_sys::Oid) -> bool {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    of(recounts, database).map(Recount::enter).is_some()
}

/// Notes that the transaction has reported all its moves, or has failed.
pub fn leave(database: pg_sys::Oid) {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    existing(recounts, database).into_iter().for_each(Recount::leave);
}

/// Notes that moves were lost, so that everything is counted again.
pub fn lose(database: pg_sys::Oid, now: i64) {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    existing(recounts, database).into_iter().for_each(|count| count.lose(now));
}

/// The slice to count now, if any.
pub fn begin(database: pg_sys::Oid, now: i64) -> Option<Slice> {
    let mut counts = ClassCounts::lock();
    let (slots, recounts) = counts.parts();
    let count = of(recounts, database)?;
    let rested = count.is_resting();
    let slice = count.begin(now);
    if rested && !count.is_resting() {
        // Moves noted for an earlier recount do not apply to this one, which has counted nothing yet.
        begin_anew(slots, database);
    }
    slice
}

/// Adds the result of a slice; false if it must be counted once more.
pub fn take(database: pg_sys::Oid, slice: Slice, counted: &Counted) -> bool {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    existing(recounts, database).is_some_and(|count| count.take(slice, counted))
}

/// Once all records are counted: the moves waiting for the worker, the records of each class
/// including those moves, and the number of unreadable records.
pub fn result(database: pg_sys::Oid) -> Option<(Vec<Tally>, BTreeMap<ClassKey, u64>, u64)> {
    let mut counts = ClassCounts::lock();
    let (slots, recounts) = counts.parts();
    existing(recounts, database)?.result()?;
    let waiting = take_note(slots, recounts, database);
    let (found, unread) = existing(recounts, database)?.result()?;
    Some((waiting, found, unread))
}

/// Ends the count: it is stored, or has failed.
pub fn finish(database: pg_sys::Oid, now: i64) {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    existing(recounts, database).into_iter().for_each(|count| count.finish(now));
}

/// Drops the count of a database that no longer exists.
pub fn forget(database: pg_sys::Oid) {
    let mut counts = ClassCounts::lock();
    let (_, recounts) = counts.parts();
    if let Some(number) = find(recounts, database) {
        recounts[number] =
            DatabaseRecount { database: pg_sys::InvalidOid, count: Recount::default() };
    }
}
