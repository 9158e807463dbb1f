//! What all sessions share: one piece of memory, sized when the server starts. It holds plain
//! integers and bytes only, because every process maps it and a crashed one must not leave a
//! pointer. While a lock is held, nothing is called in which PostgreSQL could raise an error.
//!
//! | file | what lies there |
//! | --- | --- |
//! | [`segment`] | all of it: how large it is, and how it is made |
//! | [`piece`] | where each part lies, and the locks |
//! | [`condition`] | condition variables |
//! | [`board`] | counters and conditions of a database, which need no lock |
//! | [`central`] | the queue and the databases, under one lock |
//! | [`queue`], [`note`] | events on their way to the worker |
//! | [`databases`] | which worker serves which database |
//! | [`budgets`] | the cache in front of `password_verify.throttle` |
//! | [`slots`] | the hash slots and the queue for them |
//! | [`renewals`] | rehashed records on their way to the worker |
//! | [`traffic`] | moves between cost classes and counts of all records, under one lock |
//! | [`moves`], [`passes`] | the operations on them |
//! | [`published`], [`list`] | the list of breached passwords that a reload has put in place |
//! | [`reloads`], [`lines`] | how often a file was reloaded; numbers for lines of the log |

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
