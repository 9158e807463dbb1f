//! Numbers for the lines of the server log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::piece::Piece;

pub static LINES: Piece<Lines> = Piece::new();

/// Counts the lines that were written to the log.
#[repr(C)]
pub struct Lines {
    /// When shared memory was made, which is when the numbers began.
    pub started: AtomicI64,
    last: AtomicU64,
}

impl Lines {
    /// Since when lines are counted, and the number of the next.
    pub fn next(&self) -> (i64, u64) {
        (self.started.load(Ordering::Relaxed), self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Numbers the lines of the log.
pub fn log() -> &'static Lines {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*LINES.get() }
}
