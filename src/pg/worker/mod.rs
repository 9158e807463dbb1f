//! What the background worker does: it writes the audit and the budgets, and tidies up.
//!
//! | file | does |
//! | --- | --- |
//! | [`main`] | a worker's life: attaches to a database, writes while there is work, ends |
//! | [`writer`], [`batch`] | one batch of events and budgets, in one transaction |
//! | [`ends`] | what became of changes whose transaction has ended |
//! | [`tidy`] | what is older than the retention, a slice at a time |
//! | [`recount`] | an exact count of records, a slice at a time |
//! | [`renewals`] | records that logins have made anew |
//! | [`signals`] | what a worker is told while it works |
//! | [`work`] | a transaction of a worker |
//! | [`verify_events`] | the chain of events, looked through |

pub mod batch;
pub mod ends;
pub mod main;
pub mod recount;
pub mod renewals;
pub mod signals;
pub mod tidy;
pub mod verify_events;
pub mod work;
pub mod writer;
