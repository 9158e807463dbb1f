//! How an error of ours becomes PostgreSQL's.

use pgrx::PgLogLevel;

pub use pgrx::pg_sys::errcodes::PgSqlErrorCode as SqlState;
pub use pgrx::pg_sys::panic::ErrorReport;

/// What every error of ours has as the name of its function: by it the statement is kept out of the log.
pub const ROUTINE: &str = "password_verify";

/// Which record an error is about, for the server log only, whatever level of messages the client has asked
/// for.
pub fn log_record(message: &str, number: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let message = format!("{message}: {number}");
    ErrorReport::new(state, message, ROUTINE).report(PgLogLevel::LOG_SERVER_ONLY);
}
