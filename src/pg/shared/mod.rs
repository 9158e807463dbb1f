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
//! | [`queue`], [`queued_event`] | events on their way to the worker |
//! | [`databases`] | which worker serves which database |
//! | [`budgets`] | the cache in front of `password_verify.throttle` |
//! | [`slots`] | the hash slots and the queue for them |
//! | [`renewals`] | rehashed records on their way to the worker |
//! | [`unlocked`], [`opened`] | unlocked vaults; how many secrets were opened |
//! | [`class_counts`] | moves between cost classes and counts of all records, under one lock |
//! | [`blocklist`], [`mod@file`] | the list of breached passwords that a reload has put in place |
//! | [`reloads`], [`log_lines`] | how often a file was reloaded; numbers for lines of the log |
//! | [`redacted`] | statements whose secrets were redacted, by login |

pub mod blocklist;
pub mod board;
pub mod budgets;
pub mod central;
pub mod class_counts;
pub mod condition;
pub mod databases;
pub mod file;
pub mod log_lines;
pub mod opened;
pub mod piece;
pub mod queue;
pub mod queued_event;
pub mod redacted;
pub mod reloads;
pub mod renewals;
pub mod segment;
pub mod slots;
pub mod unlocked;
