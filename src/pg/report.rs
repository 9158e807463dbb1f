//! Reports errors of this extension as PostgreSQL errors.

use pgrx::PgLogLevel;

pub use pgrx::pg_sys::errcodes::PgSqlErrorCode as SqlState;
pub use pgrx::pg_sys::panic::ErrorReport;

/// The function name in every error of this extension, by which redaction recognises errors to log
/// without the statement.
pub const ROUTINE: &str = "password_verify";

/// Logs which record an error is about: in the server log only, whatever level of messages the
/// client has requested.
pub fn log_record(message: &str, number: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let message = format!("{message}: {number}");
    ErrorReport::new(state, message, ROUTINE).report(PgLogLevel::LOG_SERVER_ONLY);
}
