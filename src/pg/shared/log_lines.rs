//! Numbers the lines that password_verify signs and writes to the server log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::piece::Piece;

pub static LINES: Piece<Lines> = Piece::new();

#[repr(C)]
pub struct Lines {
    /// When shared memory was made, from which the lines are numbered.
    pub started: AtomicI64,
    last: AtomicU64,
}

impl Lines {
    /// The start of the numbering, and the number of the next line.
    pub fn next(&self) -> (i64, u64) {
        (self.started.load(Ordering::Relaxed), self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

pub fn of_server() -> &'static Lines {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*LINES.get() }
}
