//! The state of the extension: are its tables usable, and is it committed?

use std::ffi::CStr;
use std::time::Instant;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::table;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::settings::{self, AuditUserIds};

const EXTNAME: i16 = 2;

/// The tables that a worker must open before it can write anything.
pub const TABLES: [&CStr; 6] =
    [c"event", c"throttle", c"event_fold", c"open_change", c"cost_class", c"anchor"];

/// Could the worker write, as far as this session can tell? Otherwise an attempt would be charged
/// and hashed but not answered.
///
/// # Errors
/// [`Error::Locked`], [`Error::NotInstalled`], [`Error::InTheWay`], [`Error::NoKeyForDigests`].
pub fn require_recordable(deadline: Instant) -> Result<(), Error> {
    if settings::audit_user_ids() == AuditUserIds::Digest && !keyring::is_there() {
        return Err(Error::NoKeyForDigests);
    }
    if server::in_recovery() { Ok(()) } else { table::require_free(&TABLES, deadline) }
}

/// Was a row written by this transaction? A row frozen by VACUUM keeps its old xmin, which may
/// equal a current transaction id after a wraparound.
unsafe fn is_of_this_transaction(row: &pg_sys::HeapTupleHeaderData) -> bool {
    let frozen = pg_sys::HEAP_XMIN_FROZEN;
    if u32::from(row.t_infomask) & frozen == frozen {
        return false;
    }
    // SAFETY: the caller's promise, a row on a page: its first field is its xmin.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(row.t_choice.t_heap.t_xmin) }
}

/// Fails if the calling transaction created or altered the extension. The worker, in another
/// session, sees its tables only after the commit.
///
/// # Errors
/// [`Error::JustInstalled`].
pub fn require_not_new() -> Result<(), Error> {
    // SAFETY: a transaction without an id has changed nothing. Otherwise one catalog row is read
    // through its index; the key and the C string live until the scan ends.
    unsafe {
        if pg_sys::GetTopTransactionIdIfAny() == pg_sys::InvalidTransactionId {
            return Ok(());
        }
        let mut key = pg_sys::ScanKeyData::default();
        let name = pg_sys::Datum::from(c"password_verify".as_ptr());
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut key, EXTNAME, equal, pg_sys::F_NAMEEQ.into(), name);
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let table = pg_sys::table_open(pg_sys::ExtensionRelationId, lock);
        let index = pg_sys::Oid::from(pg_sys::ExtensionNameIndexId);
        let scan =
            pg_sys::systable_beginscan(table, index, true, std::ptr::null_mut(), 1, &mut key);
        let tuple = pg_sys::systable_getnext(scan);
        let ours = !tuple.is_null() && is_of_this_transaction(&*(*tuple).t_data);
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(table, lock);
        if ours { Err(Error::JustInstalled) } else { Ok(()) }
    }
}
