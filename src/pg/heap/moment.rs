//! A moment: what was committed by then, and nothing else, is seen as of it.

use pgrx::pg_sys;

use crate::pg::server::unwinding;

/// A snapshot, registered until it is dropped.
pub struct Moment(pg_sys::Snapshot);

impl Moment {
    pub fn now() -> Self {
        // SAFETY: in a transaction; unregistered in `drop`, or by the transaction's end after an
        // error.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) })
    }

    /// Valid for as long as this lives.
    pub fn snapshot(&self) -> pg_sys::Snapshot {
        self.0
    }

    /// Had this transaction or subtransaction of this server been committed by then?
    pub fn has_committed(&self, xid: u64) -> bool {
        // SAFETY: reads shared memory and, for a transaction that is not yet to come, the commit log.
        unsafe {
            let short = pg_sys::TransactionId::from(xid as u32);
            xid < pg_sys::ReadNextFullTransactionId().value
                && !pg_sys::XidInMVCCSnapshot(short, self.0)
                && pg_sys::TransactionIdDidCommit(short)
        }
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: registered by `now`.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}
