//! Unlocked vaults, and the data keys that are open for jobs while they are.
//!
//! What opens a vault is nowhere but here, and only sealed: a vault's key under a key derived from the handle, which
//! is nowhere on the server; a data key for one job under the keyring. So this memory alone opens nothing, and after a
//! restart everything is locked.

use password_verify_core::rules::account::Timestamp;
use pgrx::pg_sys;
use zeroize::Zeroize;

use super::piece::{Guard, LockGuard, Piece};
use crate::{pg::server, settings};

/// The longest sealed text of a place, in bytes.
const MAX_SEALED: usize = 320;
/// Two calls need not have looked at the clock in the order in which they came. Microseconds.
const SKEW: Timestamp = 60_000_000;
/// Handles of one vault at a time.
const OF_ONE_VAULT: usize = 8;
/// Places of one vault, those of its handles among them.
const WITH_JOBS: usize = 128;

pub static UNLOCKED: Piece<Place> = Piece::new();

/// One handle of a vault, or one job for which it was used.
#[repr(C)]
pub struct Place {
    /// Zero if this place is free.
    database: pg_sys::Oid,
    /// The role that has logged in.
    role: u32,
    /// The place of the user in the blind index.
    vault: [u8; 16],
    /// When the vault was changed last, as the row said. Another row, and this is over.
    version: Timestamp,
    /// The digest of the handle.
    digest: [u8; 32],
    since: Timestamp,
    until: Timestamp,
    /// Zero for the vault itself.
    job: i64,
    len: u16,
    sealed: [u8; MAX_SEALED],
}

/// A copy of what a place holds.
#[derive(Clone)]
pub struct Unlocked {
    pub vault: [u8; 16],
    pub version: Timestamp,
    pub digest: [u8; 32],
    pub until: Timestamp,
    pub job: i64,
    pub sealed: Vec<u8>,
}

impl Place {
    /// Is it of this database, and has its time not passed? If the clock was set back, it has.
    fn counts(&self, database: pg_sys::Oid, now: Timestamp) -> bool {
        self.database == database && self.since <= now.saturating_add(SKEW) && now < self.until
    }

    fn is_free(&self, now: Timestamp) -> bool {
        !self.counts(self.database, now) || self.database == pg_sys::InvalidOid
    }

    fn clear(&mut self) {
        self.database = pg_sys::InvalidOid;
        (self.digest, self.job) = ([0; 32], 0);
        self.sealed.zeroize();
    }

    fn put(&mut self, unlocked: &Unlocked, now: Timestamp) {
        self.clear();
        (self.database, self.role) = (server::database(), server::login_role());
        (self.vault, self.version, self.digest) =
            (unlocked.vault, unlocked.version, unlocked.digest);
        (self.since, self.until, self.job) = (now, unlocked.until, unlocked.job);
        // Invariant: the caller has checked the length.
        self.len = unlocked.sealed.len() as u16;
        self.sealed[..unlocked.sealed.len()].copy_from_slice(&unlocked.sealed);
    }

    fn copy(&self) -> Unlocked {
        Unlocked {
            vault: self.vault,
            version: self.version,
            digest: self.digest,
            until: self.until,
            job: self.job,
            sealed: self.sealed[..usize::from(self.len)].to_vec(),
        }
    }
}

/// All places, for as long as their lock is held.
struct Places {
    _held: LockGuard,
}

impl Places {
    fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::Unlocked) }
    }

    fn all(&mut self) -> &mut [Place] {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe { std::slice::from_raw_parts_mut(UNLOCKED.get(), settings::vault_places()) }
    }

    /// Wipes what is over.
    fn sweep(&mut self, now: Timestamp) {
        let used = self.all().iter_mut().filter(|place| place.database != pg_sys::InvalidOid);
        used.filter(|place| place.is_free(now)).for_each(Place::clear);
    }
}

/// Takes a place; false if there is none left for this vault, this handle or this login role, which gets half of all
/// places at most.
pub fn put(unlocked: &Unlocked) -> bool {
    if unlocked.sealed.len() > MAX_SEALED {
        return false;
    }
    let (now, role) = (server::now(), server::login_role());
    let mut places = Places::lock();
    places.sweep(now);
    let all = places.all();
    let count = |is: &dyn Fn(&Place) -> bool| {
        all.iter().filter(|place| place.database != pg_sys::InvalidOid && is(place)).count()
    };
    let of_vault = |place: &Place| place.vault == unlocked.vault;
    let room = count(&of_vault) < WITH_JOBS
        && match unlocked.job {
            0 => count(&|place| place.job == 0 && of_vault(place)) < OF_ONE_VAULT,
            // The handle may have been locked meanwhile.
            _ => count(&|place| place.job == 0 && place.digest == unlocked.digest) > 0,
        };
    if !room || count(&|place| place.role == role) >= all.len() / 2 {
        return false;
    }
    let free = all.iter_mut().find(|place| place.database == pg_sys::InvalidOid);
    free.map(|place| place.put(unlocked, now)).is_some()
}

/// The vault of that handle.
pub fn of_handle(digest: &[u8; 32]) -> Option<Unlocked> {
    find(|place| place.job == 0 && place.digest == *digest)
}

/// What is open for that job.
pub fn of_job(job: i64) -> Option<Unlocked> {
    find(|place| place.job == job)
}

fn find(is: impl Fn(&Place) -> bool) -> Option<Unlocked> {
    let (now, database) = (server::now(), server::database());
    let mut places = Places::lock();
    let found = places.all().iter().find(|place| place.counts(database, now) && is(place));
    found.map(Place::copy)
}

/// Locks what that handle has unlocked; false if that was nothing.
pub fn lock(digest: &[u8; 32]) -> bool {
    clear(|place| place.digest == *digest)
}

/// Forgets what is open for a job that is over.
pub fn close(job: i64) {
    clear(|place| place.job == job);
}

/// A vault has moved to another place. If the transaction is rolled back, what is unlocked of it does not count any more.
pub fn moved(from: &[u8; 16], to: &[u8; 16]) {
    let database = server::database();
    let mut places = Places::lock();
    let its = places.all().iter_mut();
    its.filter(|place| place.database == database && place.vault == *from)
        .for_each(|place| place.vault = *to);
}

/// Locks everything of that vault.
pub fn lock_vault(vault: &[u8; 16]) -> bool {
    clear(|place| place.vault == *vault)
}

fn clear(is: impl Fn(&Place) -> bool) -> bool {
    let (now, database) = (server::now(), server::database());
    let mut places = Places::lock();
    places.sweep(now);
    let its = places.all().iter_mut().filter(|place| place.database == database && is(place));
    its.map(Place::clear).count() > 0
}

/// Wipes what is over, now and then.
pub fn sweep() {
    Places::lock().sweep(server::now());
}

/// Places in use.
pub fn used() -> usize {
    let used = |place: &&Place| place.database != pg_sys::InvalidOid;
    Places::lock().all().iter().filter(used).count()
}
