//! Facts about this process (whether it was preloaded, the time, whether it may write), what is
//! called when it or a transaction ends, and waiting for a bounded time.

use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::connection::Lack;
use pgrx::pg_sys;

use crate::error::Error;
use crate::settings;

pub mod callbacks;
pub mod caller;
pub mod connection;
pub mod machine;

/// Set once in the postmaster; every backend is forked with it.
static PRELOADED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// How long a write waits for another transaction on the same record.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How often it tries.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Is the server preloading libraries right now? Remembers that it did.
pub fn preloading() -> bool {
    // SAFETY: a plain flag of this single-threaded process.
    let now = unsafe { pg_sys::process_shared_preload_libraries_in_progress };
    PRELOADED.fetch_or(now, std::sync::atomic::Ordering::Relaxed);
    now
}

/// Is this server run by pg_upgrade? Nothing is started then.
pub fn upgrading() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Keeps backtraces from clients: if RUST_BACKTRACE is set in the server's environment, pgrx would
/// send one with every error. std decides once whether to capture any, here and for this library
/// only.
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

/// Checks what every function requires before anything else.
///
/// # Errors
/// [`Error::NotPreloaded`]: a library that one session loads later has no settings to go by.
/// [`Error::Parallel`]: a PARALLEL UNSAFE function was called from a wrapper that is declared
/// otherwise. [`Error::NotByClient`]: the statement is not the client's own.
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

/// Checks what every function requires that takes or gives a secret, before it is looked at.
///
/// # Errors
/// Those of [`require_ready`]. [`Error::NotEncrypted`] and [`Error::NoClientCertificate`]: the
/// connection is not what the settings demand.
pub fn require_ready_for_secret() -> Result<(), Error> {
    require_ready()?;
    match settings::demands().unmet_by(connection::of_session()) {
        None => Ok(()),
        Some(Lack::Encryption) => Err(Error::NotEncrypted),
        Some(Lack::ClientCertificate) => Err(Error::NoClientCertificate),
    }
}

/// Is this the client's own statement? Autovacuum, an apply worker or a superuser's ANALYZE
/// evaluates index expressions, triggers and views of another login, and an attempt made there
/// would be charged to that session, not to the attacker who wrote the expression.
fn is_by_client() -> bool {
    // SAFETY: plain values of this process. SECURITY DEFINER functions leave the security context's
    // restriction as it was.
    unsafe {
        pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
            && !pg_sys::InSecurityRestrictedOperation()
    }
}

/// Makes a misspelt `password_verify.*` setting an error (a warning at start on PostgreSQL 14).
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

/// The current time, not that of the transaction's start: an old transaction must not extend the
/// life of a password. Microseconds since 2000-01-01 UTC.
pub fn now() -> Timestamp {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// The time from now until then, at least a microsecond.
pub fn wait_from_now(until: Timestamp) -> Duration {
    Duration::from_micros(until.saturating_sub(now()).max(1).unsigned_abs())
}

pub fn database() -> pg_sys::Oid {
    // SAFETY: a plain value of this process.
    unsafe { pg_sys::MyDatabaseId }
}

/// The role that logged in, which SET ROLE does not change.
pub fn login_role() -> u32 {
    // SAFETY: a plain value of this process.
    unsafe { pg_sys::GetSessionUserId() }.to_u32()
}

/// The full id of this transaction, which has one from here on.
pub fn transaction_id() -> u64 {
    // SAFETY: in a transaction that may write.
    unsafe { pg_sys::GetTopFullTransactionId().value }
}

/// The full id of this transaction, or 0.
pub fn transaction_id_if_any() -> u64 {
    // SAFETY: reads the state of this transaction.
    unsafe { pg_sys::GetTopFullTransactionIdIfAny().value }
}

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
/// [`Error::ReadOnly`]. Direct access to tables does not check this, so callers must.
pub fn require_writable() -> Result<(), Error> {
    if writable() { Ok(()) } else { Err(Error::ReadOnly) }
}

/// Calls `look` until it has an answer or `patience` has passed; `None` in that case. Every wait is
/// short, interruptible and bounded, so two sessions cannot wait for each other for ever.
///
/// # Errors
/// Those of `look`.
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

/// Sleeps for [`POLL_INTERVAL`], or until the session is cancelled or terminated.
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

/// Is an error unwinding? Then the transaction's own clean-up closes everything, and closing it
/// here too would be an error.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
