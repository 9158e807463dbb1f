//! Signals that a worker handles: SIGTERM to stop, and SIGHUP to read the configuration again.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

/// Set by SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);
/// Set by SIGHUP.
static RELOAD: AtomicBool = AtomicBool::new(false);
/// Is a transaction being committed?
static COMMITTING: AtomicBool = AtomicBool::new(false);

/// Makes SIGTERM end the worker at the next interrupt check, as suits one that is not connected
/// yet.
pub fn end_at_once() {
    signals(die);
}

/// Makes SIGTERM end the worker in order, once it has written what is left.
pub fn end_in_order() {
    signals(stop);
}

pub fn is_stopping() -> bool {
    STOP.load(Ordering::Relaxed)
}

pub fn reload_is_asked() -> bool {
    RELOAD.load(Ordering::Relaxed)
}

/// Has a reload been requested? Clears the request.
pub fn take_reload() -> bool {
    RELOAD.swap(false, Ordering::Relaxed)
}

/// While `commit` runs, SIGTERM interrupts its wait for a synchronous standby.
pub fn committing(commit: impl FnOnce()) {
    COMMITTING.store(true, Ordering::Relaxed);
    commit();
    COMMITTING.store(false, Ordering::Relaxed);
    // `stop` may have set this for that wait only: there is more to write.
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::ProcDiePending = 0 };
}

unsafe extern "C-unwind" {
    /// PostgreSQL's own handler: the process ends at the next interrupt check. (pgrx wraps it in a
    /// function that cannot serve as a handler.)
    fn die(signal: i32);
}

type Handler = unsafe extern "C-unwind" fn(i32);

fn signals(on_term: Handler) {
    // SAFETY: handlers of PostgreSQL, and two of this module that only set flags and a latch.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
        {
            pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(on_term));
            pg_sys::pqsignal(pg_sys::SIGHUP as i32, Some(reload));
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17")))]
        {
            pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(on_term));
            pg_sys::pqsignal_be(pg_sys::SIGHUP as i32, Some(reload));
        }
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

unsafe extern "C" {
    /// Returns the address of `errno`.
    #[cfg_attr(target_vendor = "apple", link_name = "__error")]
    #[cfg_attr(not(target_vendor = "apple"), link_name = "__errno_location")]
    fn errno() -> *mut i32;
}

/// Sets this process's latch and preserves `errno` for the interrupted code, which PostgreSQL does
/// not do for handlers before version 17.
fn wake_up() {
    // SAFETY: this process's own latch; `errno` is always there.
    unsafe {
        let before = *errno();
        pg_sys::SetLatch(pg_sys::MyLatch);
        *errno() = before;
    }
}

unsafe extern "C-unwind" fn stop(_signal: i32) {
    STOP.store(true, Ordering::Relaxed);
    // SAFETY: plain flags of this process.
    unsafe {
        // A commit stops waiting for a synchronous standby. It is already durable here.
        if COMMITTING.load(Ordering::Relaxed) {
            pg_sys::ProcDiePending = 1;
            pg_sys::InterruptPending = 1;
        }
    }
    wake_up();
}

unsafe extern "C-unwind" fn reload(_signal: i32) {
    RELOAD.store(true, Ordering::Relaxed);
    wake_up();
}
