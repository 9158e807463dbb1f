//! Counters of this session's database.

use std::time::Duration;

use crate::pg::shared::{board, databases};
use crate::{counter, settings};

fn count(counter: usize, by: i64) {
    // Whoever counts has taken a place in shared memory before.
    if let Some(database) = databases::last() {
        board::of(database).count(counter, by);
    }
}

/// A password was hashed to be compared.
pub fn count_hash(took: Duration) {
    count(counter::HASHES, 1);
    count(counter::HASH_TIME + counter::bucket(took), 1);
}

/// An attempt was admitted, or not, after so long.
pub fn count_queue_time(took: Duration) {
    count(counter::QUEUE_TIME + counter::bucket(took), 1);
}

/// An admitted attempt waited for a hash slot, or gave up, after so long.
pub fn count_slot_time(took: Duration) {
    count(counter::SLOT_TIME + counter::bucket(took), 1);
}

/// An answer waited for its event for so long.
pub fn count_audit_time(took: Duration) {
    count(counter::AUDIT_TIME + counter::bucket(took), 1);
}

/// An answer `busy` had no place in the audit.
pub fn count_unrecorded() {
    // Maybe the session's first call, which has found a table locked before it took a place.
    count_call(counter::UNRECORDED);
}

/// A change was refused because it had no place in the audit.
pub fn count_change_unrecorded() {
    count_call(counter::CHANGES_UNRECORDED);
}

/// An event was not written in time.
pub fn count_not_written() {
    count(counter::NOT_WRITTEN, 1);
}

/// One of the calls that leave no event: [`counter::HAS_PASSWORD`], [`counter::CHECK_PASSWORD`],
/// [`counter::UNRECORDED`], [`counter::CHANGES_UNRECORDED`].
pub fn count_call(counter: usize) {
    // What is not recorded takes no place in shared memory otherwise. Where there is none, nothing is counted.
    if databases::mine().is_ok() {
        count(counter, 1);
    }
}

/// Name and value of everything that is not zero, and of what is used now.
pub fn all() -> Vec<(String, i64)> {
    let Ok(database) = databases::mine() else { return Vec::new() };
    let counters = board::of(database).counters().into_iter().enumerate();
    let mut named: Vec<_> = counters
        .filter(|(_, value)| *value != 0)
        .filter_map(|(counter, value)| Some((counter::name(counter)?, value)))
        .collect();
    let (held, capacity, discarded) = databases::queue_use();
    let (used, unwritten) = crate::pg::shared::budgets::use_of_cache();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let slots = crate::pg::shared::slots::usage();
    let (size, limit) = (settings::hash_slots(), settings::hash_memory_limit());
    named.extend([
        ("hash_slots".into(), size.into()),
        ("hash_slots_used".into(), slots.taken.into()),
        ("hash_slots_used_at_most".into(), slots.peak.into()),
        ("hash_slots_waited_for".into(), slots.waiting.into()),
        ("hash_memory_bill_kb".into(), i64::from(size) * i64::from(limit)),
        ("hashes_in_small_pages".into(), slots.small_pages.cast_signed()),
    ]);
    named.extend([
        ("queue_used".into(), number(held)),
        ("queue_size".into(), number(capacity)),
        ("queue_discarded".into(), discarded.cast_signed()),
        ("throttle_entries_used".into(), number(used)),
        ("throttle_entries_unwritten".into(), number(unwritten)),
        ("throttle_entries_size".into(), number(crate::pg::shared::budgets::capacity())),
    ]);
    named
}
