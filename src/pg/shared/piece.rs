//! A piece of shared memory, and the locks that guard most of them.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// Locks of the budget cache; each guards its share of the buckets.
pub const SHARDS: usize = 64;

/// Which lock guards what.
#[derive(Debug, Clone, Copy)]
pub enum Guard {
    /// The queue and the databases.
    Central,
    /// The hash slots.
    HashSlots,
    /// Records that were made anew.
    Renewals,
    /// Records that have moved.
    Traffic,
    /// A share of the budgets, below [`SHARDS`].
    Shard(usize),
}

/// How many locks there are.
pub const LOCKS: usize = 4 + SHARDS;

impl Guard {
    const fn number(self) -> usize {
        match self {
            Self::Central => 0,
            Self::HashSlots => 1,
            Self::Renewals => 2,
            Self::Traffic => 3,
            Self::Shard(number) => 4 + number,
        }
    }
}

/// Where something lies. Set in the postmaster, inherited by every process.
pub struct Piece<T>(AtomicPtr<T>);

impl<T> Piece<T> {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Called once, in the postmaster, whenever shared memory is made.
    pub fn lies_at(&self, pointer: *mut T) {
        self.0.store(pointer, Ordering::Relaxed);
    }

    /// Where it lies: valid since the server's start, and until its end.
    pub fn get(&self) -> *mut T {
        self.0.load(Ordering::Relaxed)
    }
}

/// The array of locks.
pub static LOCK_ARRAY: Piece<pg_sys::LWLockPadded> = Piece::new();

/// A lock, held. Taking one holds off cancellation until it is given back.
pub struct LockGuard(*mut pg_sys::LWLock);

impl LockGuard {
    pub fn take(guard: Guard) -> Self {
        assert!(guard.number() < LOCKS);
        // SAFETY: the array has LOCKS elements.
        unsafe {
            let lock = &raw mut (*LOCK_ARRAY.get().add(guard.number())).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            Self(lock)
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // SAFETY: taken by `take`, given back once; no error can have come in between.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}
