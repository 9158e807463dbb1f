//! What all sessions share: one piece of memory, sized when the server starts.
//!
//! | file | what lies there |
//! | --- | --- |
//! | [`segment`] | the piece itself and its locks |
//! | [`condition`] | condition variables |
//! | [`budgets`] | the cache in front of `password_verify.throttle` |
//! | [`published`] | which list of breached passwords a reload has put in place |
//! | [`queue`] | events on their way to the worker |
//! | [`renewals`] | records made anew, on their way to the worker |
//! | [`slots`] | how many hash at once, and who is next |
//! | [`moves`] | records that have moved from one class of cost to another, on their way to the worker |
//! | [`passes`] | how far counts of all records have come, which go on meanwhile |
//! | [`list`] | a list of breached passwords that a reload has read |
//! | [`databases`] | who serves which database, and what it has counted |
//!
//! Plain integers and bytes only: every process maps it, and a crashed one must not leave a pointer.
//! Nothing that PostgreSQL could raise an error in is called while a lock is held.

pub mod budgets;
pub mod condition;
pub mod databases;
pub mod list;
pub mod moves;
pub mod passes;
pub mod published;
pub mod queue;
pub mod renewals;
pub mod segment;
pub mod slots;
