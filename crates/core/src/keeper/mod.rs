//! What the keeper needs to use a kept secret: keys, the vaults that lock them, where a secret may
//! be sent, and when.
//!
//! | module | subject |
//! | --- | --- |
//! | [`destination`] | where a kept secret may be sent |
//! | [`data_key`] | the random key of one secret |
//! | [`vault`] | a user's vault: its key, locked by the vault password |
//! | [`handle`] | the handle of an unlocked vault |
//! | [`schedule`] | when a job is due |
//! | `codes` | the codes of jobs and secrets |
//! | `cipher` | the encryption that all of them use |

mod cipher;
mod codes;
pub mod data_key;
pub mod destination;
pub mod handle;
pub mod schedule;
pub mod vault;
