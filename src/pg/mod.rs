//! The only place for `unsafe` and for PostgreSQL's own functions.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`arg`] | function arguments | a user id is canonical, a password is bounded before it is read, copies are wiped |
//! | [`row`] | composite results | as many columns as were declared |
//! | [`session`] | preloading, time, waiting, read-only | facts about the call, not about its arguments |
//! | [`table`] | tables, indexes, tuples | closed whatever happens, waited for until a deadline |
//! | `lock` | locks of tables | never in PostgreSQL's queue |
//! | `shape` | what the tables look like | as they were created, or an error that says what is in the way |
//! | `write` | writes | as the executor writes: every index, every constraint |
//! | [`scan`] | index scans | the committed state; no planner, no setting in between |
//! | `text` | text and bytes | UTF-8 on this side; what comes in leaves no copy |
//! | [`uncounted`] | statistics | reads that are not counted |
//! | [`credential`] | one row of `password_verify.credential` | typed in, typed out |
//! | [`accounts`] | `password_verify.account` | what is missing or altered is an error |
//! | [`key`] | the key of the blind index | one key, or an error |
//! | [`list`] | dynamic shared memory for a file | a whole one or none; freed when nobody reads it |
//! | [`log`] | the log hook | our errors are logged without the statement |
//! | [`place`] | a lock on a place of the index | never waits, never leaves the call |
//! | [`shared`] | shared memory | locks that are given back, waits that end |
//! | [`attempt`] | an attempt | stays charged and recorded whatever ends the session |
//! | [`slot`] | a hash slot | given back whatever ends the session |
//! | [`transaction`] | changes | recorded before the transaction can commit |
//! | [`caller`] | who calls | as the server knows it |
//! | `moves` | records that change their class of cost | counted once they are committed |
//! | `recount` | an exact count of records, a slice at a time | what it finds in the way stops nothing else |
//! | [`keyed`], [`ledger`], [`folds`], [`changes`], [`journal`], [`cost_classes`] | the worker's tables | typed in, typed out |
//! | [`worker`], `writer`, `batch`, `ends`, `tidy`, `work`, `record` | the worker | one batch, one transaction |
//! | [`rename`], [`carried`] | another id for a user | record and budgets, neither waited for |
//! | [`renewals`] | records made anew at a login | written by the worker, or not at all |
//! | [`keyring`], `key_file` | the keys | from a private file outside the data directory or from a command, or no server |
//! | [`extension`], [`statistics`] | facts | |
//! | [`store`] | reads and writes of credentials | the committed state, bounded waiting, same reads for known and unknown users |
#![allow(unsafe_code)]

pub mod accounts;
pub mod arg;
pub mod attempt;
mod batch;
pub mod caller;
pub mod carried;
pub mod changes;
pub mod cost_classes;
pub mod credential;
mod ends;
pub mod extension;
pub mod folds;
pub mod journal;
pub mod key;
mod key_file;
pub mod keyed;
pub mod keyring;
pub mod ledger;
pub mod list;
pub mod lock;
pub mod log;
mod moves;
pub mod offer;
pub mod place;
mod record;
mod recount;
pub mod redaction;
pub mod rename;
mod renewals;
pub mod report;
pub mod row;
pub mod scan;
pub mod session;
mod shape;
pub mod shared;
pub mod slot;
pub mod statistics;
pub mod store;
pub mod table;
mod text;
mod tidy;
pub mod transaction;
pub mod uncounted;
pub mod verify_events;
mod work;
pub mod worker;
mod write;
mod writer;
