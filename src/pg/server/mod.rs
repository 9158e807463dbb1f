//! Facts about the call: preloaded, time, read-only, and waiting for a bounded time.

use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use pgrx::pg_sys;

use crate::error::Error;

pub mod caller;
pub mod redaction;

/// Set once in the postmaster; every backend is forked with it.
static PRELOADED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// How long a write waits for another transaction on the same record.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Is the server preloading libraries right now? Remembers that it was.
pub fn preloading() -> bool {
    // SAFETY: a plain flag of this single-threaded process.
    let now = unsafe { pg_sys::process_shared_preload_libraries_in_progress };
    PRELOADED.fetch_or(now, std::sync::atomic::Ordering::Relaxed);
    now
}

/// Does pg_upgrade run this server? Nothing is started then.
pub fn upgrading() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Where RUST_BACKTRACE is set in the server's environment, pgrx would send a stack trace to the client
/// with every error. std decides once whether to capture any: here, for this library only.
pub fn capture_no_backtraces() {
    const NAME: &str = "RUST_LIB_BACKTRACE";
    let theirs = std::env::var_os(NAME);
    // SAFETY: called from _PG_init, where the postmaster has one thread.
    unsafe { std::env::set_var(NAME, "0") };
    drop(std::backtrace::Backtrace::capture());
    // SAFETY: as above.
    unsafe {
        match theirs {
            Some(value) => std::env::set_var(NAME, value),
            None => std::env::remove_var(NAME),
        }
    }
}

/// What every function asks first.
///
/// # Errors
/// [`Error::NotPreloaded`]: a library that one session loaded late has no settings to go by.
/// [`Error::Parallel`]: somebody has wrapped a function that is PARALLEL UNSAFE in one that is not.
/// [`Error::NotByClient`]: see there.
pub fn require_ready() -> Result<(), Error> {
    if !PRELOADED.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Error::NotPreloaded);
    }
    // SAFETY: reads this backend's transaction state.
    if unsafe { pg_sys::IsInParallelMode() } {
        return Err(Error::Parallel);
    }
    if is_by_client() { Ok(()) } else { Err(Error::NotByClient) }
}

/// Is this a client's own statement? An index expression, a trigger or a view of one login is evaluated by
/// autovacuum, by an apply worker, or in a superuser's ANALYZE, and an attempt that it makes would be
/// charged to that session, not to whoever wrote it.
fn is_by_client() -> bool {
    // SAFETY: plain values of this process. SECURITY DEFINER functions, ours among them, keep the second
    // one as it was around them.
    unsafe {
        pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
            && !pg_sys::InSecurityRestrictedOperation()
    }
}

/// Makes a misspelt `password_verify.*` an error (a warning at start on PostgreSQL 14).
pub fn reserve_setting_prefix() {
    // SAFETY: called from _PG_init with a constant C string.
    #[cfg(feature = "pg14")]
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(c"password_verify".as_ptr());
    }
    // SAFETY: called from _PG_init with a constant C string.
    #[cfg(not(feature = "pg14"))]
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"password_verify".as_ptr());
    }
}

/// The time now, not the time at which the transaction began: an old transaction must not stretch
/// the life of a password. Microseconds since 2000-01-01 UTC.
pub fn now() -> Timestamp {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// How long from now, at least a microsecond.
pub fn wait_from_now(until: Timestamp) -> Duration {
    Duration::from_micros(until.saturating_sub(now()).max(1).unsigned_abs())
}

/// The database of this session.
pub fn database() -> pg_sys::Oid {
    // SAFETY: a plain value of this process.
    unsafe { pg_sys::MyDatabaseId }
}

/// The role that logged in, which SET ROLE does not change.
pub fn login_role() -> u32 {
    // SAFETY: a plain value of this process.
    unsafe { pg_sys::GetSessionUserId() }.to_u32()
}

/// Is this a standby?
pub fn in_recovery() -> bool {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// May this transaction write? False on a standby and in a read-only transaction.
pub fn writable() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { !pg_sys::XactReadOnly && !in_recovery() }
}

/// # Errors
/// [`Error::ReadOnly`]. Direct table access does not ask, so we do.
pub fn require_writable() -> Result<(), Error> {
    if writable() { Ok(()) } else { Err(Error::ReadOnly) }
}

/// Looks until `look` has an answer or `patience` is over; `None` then. Every wait is short,
/// interruptible, and bounded, so two sessions cannot wait for each other for ever.
///
/// # Errors
/// Whatever `look` says.
pub fn patiently<T>(
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let start = Instant::now();
    loop {
        if let Some(answer) = look()? {
            return Ok(Some(answer));
        }
        if start.elapsed() >= patience {
            return Ok(None);
        }
        rest();
    }
}

/// Sleeps for a look, or until the session is cancelled or terminated.
pub fn rest() {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: MyLatch is this backend's own latch, valid for its whole life.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            POLL_INTERVAL.as_millis() as i64,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// After a PostgreSQL error has begun to unwind, the transaction's own clean-up closes everything;
/// doing it here as well would be twice.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
