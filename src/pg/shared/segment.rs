//! The piece of shared memory, its locks, and waiting for one another.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::budgets;
use super::budgets::Slot;
use super::condition::Condition;
use super::databases::{Board, Database, MAX_DATABASES};
use super::moves;
use super::passes;
use super::passes::Pass;
use super::published::Published;
use super::queue::{Entry, Queue};
use super::renewals;
use super::renewals::Renewal;
use super::slots::{Slots, Waiter};
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::settings;

const NAME: &CStr = c"password_verify";

/// Locks of the budget cache; each guards its share of the buckets.
pub const SHARDS: usize = 64;
/// One for the queue and the databases, one for the hash slots, one for each shard, one for renewals, and one
/// for records that have moved.
const LOCKS: usize = 4 + SHARDS;

/// What lies at the beginning. The entries of the queue, the budgets, the conditions on which sessions wait
/// for a hash slot, and their places in that queue lie behind it.
///
/// What a lock guards and what needs none are different fields, and different arrays: whoever holds the lock
/// has the only reference to what it guards.
#[repr(C)]
pub struct Header {
    pub queue: Queue,
    pub slots: Slots,
    pub keyring: Reloads,
    pub blocklist: Published,
    /// Under which wrong passwords are known again. Made when the server starts, and never changed.
    repeat_key: [u8; 32],
    pub databases: [Database; MAX_DATABASES],
    pub boards: [Board; MAX_DATABASES],
    /// Workers without a database wait here for one that wants them.
    pub vacancy: Condition,
    pub lines: Lines,
    /// Whoever waits for a budget waits with others of its shard.
    pub settled: [Condition; SHARDS],
    /// Under a lock of their own.
    renewals: [Renewal; renewals::PLACES],
    /// Likewise.
    moves: [moves::Slot; moves::PLACES],
    /// Under the same lock as those.
    passes: [Pass; passes::PLACES],
}

/// Where it is mapped. Set in the postmaster, inherited by every process.
static HEADER: AtomicPtr<Header> = AtomicPtr::new(ptr::null_mut());
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static READY: AtomicPtr<Condition> = AtomicPtr::new(ptr::null_mut());
static WAITERS: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
static LOCK_ARRAY: AtomicPtr<pg_sys::LWLockPadded> = AtomicPtr::new(ptr::null_mut());

#[cfg(not(feature = "pg14"))]
static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// What is to be done where the memory is new. Set in the postmaster.
static BEGIN_AGAIN: OnceLock<fn()> = OnceLock::new();

/// Called once, while the server preloads the library, after the settings are known. `begin_again` is called
/// whenever the memory was made, or made anew after a crash.
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
    let budgets = budgets::capacity() * size_of::<Slot>();
    let waiters = settings::queue_length() * (size_of::<Condition>() + size_of::<Waiter>());
    size_of::<Header>() + settings::audit_queue() * size_of::<Entry>() + waiters + budgets
}

fn request() {
    // SAFETY: called while PostgreSQL asks how much shared memory is wanted.
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

/// Runs in the postmaster: at start, and again after a crashed session made it reset everything.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: set once by `install`; the memory is as large as was asked for, and nobody else has
    // it yet. All-zero bytes are valid for every type in it; condition variables are made after.
    unsafe {
        if let Some(next) = NEXT_STARTUP {
            next();
        }
        let mut found = false;
        let base = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &mut found).cast::<u8>();
        let header = base.cast::<Header>();
        let entries = base.add(size_of::<Header>()).cast::<Entry>();
        let slots = entries.add(settings::audit_queue()).cast::<Slot>();
        let ready = slots.add(budgets::capacity()).cast::<Condition>();
        let waiters = ready.add(settings::queue_length()).cast::<Waiter>();
        HEADER.store(header, Ordering::Relaxed);
        ENTRIES.store(entries, Ordering::Relaxed);
        READY.store(ready, Ordering::Relaxed);
        WAITERS.store(waiters, Ordering::Relaxed);
        SLOTS.store(slots, Ordering::Relaxed);
        LOCK_ARRAY.store(pg_sys::GetNamedLWLockTranche(NAME.as_ptr()), Ordering::Relaxed);
        // A session holds two entries at most: one for an attempt or a change, one for the end of its
        // transaction. A quarter of all is one database's.
        if settings::audit_queue() < 8 * pg_sys::MaxConnections.unsigned_abs() as usize {
            pgrx::warning!("password_verify.audit_queue is below eight times max_connections");
        }
        if !found {
            ptr::write_bytes(base, 0, size());
            if let Some(begin_again) = BEGIN_AGAIN.get() {
                begin_again();
            }
            (*header).repeat_key = crate::salt::random().unwrap_or_else(|error| {
                ErrorReport::from(error).report(pgrx::PgLogLevel::FATAL);
                std::process::abort()
            });
            (*header).vacancy.init();
            (*header).lines.started.store(server::now(), Ordering::Relaxed);
            (*header).settled.iter_mut().for_each(Condition::init);
            (*header).databases.iter_mut().for_each(Database::init);
            (*header).boards.iter_mut().for_each(Board::init);
            let all = std::slice::from_raw_parts_mut(entries, settings::audit_queue());
            (*header).queue.init(all);
            let all = std::slice::from_raw_parts_mut(waiters, settings::queue_length());
            (*header).slots.init(all);
            let all = std::slice::from_raw_parts_mut(ready, settings::queue_length());
            all.iter_mut().for_each(Condition::init);
        }
    }
}

/// A lock, held. Taking one holds off cancellation until it is given back.
pub struct Held(*mut pg_sys::LWLock);

impl Held {
    fn take(number: usize) -> Self {
        // SAFETY: the array has LOCKS elements, and every number is below that.
        unsafe {
            let lock = &raw mut (*LOCK_ARRAY.load(Ordering::Relaxed).add(number)).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            Self(lock)
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: taken by `take`, given back once; no error can have come in between.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}

/// The queue and the databases, for as long as their lock is held.
pub struct Central {
    header: *mut Header,
    entries: *mut Entry,
    _held: Held,
}

impl Central {
    pub fn lock() -> Self {
        let _held = Held::take(0);
        Self {
            header: HEADER.load(Ordering::Relaxed),
            entries: ENTRIES.load(Ordering::Relaxed),
            _held,
        }
    }

    /// The queue, its entries, and the databases.
    pub fn parts(&mut self) -> (&mut Queue, &mut [Entry], &mut [Database; MAX_DATABASES]) {
        // SAFETY: valid since the server's start; the lock makes this process the only one here.
        unsafe {
            let entries = std::slice::from_raw_parts_mut(self.entries, settings::audit_queue());
            (&mut (*self.header).queue, entries, &mut (*self.header).databases)
        }
    }
}

/// The hash slots, for as long as their lock is held.
pub struct HashSlots {
    _held: Held,
}

impl HashSlots {
    pub fn lock() -> Self {
        Self { _held: Held::take(1) }
    }

    /// The slots, and the places to wait for one.
    pub fn parts(&mut self) -> (&mut Slots, &mut [Waiter]) {
        let (header, waiters) = (HEADER.load(Ordering::Relaxed), WAITERS.load(Ordering::Relaxed));
        // SAFETY: valid since the server's start; the lock makes this process the only one here.
        unsafe {
            let waiters = std::slice::from_raw_parts_mut(waiters, settings::queue_length());
            (&mut (*header).slots, waiters)
        }
    }
}

/// The slots of some buckets, for as long as their lock is held.
pub struct Shard {
    number: usize,
    _held: Held,
}

impl Shard {
    pub fn lock(number: usize) -> Self {
        Self { number, _held: Held::take(2 + number) }
    }

    /// The slots of a bucket of this shard.
    pub fn bucket(&mut self, bucket: usize) -> &mut [Slot] {
        assert!(bucket % SHARDS == self.number && bucket < budgets::buckets());
        // SAFETY: valid since the server's start; the assertion makes it a bucket that this lock
        // guards, and the borrow makes it the only one in use.
        unsafe {
            let first = SLOTS.load(Ordering::Relaxed).add(bucket * budgets::WAYS);
            std::slice::from_raw_parts_mut(first, budgets::WAYS)
        }
    }
}

/// Renewals on their way to the worker, for as long as their lock is held.
pub struct Waiting {
    _held: Held,
}

impl Waiting {
    pub fn lock() -> Self {
        Self { _held: Held::take(2 + SHARDS) }
    }

    /// All places there are.
    pub fn places(&mut self) -> &mut [Renewal; renewals::PLACES] {
        // SAFETY: valid since the server's start; the lock makes this process the only one here.
        unsafe { &mut (*HEADER.load(Ordering::Relaxed)).renewals }
    }
}

/// Records that have moved from one class of cost to another, for as long as their lock is held.
pub struct Traffic {
    _held: Held,
}

impl Traffic {
    pub fn lock() -> Self {
        Self { _held: Held::take(3 + SHARDS) }
    }

    /// All places there are, and how far counts have come that go on meanwhile.
    pub fn parts(&mut self) -> (&mut [moves::Slot; moves::PLACES], &mut [Pass; passes::PLACES]) {
        let header = HEADER.load(Ordering::Relaxed);
        // SAFETY: valid since the server's start; the lock makes this process the only one here.
        unsafe { (&mut (*header).moves, &mut (*header).passes) }
    }
}

/// Counters and conditions of a database, which need no lock.
pub fn database(number: usize) -> &'static Board {
    assert!(number < MAX_DATABASES);
    // SAFETY: valid since the server's start; made of atomics and condition variables.
    unsafe {
        let all = &(*HEADER.load(Ordering::Relaxed)).boards;
        &all[number]
    }
}

/// The key under which wrong passwords are known again.
pub fn repeat_key() -> &'static [u8; 32] {
    // SAFETY: valid since the server's start, and not changed since.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).repeat_key }
}

/// How often the keyring was reloaded.
pub fn keyring_reloads() -> &'static Reloads {
    // SAFETY: valid since the server's start, and made of atomics.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).keyring }
}

/// Numbers the lines of the log.
pub fn log_lines() -> &'static Lines {
    // SAFETY: valid since the server's start, and made of atomics.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).lines }
}

/// Which list of breached passwords sessions look at.
pub fn blocklist() -> &'static Published {
    // SAFETY: valid since the server's start, and made of atomics.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).blocklist }
}

/// Where workers wait for a database.
pub fn vacancy() -> &'static Condition {
    // SAFETY: valid since the server's start.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).vacancy }
}

/// Where sessions wait for a budget of that shard.
pub fn settled(shard: usize) -> &'static Condition {
    // SAFETY: valid since the server's start.
    unsafe {
        let all = &(*HEADER.load(Ordering::Relaxed)).settled;
        &all[shard]
    }
}

/// Counts the lines that were written to the log.
#[repr(C)]
pub struct Lines {
    /// When shared memory was made, which is when the numbers began.
    started: AtomicI64,
    last: AtomicU64,
}

impl Lines {
    /// Since when lines are counted, and the number of the next.
    pub fn next(&self) -> (i64, u64) {
        (self.started.load(Ordering::Relaxed), self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Counts reloads of a file, and complains of it once.
#[repr(C)]
pub struct Reloads {
    count: AtomicU64,
    /// What the last complaint was about, as a hash, and when; zero once the file is a keyring again.
    complaint: AtomicU64,
    complained_at: AtomicI64,
}

impl Reloads {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// There is another one.
    pub fn announce(&self) {
        self.count.fetch_add(1, Ordering::Release);
        self.complaint.store(0, Ordering::Relaxed);
    }

    /// All workers find the same fault within a second or two: is this the first of them?
    pub fn is_first_complaint(&self, why: &str) -> bool {
        const ONE_TIME: i64 = 5_000_000;
        let mut hasher = DefaultHasher::new();
        why.hash(&mut hasher);
        let (hash, now) = (hasher.finish(), server::now());
        let before = self.complained_at.swap(now, Ordering::Relaxed);
        self.complaint.swap(hash, Ordering::Relaxed) != hash || now - before > ONE_TIME
    }
}

/// Where whoever has that place in the queue for a hash slot sleeps.
pub fn ready(waiter: u32) -> &'static Condition {
    assert!((waiter as usize) < settings::queue_length());
    // SAFETY: valid since the server's start, and a condition guards itself.
    unsafe { &*READY.load(Ordering::Relaxed).add(waiter as usize) }
}
