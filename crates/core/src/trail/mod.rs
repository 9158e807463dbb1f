//! The encoding of the audit: folded rows, a chain of MACs, signed log lines.
//!
//! | module | subject |
//! | --- | --- |
//! | [`fold`] | counted rows for events that repeat during a flood |
//! | [`audit_id`] | user ids as keyed digests |
//! | [`chain`] | tamper evidence: each row's MAC covers the previous row's |
//! | [`anchor`] | where all of it ended, sealed |
//! | [`erasable`] | user ids that can be erased while the chain holds |
//! | [`forgotten`] | what an event says of ids that were erased |
//! | [`ecs`] | events as systems read them that collect the events of many |
//! | [`json_object`] | JSON in one pass |
//! | [`log_line`] | lines of the server log that a login cannot forge |
//! | [`name`] | names of roles and applications as text |
//! | [`subject`] | subjects of certificates as text |

pub mod anchor;
pub mod audit_id;
pub mod chain;
pub mod ecs;
pub mod erasable;
pub mod fold;
pub mod forgotten;
mod json_object;
pub mod log_line;
pub mod name;
pub mod subject;
