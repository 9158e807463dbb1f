//! Records that move between cost classes, and concurrent counts of all records, under one lock.

use password_verify_core::decoys::cells::Move;
use password_verify_core::decoys::cost_class::ClassKey;
use password_verify_core::decoys::recount::{Behind, Recount};
use password_verify_core::kept::record::MAX_BYTES;
use pgrx::pg_sys;

use crate::pg::shared::board::MAX_DATABASES;
use crate::pg::shared::piece::{Guard, LockGuard, Piece};

pub mod moves;
pub mod recounts;

pub static MOVES: Piece<[Moved; PLACES]> = Piece::new();
pub static RECOUNTS: Piece<[DatabaseRecount; MAX_DATABASES]> = Piece::new();

/// Distinct moves that can wait at the same time, over all databases. One database may use half of
/// them.
pub const PLACES: usize = 64;

/// Equal moves, counted.
#[derive(Debug, Clone)]
pub struct Tally {
    pub made: Move,
    pub count: u64,
    /// A template of the class they have moved to.
    pub template: String,
}

/// A tally in shared memory.
#[repr(C)]
pub struct Moved {
    /// Zero if this slot is free.
    pub database: pg_sys::Oid,
    from: ClassKey,
    to: ClassKey,
    ours: bool,
    pub count: u64,
    /// How many of them a running count of all records would miss.
    pub behind: Behind,
    template_len: u16,
    template: [u8; MAX_BYTES],
}

impl Moved {
    pub fn is_of(&self, database: pg_sys::Oid) -> bool {
        self.database == database
    }

    pub fn made(&self) -> Move {
        Move { from: self.from, to: self.to, ours: self.ours }
    }

    pub fn put(&mut self, database: pg_sys::Oid, tally: &Tally) {
        let (Move { from, to, ours }, text) = (tally.made, tally.template.as_bytes());
        (self.database, self.from, self.to, self.ours) = (database, from, to, ours);
        // Invariant: a template is a record of MAX_BYTES at most; `add` has checked it.
        (self.count, self.template_len) = (tally.count, text.len() as u16);
        self.behind = Behind::default();
        self.template[..text.len()].copy_from_slice(text);
    }

    pub fn tally(&self) -> Tally {
        let template = &self.template[..usize::from(self.template_len)];
        let template = String::from_utf8_lossy(template).into_owned();
        Tally { made: self.made(), count: self.count, template }
    }
}

#[repr(C)]
pub struct DatabaseRecount {
    /// Zero if this slot is free.
    pub database: pg_sys::Oid,
    pub count: Recount,
}

/// The moves and the counts, for as long as their lock is held.
pub struct ClassCounts {
    _held: LockGuard,
}

impl ClassCounts {
    pub fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::ClassCounts) }
    }

    /// All moves, and the progress of the counts.
    pub fn parts(&mut self) -> (&mut [Moved; PLACES], &mut [DatabaseRecount; MAX_DATABASES]) {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe { (&mut *MOVES.get(), &mut *RECOUNTS.get()) }
    }
}

/// The index of a database's count.
pub fn find(recounts: &[DatabaseRecount; MAX_DATABASES], database: pg_sys::Oid) -> Option<usize> {
    recounts.iter().position(|recount| recount.database == database)
}

/// The count of a database, if there is one. The caller holds the lock.
pub fn existing(
    recounts: &mut [DatabaseRecount; MAX_DATABASES],
    database: pg_sys::Oid,
) -> Option<&mut Recount> {
    let number = find(recounts, database)?;
    Some(&mut recounts[number].count)
}

/// The waiting moves of a database, which a running count of its records takes into account. The
/// caller holds the lock.
pub fn take_note(
    slots: &mut [Moved; PLACES],
    recounts: &mut [DatabaseRecount; MAX_DATABASES],
    database: pg_sys::Oid,
) -> Vec<Tally> {
    let mut recount = existing(recounts, database);
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs
        .map(|slot| {
            let behind = std::mem::take(&mut slot.behind);
            if let Some(recount) = &mut recount {
                recount.moved(slot.from, slot.to, behind);
            }
            slot.tally()
        })
        .collect()
}

/// Resets what a count would miss, because a new count begins.
pub fn begin_anew(slots: &mut [Moved; PLACES], database: pg_sys::Oid) {
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs.for_each(|slot| slot.behind = Behind::default());
}
