//! The counters that `pv_stats` shows for each database since server start.

use std::time::Duration;

use password_verify_core::rules::event::{Action, Outcome};

/// One more than the largest code of an outcome.
const OUTCOMES: usize = Outcome::MAX as usize + 1;
/// One more than the largest code of an action.
const ACTIONS: usize = Action::MAX as usize + 1;
/// The number of buckets in a histogram, whose bounds are powers of two of milliseconds.
pub const BUCKETS: usize = 12;

/// Hashes that were computed to test a secret.
pub const HASHES: usize = ACTIONS * OUTCOMES;
/// Answers `busy` that found no place in the audit.
pub const UNRECORDED: usize = HASHES + 1;
/// Rows written to `password_verify.event`.
pub const ROWS: usize = HASHES + 2;
/// Transactions that the worker has committed.
pub const BATCHES: usize = HASHES + 3;
/// Calls of `pv_has_password`, which tell nothing about a password and leave no event.
pub const HAS_PASSWORD: usize = HASHES + 4;
/// Calls of `pv_check_password`, which leave no event either.
pub const CHECK_PASSWORD: usize = HASHES + 5;
/// Changes that were refused because they found no place in the audit.
pub const CHANGES_UNRECORDED: usize = HASHES + 6;
/// Calls that failed because their audit event was not written in time.
pub const NOT_WRITTEN: usize = HASHES + 7;
/// Rows that were refused, because they are not as they were written.
pub const ROWS_REFUSED: usize = HASHES + 8;
/// Histogram of the time of a hash: below 1 ms, 2 ms, 4 ms, …, and above.
pub const HASH_TIME: usize = HASHES + 9;
/// Histogram of the time that an answer waited for its audit event.
pub const AUDIT_TIME: usize = HASH_TIME + BUCKETS;
/// Histogram of the time that an attempt waited to be charged.
pub const QUEUE_TIME: usize = AUDIT_TIME + BUCKETS;
/// Histogram of the time that a charged attempt waited for a hash slot.
pub const SLOT_TIME: usize = QUEUE_TIME + BUCKETS;
pub const ALL: usize = SLOT_TIME + BUCKETS;

/// The counter of an action with this outcome.
pub fn of(action: u8, outcome: u8) -> usize {
    usize::from(action).min(ACTIONS - 1) * OUTCOMES + usize::from(outcome).min(OUTCOMES - 1)
}

/// The histogram bucket of a time.
pub fn bucket(time: Duration) -> usize {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let power = u64::BITS - milliseconds.leading_zeros();
    (power as usize).min(BUCKETS - 1)
}

/// The name of a counter in `pv_stats`; `None` if its action and outcome do not exist.
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
        ROWS_REFUSED => Some("rows_refused".into()),
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
