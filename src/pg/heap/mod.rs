//! Access to tables without the planner: they are read and written directly, so that no setting,
//! view, rule or plan of the calling session comes in between.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`table`] | tables, indexes, tuples | closed whatever happens, waited for until a deadline |
//! | [`lock`] | locks of tables | never queues for one |
//! | [`shape`] | what the tables look like | as they were created, or an error that says what is in the way |
//! | [`mod@write`] | writes | as the executor writes: every index, every constraint |
//! | [`scan`] | index scans | the committed state; no planner, no setting in between |
//! | [`uncounted`] | statistics | reads that are not counted |
//! | [`place`] | a lock on a place of the index | never waits, never outlives the call |
//! | [`text`] | text and bytes | UTF-8 on this side; incoming text leaves no copy |

pub mod lock;
pub mod place;
pub mod scan;
pub mod shape;
pub mod table;
pub mod text;
pub mod uncounted;
pub mod write;
