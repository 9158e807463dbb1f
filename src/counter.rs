//! What is counted of each database since the server's start, and shown by `pv_stats`.

use std::time::Duration;

use password_verify_core::rules::event::{Action, Outcome};

/// One more than the largest code of an outcome.
const OUTCOMES: usize = Outcome::MAX as usize + 1;
/// One more than the largest code of an action.
const ACTIONS: usize = Action::MAX as usize + 1;
/// Powers of two of milliseconds.
pub const BUCKETS: usize = 12;

/// Passwords hashed to be compared.
pub const HASHES: usize = ACTIONS * OUTCOMES;
/// Answers `busy` that could not even be recorded.
pub const UNRECORDED: usize = HASHES + 1;
/// Rows written to `password_verify.event`.
pub const ROWS: usize = HASHES + 2;
/// Commits of the worker.
pub const BATCHES: usize = HASHES + 3;
/// Calls that leave no event because they tell nothing about a password: `pv_has_password`.
pub const HAS_PASSWORD: usize = HASHES + 4;
/// The same: `pv_check_password`.
pub const CHECK_PASSWORD: usize = HASHES + 5;
/// Changes that were refused because the audit had no place for them.
pub const CHANGES_UNRECORDED: usize = HASHES + 6;
/// Calls that ended in an error because their event was not written in time.
pub const NOT_WRITTEN: usize = HASHES + 7;
/// Times of a hash: up to 1 ms, 2 ms, 4 ms, …, and all that took longer.
pub const HASH_TIME: usize = HASHES + 8;
/// Times that an answer waited for its event, likewise.
pub const AUDIT_TIME: usize = HASH_TIME + BUCKETS;
/// Times that an attempt waited to be admitted, likewise.
pub const QUEUE_TIME: usize = AUDIT_TIME + BUCKETS;
/// Times that an admitted attempt waited for a hash slot, likewise.
pub const SLOT_TIME: usize = QUEUE_TIME + BUCKETS;
/// How many counters there are.
pub const ALL: usize = SLOT_TIME + BUCKETS;

/// The counter of an action that came out so.
pub fn of(action: u8, outcome: u8) -> usize {
    usize::from(action).min(ACTIONS - 1) * OUTCOMES + usize::from(outcome).min(OUTCOMES - 1)
}

/// The bucket of a histogram in which a time belongs.
pub fn bucket(time: Duration) -> usize {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let power = u64::BITS - milliseconds.leading_zeros();
    (power as usize).min(BUCKETS - 1)
}

/// The name of a counter, if it is one that somebody could want to see.
pub fn name(counter: usize) -> Option<String> {
    let histogram = |name: &str, bucket: usize| {
        Some(if bucket + 1 == BUCKETS {
            format!("{name}_over_{}_ms", 1 << (BUCKETS - 2))
        } else {
            format!("{name}_under_{}_ms", 1 << bucket)
        })
    };
    match counter {
        HASHES => Some("hashes".into()),
        UNRECORDED => Some("busy_unrecorded".into()),
        ROWS => Some("event_rows".into()),
        BATCHES => Some("event_batches".into()),
        HAS_PASSWORD => Some("has_password".into()),
        CHECK_PASSWORD => Some("check_password".into()),
        CHANGES_UNRECORDED => Some("changes_unrecorded".into()),
        NOT_WRITTEN => Some("events_not_written_in_time".into()),
        HASH_TIME..AUDIT_TIME => histogram("hash_time", counter - HASH_TIME),
        AUDIT_TIME..QUEUE_TIME => histogram("audit_time", counter - AUDIT_TIME),
        QUEUE_TIME..SLOT_TIME => histogram("queue_time", counter - QUEUE_TIME),
        SLOT_TIME..ALL => histogram("slot_time", counter - SLOT_TIME),
        _ => {
            let action = Action::from_u8(u8::try_from(counter / OUTCOMES).ok()?)?;
            let outcome = Outcome::from_u8(u8::try_from(counter % OUTCOMES).ok()?)?;
            Some(format!("{}_{}", action.as_str(), outcome.as_str()))
        }
    }
}
