//! Which list of breached passwords sessions look at.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::file::Handle;
use super::piece::Piece;
use super::reloads::Reloads;

pub static BLOCKLIST: Piece<Published> = Piece::new();

/// The list in force. All zeros: the one that the postmaster has read.
#[repr(C)]
pub struct Published {
    /// Turn (30 bits), kind (2 bits) and handle (32 bits) in one word, so that they change
    /// together.
    word: AtomicU64,
    turns: AtomicU64,
    /// Identifies the file taken over last, or being taken over.
    signature: AtomicU64,
    /// The time of the last reload that a worker has seen, as PostgreSQL records it.
    reloaded: AtomicI64,
    pub complaints: Reloads,
}

const NONE: u64 = 1;
const PIECE: u64 = 2;

/// A numbered takeover: the latest one wins, in whatever order they finish.
pub struct Turn(u64);

impl Published {
    /// In the postmaster: no reload has been missed yet.
    pub fn begin(&self, signature: u64) {
        self.signature.store(signature, Ordering::Relaxed);
        self.saw_reload();
    }

    /// This process has seen every reload up to now.
    pub fn saw_reload(&self) {
        self.reloaded.fetch_max(last_reload(), Ordering::AcqRel);
    }

    /// Was there a reload while no worker was there to see it?
    pub fn missed_reload(&self) -> bool {
        last_reload() > self.reloaded.load(Ordering::Acquire)
    }

    /// The first process to see this version of the file gets a turn to take it over.
    pub fn turn(&self, signature: u64) -> Option<Turn> {
        let before = self.signature.swap(signature, Ordering::AcqRel);
        (before != signature).then(|| Turn(self.turns.fetch_add(1, Ordering::AcqRel) + 1))
    }

    /// Forgets a file that was tried but not taken over.
    pub fn forget(&self) {
        self.signature.store(u64::MAX, Ordering::Release);
    }

    /// Replaces the list with this one, or with none, and returns the segment to release: the
    /// previous one, or this one if a later turn has already finished.
    pub fn publish(&self, Turn(turn): Turn, piece: Option<Handle>) -> Option<Handle> {
        let new = turn << 34 | piece.map_or(NONE << 32, |handle| PIECE << 32 | u64::from(handle));
        let mut old = self.word.load(Ordering::Acquire);
        loop {
            if old >> 34 > turn {
                return piece;
            }
            match self.word.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return handle(old),
                Err(now) => old = now,
            }
        }
    }

    /// `None`: the list inherited from the postmaster. `Some(None)`: there is no list.
    pub fn current(&self) -> Option<Option<Handle>> {
        let word = self.word.load(Ordering::Acquire);
        (word >> 32 & 3 != 0).then(|| handle(word))
    }
}

fn handle(word: u64) -> Option<Handle> {
    let piece = word >> 32 & 3 == PIECE;
    piece.then(|| Handle::try_from(word & u64::from(Handle::MAX)).ok()).flatten()
}

/// The time of the last reload, which the postmaster records before it signals its children.
fn last_reload() -> i64 {
    // SAFETY: a plain value of this process.
    unsafe { pgrx::pg_sys::PgReloadTime }
}

/// The list that sessions look at.
pub fn published() -> &'static Published {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*BLOCKLIST.get() }
}
