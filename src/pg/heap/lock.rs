//! Locks on tables and indexes, taken without queueing for them.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::settings;

/// The purpose for which a table is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The lock is released at once.
    Read,
    /// The lock is kept until the transaction ends, as for an UPDATE.
    Write,
}

impl Access {
    pub(super) fn lock(self) -> pg_sys::LOCKMODE {
        match self {
            Self::Read => pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            Self::Write => pg_sys::RowExclusiveLock as pg_sys::LOCKMODE,
        }
    }

    pub(super) fn lock_to_release(self) -> pg_sys::LOCKMODE {
        match self {
            Self::Read => self.lock(),
            Self::Write => pg_sys::NoLock as pg_sys::LOCKMODE,
        }
    }
}

/// How long a worker waits for a table. Then it ends, and attempts are answered `busy` until a
/// later worker gets through.
const WORKER: Duration = Duration::from_secs(1);

/// The time until which the calling process may wait for a table.
pub fn deadline() -> Instant {
    // SAFETY: a plain pointer of this process, set in background workers only.
    let is_worker = unsafe { !pg_sys::MyBgworkerEntry.is_null() };
    Instant::now() + if is_worker { WORKER } else { settings::queue_timeout() }
}

/// Takes a lock, unless that means waiting.
pub fn take(oid: pg_sys::Oid, access: Access) -> bool {
    // SAFETY: an oid just looked up; if the relation is dropped meanwhile, opening it is a
    // PostgreSQL error, and the lock goes with the transaction.
    unsafe {
        if pg_sys::ConditionalLockRelationOid(oid, access.lock()) {
            return true;
        }
        if is_covered(oid, access) {
            // Refused because another session (VACUUM FULL, say) is queued behind this very
            // transaction. No other can hold a conflicting lock, so this is granted at once, ahead
            // of the queue.
            pg_sys::LockRelationOid(oid, access.lock());
            return true;
        }
    }
    false
}

/// Releases a lock before the transaction ends.
pub fn give_back(oid: pg_sys::Oid, access: Access) {
    // SAFETY: taken by `take`, given back once.
    unsafe { pg_sys::UnlockRelationOid(oid, access.lock()) };
}

/// Does this transaction hold a lock that excludes every holder with whom the requested one
/// conflicts?
fn is_covered(oid: pg_sys::Oid, access: Access) -> bool {
    let stronger: &[u32] = match access {
        Access::Read => &[
            pg_sys::AccessShareLock,
            pg_sys::RowShareLock,
            pg_sys::RowExclusiveLock,
            pg_sys::ShareUpdateExclusiveLock,
            pg_sys::ShareLock,
            pg_sys::ShareRowExclusiveLock,
            pg_sys::ExclusiveLock,
            pg_sys::AccessExclusiveLock,
        ],
        Access::Write => &[
            pg_sys::RowExclusiveLock,
            pg_sys::ShareRowExclusiveLock,
            pg_sys::ExclusiveLock,
            pg_sys::AccessExclusiveLock,
        ],
    };
    // SAFETY: a plain value of this process.
    let database = unsafe { pg_sys::MyDatabaseId };
    let tag = pg_sys::LOCKTAG {
        locktag_field1: database.into(),
        locktag_field2: oid.into(),
        locktag_field3: 0,
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: looks into a table of this process; the tag is valid.
    stronger.iter().any(|mode| unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        let held = pg_sys::LockHeldByMe(&tag, *mode as pg_sys::LOCKMODE);
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        let held = pg_sys::LockHeldByMe(&tag, *mode as pg_sys::LOCKMODE, false);
        held
    })
}
