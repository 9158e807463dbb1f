//! The only place for `unsafe` and for PostgreSQL's own functions.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`arg`] | function arguments | a user id is canonical, a password is bounded before it is read, copies are wiped |
//! | [`row`] | composite results | as many columns as were declared |
//! | [`session`] | preloading, time, waiting, read-only | facts about the call, not about its arguments |
//! | [`table`] | tables, indexes, tuples | closed whatever happens |
//! | [`scan`] | index scans | the committed state; no planner, no setting in between |
//! | `text` | text and bytes | UTF-8 on this side; what comes in leaves no copy |
//! | [`uncounted`] | statistics | reads that are not counted |
//! | [`credential`] | one row of `password_verify.credential` | typed in, typed out |
//! | [`key`] | the key of the blind index | one key, or an error |
//! | [`log`] | the log hook | our errors are logged without the statement |
//! | [`place`] | a lock on a place of the index | never waits, never leaves the call |
//! | [`store`] | reads and writes of credentials | the committed state, bounded waiting, same reads for known and unknown users |
#![allow(unsafe_code)]

pub use pgrx::pg_sys::errcodes::PgSqlErrorCode as SqlState;
pub use pgrx::pg_sys::panic::ErrorReport;

pub mod arg;
pub mod credential;
pub mod key;
pub mod log;
pub mod place;
pub mod row;
pub mod scan;
pub mod session;
pub mod store;
pub mod table;
mod text;
pub mod uncounted;
