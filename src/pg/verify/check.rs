//! The check of all tables that follows the start of the server: a process of its own for each database, so that
//! nothing waits for it. If none can be started, `pv_verify_credentials` still does the same.

use std::panic::AssertUnwindSafe;

use pgrx::{PgTryBuilder, pg_sys};

use super::tables;
use crate::error::Error;
use crate::pg::report::ErrorReport;
use crate::pg::worker::main::pin_settings;
use crate::pg::worker::{signals, work};

/// One check.
///
/// # Safety
/// Called by PostgreSQL, with the oid of a database.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn password_verify_check(database: pg_sys::Datum) {
    signals::end_at_once();
    let flags = pg_sys::BGWORKER_BYPASS_ALLOWCONN;
    // SAFETY: if the database does not exist, PostgreSQL ends this process. As for a worker, without a user.
    unsafe {
        let oid = pg_sys::Oid::from(database.value() as u32);
        pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, flags);
    }
    pin_settings();
    let checked = AssertUnwindSafe(|| work::transaction(|| tables::run(|_| {})));
    let checked = PgTryBuilder::new(checked).execute();
    match checked {
        Ok(report) => report.tell(),
        // The extension has been dropped meanwhile.
        Err(Error::Dropped | Error::SchemaRenamed) => {}
        Err(error) => ErrorReport::from(error).report(pgrx::PgLogLevel::LOG),
    }
}
