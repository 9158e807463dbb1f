//! Counts how often a file was reloaded, and limits complaints about it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::piece::Piece;
use crate::pg::server;

pub static KEYRING: Piece<Reloads> = Piece::new();

#[repr(C)]
pub struct Reloads {
    count: AtomicU64,
    /// A hash of the last complaint; zero once the file is valid again.
    complaint: AtomicU64,
    complained_at: AtomicI64,
}

impl Reloads {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub fn announce(&self) {
        self.count.fetch_add(1, Ordering::Release);
        self.complaint.store(0, Ordering::Relaxed);
    }

    /// All workers find the same fault within a second or two: is this the first of them to
    /// complain?
    pub fn is_first_complaint(&self, why: &str) -> bool {
        const ONE_TIME: i64 = 5_000_000;
        let mut hasher = DefaultHasher::new();
        why.hash(&mut hasher);
        let (hash, now) = (hasher.finish(), server::now());
        let before = self.complained_at.swap(now, Ordering::Relaxed);
        self.complaint.swap(hash, Ordering::Relaxed) != hash || now - before > ONE_TIME
    }
}

pub fn keyring() -> &'static Reloads {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*KEYRING.get() }
}
