//! The rules of password_verify as pure functions.
//!
//! Nothing here knows PostgreSQL, reads a clock, draws a random number or does I/O: time, salts and
//! keys are arguments. That is what makes the rules testable without a server.
//!
//! | module | subject |
//! | --- | --- |
//! | [`rules`] | the decisions |
//! | [`kept`] | the stored formats of secrets |
//! | [`keeper`] | what is kept for a keeper: keys, vaults, destinations, times |
//! | [`trail`] | the encoding of the audit |
//! | [`decoys`] | unknown users |
//! | [`redaction`] | what is taken out of logs and views |
//! | [`strength`] | how easily a password is guessed |
#![forbid(unsafe_code)]

pub mod decoys;
pub mod keeper;
pub mod kept;
pub mod redaction;
pub mod rules;
pub mod strength;
pub mod trail;
