//! Renewals: records rehashed at a login with stronger settings, on their way to the worker.
//!
//! A login that wrote the new record itself would lock the user's row until the application's
//! transaction ends, and block other changes of the password. A few slots are enough: a renewal
//! that finds none is made again at the next login.

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;
use zeroize::Zeroize;

use super::piece::{Guard, LockGuard, Piece};
use crate::pg::server;

/// Slots in total. A database may use a quarter of them.
pub const PLACES: usize = 64;
/// Bytes of a stored record; the table has the same bound.
const MAX_TEXT: usize = 880;
/// When the database has no worker any more and another may reuse the slot. Microseconds.
const STALE: u64 = 60_000_000;

pub static RENEWALS: Piece<[Renewal; PLACES]> = Piece::new();

/// A record that is to replace another.
#[repr(C)]
pub struct Renewal {
    /// Zero if this slot is free.
    database: pg_sys::Oid,
    at: Timestamp,
    replaces: [u8; 32],
    user_len: u8,
    user: [u8; 255],
    text_len: u16,
    /// As it will be stored: sealed if there is a keyring. Wiped when it is taken off in any case.
    text: [u8; MAX_TEXT],
}

/// A renewal that was taken off the queue.
pub struct Taken {
    pub user: String,
    /// The digest of the stored text it replaces.
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
        // Invariant: a user id has at most 255 bytes, and the caller has checked the length of the
        // text.
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

/// The waiting renewals, for as long as their lock is held.
pub struct Waiting {
    _held: LockGuard,
}

impl Waiting {
    pub fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::Renewals) }
    }

    pub fn places(&mut self) -> &mut [Renewal; PLACES] {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe { &mut *RENEWALS.get() }
    }
}

/// Queues a renewal for the worker, replacing an earlier one for the same user; false if there is
/// no slot.
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

/// Takes at most `count` renewals of a database off the queue.
pub fn take(database: pg_sys::Oid, count: usize) -> Vec<Taken> {
    let mut taken = Vec::with_capacity(count);
    let mut waiting = Waiting::lock();
    let theirs = waiting.places().iter_mut().filter(|place| place.is_of(database));
    taken.extend(theirs.take(count).map(Renewal::take));
    taken
}

/// Is a renewal waiting for this database?
pub fn any(database: pg_sys::Oid) -> bool {
    Waiting::lock().places().iter().any(|place| place.is_of(database))
}

/// Drops the renewals of a database that no longer exists.
pub fn forget(database: pg_sys::Oid) {
    let mut waiting = Waiting::lock();
    waiting.places().iter_mut().filter(|place| place.is_of(database)).for_each(Renewal::clear);
}
