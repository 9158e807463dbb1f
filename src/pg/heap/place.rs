//! A lock on a place of the blind index.
//!
//! Every login can see locks in `pg_locks`, so the lock's tag reveals nothing about the place.

use pgrx::pg_sys;

/// Held for microseconds, between checking whether a place is free and writing to it. Its holder
/// waits for nothing.
///
/// It is an advisory lock with an `objsubid` of 3, which no SQL function uses, so no session can
/// take it.
pub struct PlaceLock(pg_sys::LOCKTAG);

impl PlaceLock {
    /// `None` if another session holds it: this never waits.
    pub fn try_take(tag: [u32; 2]) -> Option<Self> {
        let [field2, field3] = tag;
        // SAFETY: a plain value of this process.
        let database = unsafe { pg_sys::MyDatabaseId };
        let tag = pg_sys::LOCKTAG {
            locktag_field1: database.into(),
            locktag_field2: field2,
            locktag_field3: field3,
            locktag_field4: 3,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        // SAFETY: a valid tag; "don't wait" returns at once.
        let taken = unsafe { pg_sys::LockAcquire(&tag, EXCLUSIVE, false, true) };
        (taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL).then(|| Self(tag))
    }
}

const EXCLUSIVE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

impl Drop for PlaceLock {
    fn drop(&mut self) {
        if !crate::pg::server::unwinding() {
            // SAFETY: taken by `try_take`, released once.
            unsafe { pg_sys::LockRelease(&self.0, EXCLUSIVE, false) };
        }
    }
}
