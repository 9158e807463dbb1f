//! What everybody may use of a database without a lock: counters, and what is waited for.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::condition::Condition;
use super::piece::Piece;

/// Databases of one server in which passwords can be used at the same time.
pub const MAX_DATABASES: usize = 64;
/// Counters of a database; [`crate::counter`] says which is which.
pub const COUNTERS: usize = crate::counter::ALL;

/// Where they lie, one for each place of a database.
pub static BOARDS: Piece<[Board; MAX_DATABASES]> = Piece::new();
/// Where the condition lies on which workers without a database wait for one.
pub static VACANCY: Piece<Condition> = Piece::new();

/// What everybody may use of a database without the lock.
#[repr(C)]
pub struct Board {
    /// The last ticket that is committed.
    pub committed: AtomicU64,
    /// Changes when tickets lose their meaning.
    pub generation: AtomicU64,
    /// The worker waits here for work.
    pub work: Condition,
    /// Sessions wait here for the worker.
    pub done: Condition,
    counters: [AtomicI64; COUNTERS],
}

impl Board {
    pub fn init(&mut self) {
        self.work.init();
        self.done.init();
    }

    /// The place is another database's from now on.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// A ticket of another generation will never be committed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The last ticket whose event is committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub fn count(&self, counter: usize, by: i64) {
        self.counters[counter].fetch_add(by, Ordering::Relaxed);
    }

    pub fn counters(&self) -> [i64; COUNTERS] {
        std::array::from_fn(|i| self.counters[i].load(Ordering::Relaxed))
    }
}

/// That of a database.
pub fn of(number: usize) -> &'static Board {
    // SAFETY: see `Piece::get`; made of atomics and condition variables.
    let all = unsafe { &*BOARDS.get() };
    &all[number]
}

/// Where workers wait for a database.
pub fn vacancy() -> &'static Condition {
    // SAFETY: see `Piece::get`; a condition guards itself.
    unsafe { &*VACANCY.get() }
}
