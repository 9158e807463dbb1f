//! The encoding of the audit: folded rows, a chain of MACs, signed log lines.
//!
//! | module | subject |
//! | --- | --- |
//! | [`fold`] | counted rows for events that repeat during a flood |
//! | [`chain`] | tamper evidence: each row's MAC covers the previous row's |
//! | [`anchor`] | where all of it ended, sealed |
//! | [`ecs`] | events as systems read them that collect the events of many |
//! | [`log_line`] | lines of the server log that a login cannot forge |
//! | [`name`] | names of roles and applications as text |
//! | [`subject`] | subjects of certificates as text |

pub mod anchor;
pub mod chain;
pub mod ecs;
pub mod fold;
pub mod log_line;
pub mod name;
pub mod subject;
