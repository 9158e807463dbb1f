//! The rules, to be read first: who pays for an attempt, what a right answer is worth, what may become a
//! password, and what is recorded.
//!
//! | module | idea |
//! | --- | --- |
//! | [`secret`] | a plaintext in memory: wiped on drop, never printed, cloned or compared |
//! | [`user_id`] | one user, one spelling |
//! | [`policy`] | what may become a password (NIST SP 800-63B-4) |
//! | [`history`] | earlier passwords, so that none is used again |
//! | [`authenticator`] | every secret that is tested: who pays, and what a right one is worth |
//! | [`throttle`] | how often a secret may be tried, before it is tested |
//! | [`repeat`] | a wrong password that comes again |
//! | [`client_addr`] | one client, one address |
//! | [`account`] | what is kept of an account beside its password |
//! | [`reset_token`] | a token with which a password can be reset once |
//! | [`cost`] | Argon2id parameters with a floor and a ceiling |
//! | [`clock`] | what can be believed of a clock that somebody may set |
//! | [`reason`] | every answer other than yes |
//! | [`event`] | what is recorded |

pub mod account;
pub mod authenticator;
pub mod client_addr;
pub mod clock;
pub mod cost;
pub mod event;
pub mod history;
pub mod policy;
pub mod reason;
pub mod repeat;
pub mod reset_token;
pub mod secret;
pub mod throttle;
pub mod user_id;
