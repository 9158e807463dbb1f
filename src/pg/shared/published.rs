//! Which list of breached passwords sessions look at.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::list::Handle;
use super::piece::Piece;
use super::reloads::Reloads;

pub static BLOCKLIST: Piece<Published> = Piece::new();

/// All-zero: the one that the postmaster has read.
#[repr(C)]
pub struct Published {
    /// Turn (30 bits), kind (2 bits), handle (32 bits): one word, so that they change at once.
    word: AtomicU64,
    turns: AtomicU64,
    /// Of the file that was taken over last, or is being taken over.
    signature: AtomicU64,
    /// When the last reload was asked for that a worker has seen, as PostgreSQL notes it.
    reloaded: AtomicI64,
    pub complaints: Reloads,
}

const NONE: u64 = 1;
const PIECE: u64 = 2;

/// Later takeovers win, whoever is done first.
pub struct Turn(u64);

impl Published {
    /// In the postmaster: there was no reload yet that it does not know of itself.
    pub fn begin(&self, signature: u64) {
        self.signature.store(signature, Ordering::Relaxed);
        self.saw_reload();
    }

    /// This process has seen every reload up to now.
    pub fn saw_reload(&self) {
        self.reloaded.fetch_max(last_reload(), Ordering::AcqRel);
    }

    /// Was there a reload that no worker has seen, for none was there?
    pub fn missed_reload(&self) -> bool {
        last_reload() > self.reloaded.load(Ordering::Acquire)
    }

    /// Of all who see this file the first gets to take it over.
    pub fn turn(&self, signature: u64) -> Option<Turn> {
        let before = self.signature.swap(signature, Ordering::AcqRel);
        (before != signature).then(|| Turn(self.turns.fetch_add(1, Ordering::AcqRel) + 1))
    }

    /// What was tried last was not taken over.
    pub fn forget(&self) {
        self.signature.store(u64::MAX, Ordering::Release);
    }

    /// Replaces the list, by none or by this one. The piece that nobody looks for any more: the one before,
    /// or this one where a later turn was done earlier.
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

    /// `None`: what was inherited from the postmaster. `Some(None)`: there is no list.
    pub fn current(&self) -> Option<Option<Handle>> {
        let word = self.word.load(Ordering::Acquire);
        (word >> 32 & 3 != 0).then(|| handle(word))
    }
}

fn handle(word: u64) -> Option<Handle> {
    let piece = word >> 32 & 3 == PIECE;
    piece.then(|| Handle::try_from(word & u64::from(Handle::MAX)).ok()).flatten()
}

/// Inherited from the postmaster, which notes it before it tells its children.
fn last_reload() -> i64 {
    // SAFETY: a plain value of this process.
    unsafe { pgrx::pg_sys::PgReloadTime }
}

/// Which list sessions look at.
pub fn blocklist() -> &'static Published {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*BLOCKLIST.get() }
}
