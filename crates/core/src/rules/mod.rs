//! The rules, to be read first: who pays for an attempt, what a right answer is worth, what may
//! become a password, and what is recorded. Every rule is a pure function.
//!
//! | module | subject |
//! | --- | --- |
//! | [`secret`] | a plaintext in memory: wiped on drop, never printed or copied by accident |
//! | [`user_id`] | the canonical spelling of a user id |
//! | [`policy`] | what may become a password (NIST SP 800-63B-4) |
//! | [`history`] | former passwords, which are not used again |
//! | [`purpose`] | every kind of test: who pays, and what a right secret is worth |
//! | [`throttle`] | how often a secret may be tried |
//! | [`repeat`] | recognising a repeated wrong password |
//! | [`client_addr`] | the canonical form of a client address |
//! | [`connection`] | what a connection must be for a secret to cross it |
//! | [`account`] | the terms of a password and the state of an account |
//! | [`reset_token`] | a token that resets a password once |
//! | [`cost`] | Argon2id parameters with a floor and a ceiling |
//! | [`clock`] | how far to trust a clock that can be set |
//! | [`reason`] | every answer other than yes |
//! | [`event`] | audit events |

pub mod account;
pub mod client_addr;
pub mod clock;
pub mod connection;
pub mod cost;
pub mod event;
pub mod history;
pub mod policy;
pub mod purpose;
pub mod reason;
pub mod repeat;
pub mod reset_token;
pub mod secret;
pub mod throttle;
pub mod user_id;
