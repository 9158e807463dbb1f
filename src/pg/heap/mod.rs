//! Access to tables without the planner: they are read and written directly, so that no setting,
//! view, rule or plan of the calling session comes in between.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`table`] | tables and indexes | closed whatever happens, waited for until a deadline |
//! | [`lock`] | locks of tables | never queues for one |
//! | [`row`] | rows | each has a MAC, which is checked when it is read |
//! | [`shape`] | what the tables look like | as they were created, or an error that says what is in the way |
//! | [`mod@write`] | writes | as the executor writes: every index, every constraint |
//! | [`scan`] | index scans | the committed state; no planner, no setting in between |
//! | [`descent`] | the way to one row | it leads there, whatever the index has become |
//! | [`whole`] | a whole table | as of one snapshot |
//! | [`uncounted`] | statistics | reads that are not counted |
//! | [`moment`] | a snapshot | one moment for several tables |
//! | [`place`] | a lock on a place of the index | never waits, never outlives the call |
//! | [`text`] | text and bytes | UTF-8 on this side; incoming text leaves no copy |

pub mod descent;
pub mod lock;
pub mod moment;
pub mod place;
pub mod row;
pub mod scan;
pub mod shape;
pub mod table;
pub mod text;
pub mod uncounted;
pub mod whole;
pub mod write;
