//! The background workers. Each attaches to a database that has something to write, and exits when
//! there is nothing left.
//!
//! They are static, registered when the server starts: dynamic workers share slots that three
//! parallel queries of any login can exhaust. An idle worker waits without a database. A worker
//! with nothing to write for two seconds exits, because nobody can drop a database while a worker
//! is connected to it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::{PgMemoryContexts, pg_sys};

use super::work::pin;
use super::writer::Writer;
use super::{launch, renewals, signals, tidy};
use crate::error::Error;
use crate::pg::report::{ErrorReport, SqlState};
use crate::pg::shared::board;
use crate::pg::shared::databases::{self, Departure, Vacancy};
use crate::pg::shared::queue;

/// How long a worker stays without work.
const STAY: Duration = Duration::from_secs(2);
/// How long it stays at least when another database is waiting.
const TURN: Duration = Duration::from_millis(100);
/// How often it checks whether it should stop, and whether something is to be cleaned up.
const POLL_INTERVAL: Duration = tidy::EVERY;
/// How often an idle worker checks whether a reload was requested: a signal does not end a sleep on
/// a condition variable.
const IDLE: Duration = Duration::from_secs(1);
/// How long it waits at shutdown for attempts in progress.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

thread_local! {
    /// The slot of the database that this worker serves, and how the worker is about to leave it.
    static SERVED: Cell<Option<(usize, Departure)>> = const { Cell::new(None) };
}

/// A worker's life: it waits for a database, serves it and exits. The postmaster starts another at
/// once.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn password_verify_worker(_arg: pg_sys::Datum) {
    signals::end_at_once();
    crate::account::blocklist::reload_if_missed();
    let (number, oid) = wait_for_database();
    SERVED.set(Some((number, Departure::Failed)));
    // SAFETY: the callback is a plain function of this library; if the database does not exist,
    // PostgreSQL ends this process. Without a user the worker runs as the bootstrap superuser,
    // whatever restrictions that role has.
    unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null());
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(on_connection_error),
            arg: std::ptr::null_mut(),
        };
        let _watch = Watch::begin(&mut callback);
        let flags = pg_sys::BGWORKER_BYPASS_ALLOWCONN;
        pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, flags);
    }
    signals::end_in_order();
    pin_settings();
    let departure = match serve(number) {
        Ok(()) => Departure::Done,
        Err(Error::Dropped) => Departure::Dropped,
        // The next worker starts with the tables that exist now.
        Err(Error::Replaced) => Departure::Done,
        Err(error) => {
            ErrorReport::from(error).report(pgrx::PgLogLevel::ERROR);
            Departure::Failed
        }
    };
    SERVED.set(Some((number, departure)));
    // SAFETY: ends this process. With status 0 the postmaster would not start another worker.
    unsafe { pg_sys::proc_exit(1) };
}

/// While this lives, PostgreSQL calls a function for every error. Unwinding drops it too: an error
/// raised further up would otherwise call through a pointer into a frame that no longer exists.
struct Watch(*mut pg_sys::ErrorContextCallback);

impl Watch {
    /// # Safety
    /// `callback` outlives this.
    unsafe fn begin(callback: *mut pg_sys::ErrorContextCallback) -> Self {
        // SAFETY: the caller's promise; the stack is this process's own.
        unsafe {
            let before = pg_sys::error_context_stack;
            pg_sys::error_context_stack = callback;
            Self(before)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: the previous head of the stack, which lies in a frame further up.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

fn wait_for_database() -> (usize, pg_sys::Oid) {
    // SAFETY: a plain value of this process.
    let pid = unsafe { pg_sys::MyProcPid };
    let mut rest = IDLE;
    loop {
        let found = board::vacancy().wait(Instant::now() + rest, || {
            // Checked first, because a claimed database must be served.
            if signals::reload_is_asked() {
                return Some(Err(rest));
            }
            match databases::claim(pid) {
                Vacancy::Database(number, oid) => Some(Ok((number, oid))),
                Vacancy::Later(left) if left < rest => Some(Err(left)),
                Vacancy::Later(_) | Vacancy::Nothing => None,
            }
        });
        match found {
            Some(Ok(database)) => return database,
            Some(Err(left)) => rest = left,
            None => rest = IDLE,
        }
        reload_if_asked();
        pgrx::check_for_interrupts!();
    }
}

fn serve(number: usize) -> Result<(), Error> {
    let is_first = databases::handed_over(number).epoch == 0;
    let mut writer = Writer::begin(number)?;
    databases::serve(number);
    if is_first && writer.is_anchored() {
        launch::check();
    }
    let (came, mut worked) = (Instant::now(), Instant::now());
    let mut stopping: Option<Instant> = None;
    let mut memory = PgMemoryContexts::new("password_verify worker");
    loop {
        // Whatever PostgreSQL allocates between transactions is freed in the next round.
        // SAFETY: nothing from the last round points into this context.
        unsafe {
            memory.reset();
            memory.set_as_current();
        }
        pgrx::check_for_interrupts!();
        if signals::is_stopping() && stopping.is_none() {
            stopping = Some(Instant::now());
        }
        reload_if_asked();
        // Both run in every round (`|`, not `||`), so that neither has to wait for the other to be
        // idle.
        let busy = writer.batch()? | writer.renew();
        if busy | writer.forget(!busy)? {
            worked = Instant::now();
            // There may always be more to write.
            writer.tidy()?;
            if came.elapsed() < TURN || !databases::any_waits() {
                continue;
            }
            return writer.batch().map(drop);
        }
        let held = writer.is_expected();
        if stopping.is_some_and(|since| !held || since.elapsed() > SHUTDOWN_GRACE) {
            break;
        }
        if came.elapsed() > TURN && databases::any_waits() {
            break;
        }
        if !held && worked.elapsed() > STAY && !writer.is_forgetting() {
            writer.log_head();
            break;
        }
        if writer.tidy()? {
            continue;
        }
        board::of(number)
            .work
            .wait(Instant::now() + POLL_INTERVAL, || has_work(number).then_some(()));
    }
    writer.end();
    Ok(())
}

fn has_work(number: usize) -> bool {
    queue::has_work(number) || renewals::any()
}

fn reload_if_asked() {
    if signals::take_reload() {
        // SAFETY: outside of a transaction, where every process calls it.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        crate::pg::keys::keyring::announce();
        crate::account::blocklist::reload();
    }
}

/// Fixes the settings that could keep a worker from writing or make its commits less durable:
/// `ALTER DATABASE … SET` and `ALTER ROLE … SET` apply to a worker too.
pub fn pin_settings() {
    let mut pins = vec![
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_deferrable", c"off"),
        (c"synchronous_commit", c"on"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"1s"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"row_security", c"on"),
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"session_replication_role", c"origin"),
    ];
    // The condition lists the versions that lack the setting, so that a new version gets it by
    // default.
    if !cfg!(any(feature = "pg14", feature = "pg15", feature = "pg16")) {
        pins.push((c"transaction_timeout", c"0"));
    }
    pins.into_iter().for_each(|(name, value)| pin(name, value));
}

/// Did the connection fail because the database no longer exists? PostgreSQL calls this for every
/// error on the way, logged or not.
unsafe extern "C-unwind" fn on_connection_error(_arg: *mut std::ffi::c_void) {
    // SAFETY: PostgreSQL calls this while it reports an error, when the code is available.
    let state = unsafe { pg_sys::geterrcode() };
    if state == SqlState::ERRCODE_INVALID_CATALOG_NAME as i32
        && let Some((number, _)) = SERVED.get()
    {
        SERVED.set(Some((number, Departure::Dropped)));
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some((number, departure)) = SERVED.take() {
        databases::leave(number, departure);
    }
}
