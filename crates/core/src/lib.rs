//! The rules of password_verify as pure functions.
//!
//! Nothing here knows PostgreSQL, reads a clock, draws a random number or does I/O: time, salt and
//! key come in as arguments. That is what makes the rules testable without a server.
//!
//! | folder | |
//! | --- | --- |
//! | [`rules`] | what decides |
//! | [`kept`] | what is kept of a secret, and how |
//! | [`trail`] | the audit as bytes |
//! | [`decoys`] | unknown users |
//! | [`strength`] | how easily a password is guessed |
#![forbid(unsafe_code)]

pub mod decoys;
pub mod kept;
pub mod rules;
pub mod strength;
pub mod trail;
