//! Counters of this session's database.

use std::time::Duration;

use crate::pg::server;
use crate::pg::server::caller;
use crate::pg::shared::{board, databases, redacted};
use crate::{counter, settings};

fn count(counter: usize, by: i64) {
    // Every counted call has taken a slot in shared memory before.
    if let Some(database) = databases::last() {
        board::of(database).count(counter, by);
    }
}

/// Counts a password hash computed for a comparison.
pub fn count_hash(took: Duration) {
    count(counter::HASHES, 1);
    count(counter::HASH_TIME + counter::bucket(took), 1);
}

/// Counts how long an attempt waited before it was admitted or refused.
pub fn count_queue_time(took: Duration) {
    count(counter::QUEUE_TIME + counter::bucket(took), 1);
}

/// Counts how long an admitted attempt waited for a hash slot, or until it gave up.
pub fn count_slot_time(took: Duration) {
    count(counter::SLOT_TIME + counter::bucket(took), 1);
}

/// Counts how long an answer waited for its event.
pub fn count_audit_time(took: Duration) {
    count(counter::AUDIT_TIME + counter::bucket(took), 1);
}

/// Counts a `busy` answer that could not be recorded in the audit trail.
pub fn count_unrecorded() {
    // This may be the session's first call, which found a table locked before it took a slot.
    count_call(counter::UNRECORDED);
}

/// Counts a change that was refused because it could not be recorded.
pub fn count_change_unrecorded() {
    count_call(counter::CHANGES_UNRECORDED);
}

/// Counts an event that was not written in time.
pub fn count_not_written() {
    count(counter::NOT_WRITTEN, 1);
}

/// Counts a call that leaves no event: [`counter::HAS_PASSWORD`], [`counter::CHECK_PASSWORD`],
/// [`counter::UNRECORDED`], [`counter::CHANGES_UNRECORDED`].
pub fn count_call(counter: usize) {
    // Such a call takes a slot in shared memory only here. If there is none, nothing is counted.
    if databases::mine().is_ok() {
        count(counter, 1);
    }
}

/// Name and value of every counter that is not zero, and of the current usage figures.
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
    let database = server::database().to_u32();
    named.extend(redacted::of(database).into_iter().map(|(login, count)| {
        let login = if login == 0 { "others".into() } else { caller::login_name(login) };
        (format!("redacted_statements_of_{login}"), count.cast_signed())
    }));
    named.extend([
        ("hash_slots".into(), size.into()),
        ("hash_slots_used".into(), slots.taken.into()),
        ("hash_slots_used_at_most".into(), slots.peak.into()),
        ("hash_slots_waited_for".into(), slots.waiting.into()),
        ("hash_memory_bill_kb".into(), i64::from(size) * i64::from(limit)),
        ("hashes_in_small_pages".into(), slots.small_pages.cast_signed()),
    ]);
    named.extend([
        ("vault_places_used".into(), number(crate::pg::shared::unlocked::used())),
        ("vault_places_size".into(), number(settings::vault_places())),
        ("queue_used".into(), number(held)),
        ("queue_size".into(), number(capacity)),
        ("queue_discarded".into(), discarded.cast_signed()),
        ("throttle_entries_used".into(), number(used)),
        ("throttle_entries_unwritten".into(), number(unwritten)),
        ("throttle_entries_size".into(), number(crate::pg::shared::budgets::capacity())),
    ]);
    named
}
