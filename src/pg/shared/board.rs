//! What sessions and workers of a database share without a lock: counters, and condition variables
//! to wait on.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::condition::Condition;
use super::piece::Piece;

/// Databases of one server in which passwords can be used at the same time.
pub const MAX_DATABASES: usize = 64;
/// Counters of one database; [`crate::counter`] names them.
pub const COUNTERS: usize = crate::counter::ALL;

/// The boards, one for each slot of a database.
pub static BOARDS: Piece<[Board; MAX_DATABASES]> = Piece::new();
/// The condition on which workers without a database wait for one.
pub static VACANCY: Piece<Condition> = Piece::new();

/// The part of a database's shared state that needs no lock.
#[repr(C)]
pub struct Board {
    pub committed: AtomicU64,
    /// Changes when outstanding tickets become invalid.
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

    /// Invalidates tickets and counters, because the slot now belongs to another database.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// Tickets of an earlier generation will never be committed.
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

pub fn of(number: usize) -> &'static Board {
    // SAFETY: see `Piece::get`; made of atomics and condition variables.
    let all = unsafe { &*BOARDS.get() };
    &all[number]
}

/// The condition on which workers wait for a database.
pub fn vacancy() -> &'static Condition {
    // SAFETY: see `Piece::get`; a condition guards itself.
    unsafe { &*VACANCY.get() }
}
