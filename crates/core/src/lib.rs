//! The rules of password_verify as pure functions.
//!
//! Nothing here knows PostgreSQL, reads a clock, draws a random number or does I/O: time, salt and
//! key come in as arguments. That is what makes the rules testable without a server.
//!
//! | module | idea |
//! | --- | --- |
//! | [`secret`] | a plaintext in memory: wiped on drop, never printed, cloned or compared |
//! | [`user_id`] | one user, one spelling |
//! | [`policy`] | what may become a password (NIST SP 800-63B-4) |
//! | [`common`] | passwords that everybody thinks of, however they are dressed up |
//! | `strength` | how many guesses a password withstands, in bounded work |
//! | [`cost`] | Argon2id parameters with a floor and a ceiling |
//! | [`workspace`] | memory for a hash, and the way to compute it |
//! | [`verifier`] | the PHC string: made, parsed, compared |
//! | [`record`] | what is kept: such a verifier, or what another system kept |
//! | [`history`] | earlier passwords, so that none is used again |
//! | [`cost_class`] | what computing it costs, apart from whose it is |
//! | [`decoy`] | what an unknown user's password is hashed against |
//! | [`recount`] | an exact count of records while they move |
//! | [`reset_token`] | a token with which a password can be reset once |
//! | [`blind_index`] | where a user's record lies, under a key |
//! | [`throttle`] | how often a password may be tried, before it is hashed |
//! | [`client_addr`] | one client, one address |
//! | [`account`] | what is kept of an account beside its password |
//! | [`authenticator`] | every secret that is tested: who pays, and what a right one is worth |
//! | [`clock`] | what can be believed of a clock that somebody may set |
//! | [`reason`] | every answer other than yes |
//! | [`event`] | what is recorded |
//! | [`fold`] | what repeats during a flood becomes counted rows |
//! | [`chain`] | tamper evidence: each row's MAC covers the one before it |
//! | [`log_line`] | lines of the server log that a login cannot make |
//! | [`name`] | names that come as bytes |
//! | [`keyring`] | the file of keys from which all others are derived |
//! | [`seal`] | what is stored of a secret: sealed, and bound to where it is stored |
#![forbid(unsafe_code)]

pub mod account;
pub mod authenticator;
pub mod blind_index;
pub mod chain;
pub mod client_addr;
pub mod clock;
pub mod common;
pub mod cost;
pub mod cost_class;
pub mod decoy;
pub mod event;
pub mod fold;
pub mod history;
pub mod keyring;
pub mod log_line;
pub mod name;
pub mod policy;
pub mod reason;
pub mod record;
pub mod recount;
pub mod renewal;
pub mod repeat;
pub mod reset_token;
pub mod seal;
pub mod secret;
mod strength;
pub mod throttle;
pub mod user_id;
pub mod verifier;
pub mod workspace;
