//! What a worker is told while it works: to end, and to read the configuration again.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

/// Set by SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);
/// Set by SIGHUP.
static RELOAD: AtomicBool = AtomicBool::new(false);
/// Is a transaction being committed?
static COMMITTING: AtomicBool = AtomicBool::new(false);

/// Until a worker is connected, SIGTERM ends it at the next opportunity.
pub fn end_at_once() {
    signals(die);
}

/// From here on it ends when it has written what is left.
pub fn end_in_order() {
    signals(stop);
}

/// Is this worker to end?
pub fn is_stopping() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Was it asked to read the configuration again?
pub fn reload_is_asked() -> bool {
    RELOAD.load(Ordering::Relaxed)
}

/// The same, once.
pub fn take_reload() -> bool {
    RELOAD.swap(false, Ordering::Relaxed)
}

/// While this runs, a signal to end interrupts the wait for a synchronous standby.
pub fn committing(commit: impl FnOnce()) {
    COMMITTING.store(true, Ordering::Relaxed);
    commit();
    COMMITTING.store(false, Ordering::Relaxed);
    // What `stop` has set meanwhile was for the wait only: there is more to write.
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::ProcDiePending = 0 };
}

unsafe extern "C-unwind" {
    /// PostgreSQL's own handler: the process ends at the next opportunity. (pgrx wraps it in a way that
    /// is no longer a handler.)
    fn die(signal: i32);
}

type Handler = unsafe extern "C-unwind" fn(i32);

fn signals(on_term: Handler) {
    // SAFETY: handlers of PostgreSQL, and two of ours that set a flag and a latch.
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
    /// Where `errno` is.
    #[cfg_attr(target_vendor = "apple", link_name = "__error")]
    #[cfg_attr(not(target_vendor = "apple"), link_name = "__errno_location")]
    fn errno() -> *mut i32;
}

/// Sets this process's latch, and leaves `errno` as whoever was interrupted has it: before 17, PostgreSQL does
/// not do that for a handler.
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
        // A commit that waits for a synchronous standby waits no longer. It is committed here.
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
