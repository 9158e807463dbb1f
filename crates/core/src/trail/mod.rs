//! The audit as bytes: folded, chained, signed.
//!
//! | module | idea |
//! | --- | --- |
//! | [`fold`] | what repeats during a flood becomes counted rows |
//! | [`chain`] | tamper evidence: each row's MAC covers the one before it |
//! | [`log_line`] | lines of the server log that a login cannot make |
//! | [`name`] | names that come as bytes |

pub mod chain;
pub mod fold;
pub mod log_line;
pub mod name;
