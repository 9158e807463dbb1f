//! Records that were made, moved to another cost class or deleted, on their way to the worker.
//!
//! Their transactions are committed. A move that finds no slot, or is lost in a crash, leaves the
//! counts wrong until all records have been recounted ([`super::recounts`]).

use password_verify_core::decoys::recount::{Behind, Span};
use password_verify_core::kept::record::MAX_BYTES;
use pgrx::pg_sys;

use super::{ClassCounts, Moved, PLACES, Tally, existing, take_note};

/// Queues moves for the worker, with the ranges the records left and entered; false if there is no
/// slot.
pub fn add(database: pg_sys::Oid, tally: &Tally, from: Span, to: Span) -> bool {
    if tally.template.len() > MAX_BYTES {
        return false;
    }
    let mut counts = ClassCounts::lock();
    let (slots, recounts) = counts.parts();
    let recount = existing(recounts, database);
    let behind = recount.map_or(Behind::default(), |recount| recount.behind(from, to, tally.count));
    if tally.made.is_none() && behind.left == behind.came {
        return true;
    }
    let same = |slot: &Moved| slot.is_of(database) && slot.made() == tally.made;
    let held = slots.iter().filter(|slot| slot.is_of(database)).count();
    let number = slots.iter().position(same).or_else(|| {
        let free = slots.iter().position(|slot| slot.is_of(pg_sys::InvalidOid));
        let free = free.filter(|_| held < PLACES / 2)?;
        slots[free].put(database, &Tally { count: 0, ..tally.clone() });
        Some(free)
    });
    let Some(slot) = number.map(|number| &mut slots[number]) else { return false };
    slot.count = slot.count.saturating_add(tally.count);
    slot.behind.left = slot.behind.left.saturating_add(behind.left);
    slot.behind.came = slot.behind.came.saturating_add(behind.came);
    true
}

pub fn waiting(database: pg_sys::Oid) -> Vec<Tally> {
    let mut counts = ClassCounts::lock();
    let (slots, recounts) = counts.parts();
    take_note(slots, recounts, database)
}

/// Removes moves whose count is committed.
pub fn counted(database: pg_sys::Oid, tallies: &[Tally]) {
    let mut counts = ClassCounts::lock();
    let (slots, _) = counts.parts();
    for tally in tallies {
        let theirs = |slot: &&mut Moved| slot.is_of(database) && slot.made() == tally.made;
        if let Some(slot) = slots.iter_mut().find(theirs) {
            slot.count -= tally.count.min(slot.count);
            if slot.count == 0 {
                slot.database = pg_sys::InvalidOid;
            }
        }
    }
}

/// Drops the moves of a database that no longer exists.
pub fn forget(database: pg_sys::Oid) {
    let mut counts = ClassCounts::lock();
    let (slots, _) = counts.parts();
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs.for_each(|slot| slot.database = pg_sys::InvalidOid);
}
