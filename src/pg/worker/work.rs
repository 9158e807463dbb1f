//! Transactions of a worker.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::signals;
use crate::error::Error;

/// Runs `then` as the owner of the tables, in a transaction that commits unless it fails.
///
/// # Errors
/// [`Error::Dropped`] when the extension is not installed; [`Error::SchemaRenamed`]; errors of
/// `then`. The transaction is then still open, and the worker has to end.
pub fn transaction<T>(then: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // SAFETY: a worker that is connected to a database and outside of a transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: plain values of this process.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    become_owner()?;
    let result = then()?;
    // SAFETY: the user and context that were in force before.
    unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    commit();
    Ok(result)
}

/// Commits. A worker that is stopping waits for no standby, or the server could not shut down.
fn commit() {
    signals::committing(|| {
        if signals::is_stopping() {
            pin(c"synchronous_commit", c"local");
        }
        // SAFETY: a worker in a transaction with an active snapshot.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
    });
}

/// Commits without waiting for the disk or a standby while a user's row is locked. For work that no
/// session waits for.
pub fn asynchronously<T>(then: impl FnOnce() -> T) -> T {
    pin(c"synchronous_commit", c"off");
    let result = then();
    pin(c"synchronous_commit", c"on");
    result
}

pub fn pin(name: &'static CStr, value: &'static CStr) {
    let (context, source) = (pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_SESSION);
    // SAFETY: constant C strings.
    unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source) };
}

/// The primary message of an error, without the details, which may contain values of the row.
pub fn message(error: &pg_sys::panic::CaughtError) -> String {
    use pg_sys::panic::CaughtError;
    match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            report.message().to_owned()
        }
        CaughtError::RustPanic { .. } => "the worker failed".into(),
    }
}

/// Until the end of the transaction, runs as the owner of the tables: `pv_owner`, whatever its
/// current name, a role that may only read and write them.
fn become_owner() -> Result<(), Error> {
    // SAFETY: catalog look-ups with constant names, in a transaction; the cache entry is held while
    // it is read.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"password_verify".as_ptr(), true);
        let table = pg_sys::get_relname_relid(c"event".as_ptr(), schema);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(table));
        if tuple.is_null() {
            let extension = pg_sys::get_extension_oid(c"password_verify".as_ptr(), true);
            // If only the schema was renamed, no function can be called, and events wait.
            let there = extension != pg_sys::InvalidOid;
            return Err(if there { Error::SchemaRenamed } else { Error::Dropped });
        }
        let header = (*tuple).t_data;
        let row =
            header.byte_add(usize::from((*header).t_hoff)).cast::<pg_sys::FormData_pg_class>();
        let owner = (*row).relowner;
        pg_sys::ReleaseSysCache(tuple);
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        pg_sys::SetUserIdAndSecContext(owner, restricted as i32);
    }
    Ok(())
}

/// The system identifier and timeline of this server.
pub fn identity() -> (u64, u32) {
    // SAFETY: both read shared memory; on PostgreSQL 14 the first call sets `ThisTimeLineID`.
    unsafe {
        pg_sys::RecoveryInProgress();
        #[cfg(feature = "pg14")]
        let timeline = pg_sys::ThisTimeLineID;
        #[cfg(not(feature = "pg14"))]
        let timeline = pg_sys::GetWALInsertionTimeLine();
        (pg_sys::GetSystemIdentifier(), timeline)
    }
}

/// Reports table statistics to autovacuum, at most once a second unless the worker is leaving.
pub fn report_statistics(leaving: bool) {
    // SAFETY: called outside of a transaction.
    unsafe {
        pg_sys::pgstat_report_stat(leaving);
    }
}
