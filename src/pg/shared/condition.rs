//! Waiting for one another in shared memory.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

/// A condition variable of PostgreSQL.
#[repr(C)]
pub struct Condition(std::cell::UnsafeCell<pg_sys::ConditionVariable>);

// SAFETY: guarded by a spinlock of its own; made to be used by many processes.
unsafe impl Sync for Condition {}

impl Condition {
    pub fn init(&mut self) {
        // SAFETY: ours alone while the segment is made.
        unsafe { pg_sys::ConditionVariableInit(self.0.get()) };
    }

    /// Wakes everybody.
    pub fn broadcast(&self) {
        // SAFETY: made by `init`.
        unsafe { pg_sys::ConditionVariableBroadcast(self.0.get()) };
    }

    /// Looks until `look` has something or the deadline is over; `None` then. Cancelling,
    /// `statement_timeout` and termination end the wait.
    pub fn wait<T>(&self, deadline: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(found) = look() {
            return Some(found);
        }
        // SAFETY: made by `init`. After an error PostgreSQL itself cancels the sleep.
        unsafe { pg_sys::ConditionVariablePrepareToSleep(self.0.get()) };
        let found = loop {
            if let Some(found) = look() {
                break Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            let milliseconds = left.min(Duration::from_secs(60)).as_millis().max(1) as i64;
            // SAFETY: as above.
            unsafe {
                let event = pg_sys::PG_WAIT_EXTENSION;
                pg_sys::ConditionVariableTimedSleep(self.0.get(), milliseconds, event);
            }
        };
        // SAFETY: as above.
        unsafe { pg_sys::ConditionVariableCancelSleep() };
        found
    }
}
