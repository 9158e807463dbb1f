//! Pointers into shared memory, and the locks that guard most of it.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// Locks of the budget cache, each for its share of the buckets.
pub const SHARDS: usize = 64;

#[derive(Debug, Clone, Copy)]
pub enum Guard {
    /// The queue and the databases.
    Central,
    HashSlots,
    Renewals,
    ClassCounts,
    /// Unlocked vaults and opened secrets.
    Unlocked,
    /// A shard of the budgets, below [`SHARDS`].
    Shard(usize),
}

pub const LOCKS: usize = 5 + SHARDS;

impl Guard {
    const fn number(self) -> usize {
        match self {
            Self::Central => 0,
            Self::HashSlots => 1,
            Self::Renewals => 2,
            Self::ClassCounts => 3,
            Self::Unlocked => 4,
            Self::Shard(number) => 5 + number,
        }
    }
}

/// A pointer to one part of shared memory. Set in the postmaster, inherited by every process.
pub struct Piece<T>(AtomicPtr<T>);

impl<T> Piece<T> {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Sets the pointer. Called in the postmaster, once whenever shared memory is made.
    pub fn lies_at(&self, pointer: *mut T) {
        self.0.store(pointer, Ordering::Relaxed);
    }

    /// The pointer: valid from the server's start to its end.
    pub fn get(&self) -> *mut T {
        self.0.load(Ordering::Relaxed)
    }
}

/// The LWLocks of this library.
pub static LOCK_ARRAY: Piece<pg_sys::LWLockPadded> = Piece::new();

/// A lock that is held. Interrupts are held off until it is released.
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
        // SAFETY: acquired by `take`, released once; no error can have come in between.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}
