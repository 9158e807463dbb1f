//! The segment that holds all shared state of this library: its size, its layout and its
//! initialisation.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pgrx::pg_sys;

use super::blocklist::{self, Published};
use super::board::{self, Board, MAX_DATABASES};
use super::budgets;
use super::central::{self, Database, Entry, Queue};
use super::class_counts::{self, DatabaseRecount};
use super::condition::Condition;
use super::log_lines::{self, Lines};
use super::opened::{self, Opened};
use super::piece::{LOCK_ARRAY, LOCKS, SHARDS};
use super::redacted::{self, Redacted};
use super::reloads::{self, Reloads};
use super::renewals::{self, Renewal};
use super::slots::{self, Slots, Waiter};
use super::unlocked::{self, Place};
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::settings;

const NAME: &CStr = c"password_verify";

/// The fixed part, at the beginning. The places of unlocked vaults, the queue entries, the budgets,
/// and the conditions and places of the queue for hash slots follow it.
///
/// State under a lock and state that needs none are in different fields and arrays, so that the
/// holder of a lock has the only reference to what it guards.
#[repr(C)]
struct Header {
    queue: Queue,
    slots: Slots,
    keyring: Reloads,
    blocklist: Published,
    /// The key of the marks of wrong passwords. Made when the server starts, and never changed.
    repeat_key: [u8; 32],
    databases: [Database; MAX_DATABASES],
    boards: [Board; MAX_DATABASES],
    /// Workers without a database wait here for one.
    vacancy: Condition,
    lines: Lines,
    /// Sessions waiting for a budget, by its shard.
    settled: [Condition; SHARDS],
    renewals: [Renewal; renewals::PLACES],
    moves: [class_counts::Moved; class_counts::PLACES],
    recounts: [DatabaseRecount; MAX_DATABASES],
    opened: Opened,
    redacted: Redacted,
}

#[cfg(not(feature = "pg14"))]
static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Called whenever the memory is new. Set in the postmaster.
static BEGIN_AGAIN: OnceLock<fn()> = OnceLock::new();

/// Installs the hooks. Called once, while the server preloads the library, after the settings are
/// defined. `begin_again` is called whenever the memory has been made, also after a crash.
pub fn install(begin_again: fn()) {
    BEGIN_AGAIN.get_or_init(|| begin_again);
    // SAFETY: the postmaster has one thread.
    unsafe {
        #[cfg(feature = "pg14")]
        request();
        #[cfg(not(feature = "pg14"))]
        {
            NEXT_REQUEST = pg_sys::shmem_request_hook;
            pg_sys::shmem_request_hook = Some(on_request);
        }
        NEXT_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}

fn size() -> usize {
    let budgets = budgets::capacity() * size_of::<budgets::Cached>();
    let waiters = settings::queue_length() * (size_of::<Condition>() + size_of::<Waiter>());
    size_of::<Header>()
        + settings::audit_queue() * size_of::<Entry>()
        + waiters
        + budgets
        + settings::vault_places() * size_of::<Place>()
}

fn request() {
    // SAFETY: called while PostgreSQL collects requests for shared memory.
    unsafe {
        pg_sys::RequestAddinShmemSpace(size());
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), LOCKS as i32);
    }
}

#[cfg(not(feature = "pg14"))]
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_request() {
    // SAFETY: set once by `install`.
    unsafe {
        if let Some(next) = NEXT_REQUEST {
            next();
        }
    }
    request();
}

/// Runs in the postmaster: at the start, and again when it resets shared memory after a session has
/// crashed.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: set once by `install`; the memory has the requested size, and no other process has it
    // yet.
    unsafe {
        if let Some(next) = NEXT_STARTUP {
            next();
        }
        let mut found = false;
        let base = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &mut found).cast::<u8>();
        lay_out(base);
        // A session holds two entries at most: one for an attempt or a change, one for the end of
        // its transaction. One database may use a quarter of all entries.
        if settings::audit_queue() < 8 * pg_sys::MaxConnections.unsigned_abs() as usize {
            pgrx::warning!("password_verify.audit_queue is below eight times max_connections");
        }
        if !found {
            ptr::write_bytes(base, 0, size());
            begin(&mut *base.cast::<Header>());
        }
    }
}

/// Sets the pointers to all parts.
///
/// # Safety
/// `base` points to [`size`] bytes. All-zero bytes are valid for every type in it.
unsafe fn lay_out(base: *mut u8) {
    let header = base.cast::<Header>();
    // SAFETY: the caller's promise; every part lies within the segment, and is aligned like those
    // before it.
    unsafe {
        let unlocked = base.add(size_of::<Header>()).cast::<Place>();
        let entries = unlocked.add(settings::vault_places()).cast::<Entry>();
        let budgets = entries.add(settings::audit_queue()).cast::<budgets::Cached>();
        let ready = budgets.add(budgets::capacity()).cast::<Condition>();
        let waiters = ready.add(settings::queue_length()).cast::<Waiter>();
        central::QUEUE.lies_at(&raw mut (*header).queue);
        central::ENTRIES.lies_at(entries);
        central::DATABASES.lies_at(&raw mut (*header).databases);
        board::BOARDS.lies_at(&raw mut (*header).boards);
        board::VACANCY.lies_at(&raw mut (*header).vacancy);
        slots::SLOTS.lies_at(&raw mut (*header).slots);
        slots::WAITERS.lies_at(waiters);
        slots::READY.lies_at(ready);
        budgets::CACHE.lies_at(budgets);
        budgets::SETTLED.lies_at(&raw mut (*header).settled);
        budgets::REPEAT_KEY.lies_at(&raw mut (*header).repeat_key);
        renewals::RENEWALS.lies_at(&raw mut (*header).renewals);
        class_counts::MOVES.lies_at(&raw mut (*header).moves);
        class_counts::RECOUNTS.lies_at(&raw mut (*header).recounts);
        unlocked::UNLOCKED.lies_at(unlocked);
        redacted::REDACTED.lies_at(&raw mut (*header).redacted);
        opened::OPENED.lies_at(&raw mut (*header).opened);
        reloads::KEYRING.lies_at(&raw mut (*header).keyring);
        blocklist::BLOCKLIST.lies_at(&raw mut (*header).blocklist);
        log_lines::LINES.lies_at(&raw mut (*header).lines);
        LOCK_ARRAY.lies_at(pg_sys::GetNamedLWLockTranche(NAME.as_ptr()));
    }
}

/// Initialises what must not be all zeros.
fn begin(header: &mut Header) {
    if let Some(begin_again) = BEGIN_AGAIN.get() {
        begin_again();
    }
    header.repeat_key = crate::salt::random().unwrap_or_else(|error| {
        ErrorReport::from(error).report(pgrx::PgLogLevel::FATAL);
        std::process::abort()
    });
    header.vacancy.init();
    header.lines.started.store(server::now(), Ordering::Relaxed);
    header.settled.iter_mut().for_each(Condition::init);
    header.databases.iter_mut().for_each(Database::init);
    header.boards.iter_mut().for_each(Board::init);
    // SAFETY: laid out, and no other process has it yet.
    unsafe {
        let (entries, waiting) = (settings::audit_queue(), settings::queue_length());
        header.queue.init(std::slice::from_raw_parts_mut(central::ENTRIES.get(), entries));
        header.slots.init(std::slice::from_raw_parts_mut(slots::WAITERS.get(), waiting));
        let ready = std::slice::from_raw_parts_mut(slots::READY.get(), waiting);
        ready.iter_mut().for_each(Condition::init);
    }
}
