//! Records that were made anew at a login, on their way to the worker.
//!
//! A login that wrote the new record itself would hold the user's row for as long as the application's
//! transaction stays open, in the way of whoever wants to set another password. Few places are enough: what
//! finds none is made again at the next login.

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;
use zeroize::Zeroize;

use super::piece::{Guard, LockGuard, Piece};
use crate::pg::server;

/// How many there can be. A database has a quarter of them at most.
pub const PLACES: usize = 64;
/// Bytes of a stored record, as the table bounds them.
const MAX_TEXT: usize = 880;
/// After this time the database has no worker any more, and the place may be another's: in microseconds.
const STALE: u64 = 60_000_000;

pub static RENEWALS: Piece<[Renewal; PLACES]> = Piece::new();

/// One record, to be put in the place of another.
#[repr(C)]
pub struct Renewal {
    /// Zero: this place is free.
    database: pg_sys::Oid,
    at: Timestamp,
    replaces: [u8; 32],
    user_len: u8,
    user: [u8; 255],
    text_len: u16,
    /// As it is to be stored: sealed where there is a keyring, and wiped when it is taken in any case.
    text: [u8; MAX_TEXT],
}

/// The same, taken off.
pub struct Taken {
    pub user: String,
    /// Digest of the stored text that it replaces.
    pub replaces: [u8; 32],
    pub text: Secret,
}

impl Renewal {
    fn is_of(&self, database: pg_sys::Oid) -> bool {
        self.database == database
    }

    fn user(&self) -> &[u8] {
        &self.user[..usize::from(self.user_len)]
    }

    fn put(&mut self, database: pg_sys::Oid, user: &UserId, replaces: [u8; 32], text: &Secret) {
        let (user, text) = (user.as_str().as_bytes(), text.expose().as_bytes());
        self.clear();
        (self.at, self.replaces, self.database) = (server::now(), replaces, database);
        // Invariant: a user id has at most 255 bytes, and the caller has measured the text.
        (self.user_len, self.text_len) = (user.len() as u8, text.len() as u16);
        self.user[..user.len()].copy_from_slice(user);
        self.text[..text.len()].copy_from_slice(text);
    }

    fn clear(&mut self) {
        self.database = pg_sys::InvalidOid;
        self.text.zeroize();
        self.user.zeroize();
    }

    fn take(&mut self) -> Taken {
        let text = String::from_utf8_lossy(&self.text[..usize::from(self.text_len)]);
        let taken = Taken {
            user: String::from_utf8_lossy(self.user()).into_owned(),
            replaces: self.replaces,
            text: Secret::new(text.into_owned()),
        };
        self.clear();
        taken
    }
}

/// Renewals on their way to the worker, for as long as their lock is held.
pub struct Waiting {
    _held: LockGuard,
}

impl Waiting {
    pub fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::Renewals) }
    }

    /// All places there are.
    pub fn places(&mut self) -> &mut [Renewal; PLACES] {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe { &mut *RENEWALS.get() }
    }
}

/// Leaves a record for the worker, instead of one that is there for the same user; false if there is no
/// place.
pub fn offer(database: pg_sys::Oid, user: &UserId, replaces: [u8; 32], text: &Secret) -> bool {
    if text.expose().len() > MAX_TEXT {
        return false;
    }
    let now = server::now();
    let mut waiting = Waiting::lock();
    let places = waiting.places();
    let same = |place: &Renewal| place.is_of(database) && place.user() == user.as_str().as_bytes();
    let free = |place: &Renewal| place.is_of(pg_sys::InvalidOid) || now.abs_diff(place.at) > STALE;
    let held = places.iter().filter(|place| place.is_of(database)).count();
    let place = match places.iter().position(same) {
        Some(place) => Some(place),
        None if held >= PLACES / 4 => None,
        None => places.iter().position(free),
    };
    let Some(place) = place else { return false };
    places[place].put(database, user, replaces, text);
    true
}

/// Takes some of a database off, at most `count`.
pub fn take(database: pg_sys::Oid, count: usize) -> Vec<Taken> {
    let mut taken = Vec::with_capacity(count);
    let mut waiting = Waiting::lock();
    let theirs = waiting.places().iter_mut().filter(|place| place.is_of(database));
    taken.extend(theirs.take(count).map(Renewal::take));
    taken
}

/// Is there one?
pub fn any(database: pg_sys::Oid) -> bool {
    Waiting::lock().places().iter().any(|place| place.is_of(database))
}

/// The database is gone.
pub fn forget(database: pg_sys::Oid) {
    let mut waiting = Waiting::lock();
    waiting.places().iter_mut().filter(|place| place.is_of(database)).for_each(Renewal::clear);
}
