//! Waiting on condition variables in shared memory, for a bounded time.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

/// A condition variable of PostgreSQL.
#[repr(C)]
pub struct Condition(std::cell::UnsafeCell<pg_sys::ConditionVariable>);

// SAFETY: protected by its own spinlock and designed for use by many processes.
unsafe impl Sync for Condition {}

impl Condition {
    pub fn init(&mut self) {
        // SAFETY: no other process has it while the segment is being made.
        unsafe { pg_sys::ConditionVariableInit(self.0.get()) };
    }

    pub fn broadcast(&self) {
        // SAFETY: initialised by `init`.
        unsafe { pg_sys::ConditionVariableBroadcast(self.0.get()) };
    }

    /// Calls `look` until it returns something or the deadline has passed; `None` in that case.
    /// Cancellation, `statement_timeout` and termination end the wait.
    pub fn wait<T>(&self, deadline: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(found) = look() {
            return Some(found);
        }
        // SAFETY: initialised by `init`; after an error PostgreSQL cancels the sleep itself.
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
