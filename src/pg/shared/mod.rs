//! What all sessions share: one piece of memory, sized when the server starts.
//!
//! | file | what lies there |
//! | --- | --- |
//! | [`segment`] | all of it: how large it is, and how it is made |
//! | [`piece`] | where each part lies, and the locks |
//! | [`condition`] | condition variables |
//! | [`board`] | counters and conditions of a database, which need no lock |
//! | [`central`] | the queue and the databases, under one lock |
//! | [`queue`], [`note`] | events on their way to the worker |
//! | [`databases`] | who serves which database |
//! | [`budgets`] | the cache in front of `password_verify.throttle` |
//! | [`slots`] | how many hash at once, and who is next |
//! | [`renewals`] | records made anew, on their way to the worker |
//! | [`traffic`] | records that move between classes of cost, and counts of all, under one lock |
//! | [`moves`], [`passes`] | what is done with them |
//! | [`published`], [`list`] | the list of breached passwords that a reload has put in place |
//! | [`reloads`], [`lines`] | how often a file was read again; numbers for lines of the log |
//!
//! Plain integers and bytes only: every process maps it, and a crashed one must not leave a pointer.
//! Nothing that PostgreSQL could raise an error in is called while a lock is held.

pub mod board;
pub mod budgets;
pub mod central;
pub mod condition;
pub mod databases;
pub mod lines;
pub mod list;
pub mod moves;
pub mod note;
pub mod passes;
pub mod piece;
pub mod published;
pub mod queue;
pub mod reloads;
pub mod renewals;
pub mod segment;
pub mod slots;
pub mod traffic;
