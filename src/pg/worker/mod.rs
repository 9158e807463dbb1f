//! The background workers: they write the audit trail and the throttle budgets, and clean up.
//!
//! | file | does |
//! | --- | --- |
//! | [`main`] | a worker's life: attaches to a database, writes while there is work, exits |
//! | [`forget`] | erases the ids of users who are to be forgotten, a slice at a time |
//! | [`launch`] | tells PostgreSQL of the processes |
//! | [`arrival`] | what it finds when it comes, and whether that is what was left |
//! | [`anchored`] | the anchor, as it was last written |
//! | [`writer`], [`batch`] | one batch of events and budgets, in one transaction |
//! | [`ends`] | records how transactions with changes ended |
//! | [`tidy`] | removes expired events and budgets, a slice at a time |
//! | [`recount`] | counts all records exactly, a slice at a time |
//! | [`renewals`] | stores records that logins have rehashed |
//! | [`served`] | the tables that it serves, for as long as they are those |
//! | [`signals`] | signal handlers: stop and reload |
//! | [`sweep`] | deletes what the keeper keeps no longer, a slice at a time |
//! | [`work`], [`apart`] | runs a worker's transaction; one that may fail |

pub mod anchored;
pub mod apart;
pub mod arrival;
pub mod batch;
pub mod ends;
pub mod forget;
pub mod launch;
pub mod main;
pub mod recount;
pub mod renewals;
pub mod served;
pub mod signals;
pub mod sweep;
pub mod tidy;
pub mod told;
pub mod work;
pub mod writer;
