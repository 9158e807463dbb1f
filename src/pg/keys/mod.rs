//! The keyring, and what is made with its keys. No key leaves this folder, except derived ones for the
//! audit chain and the log.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`keyring`], [`key_file`] | the keys | read from a private file outside the data directory or from a command, or the server does not start |
//! | [`rows`] | MACs of rows | what was written without a key is told apart |
//! | [`unsealed`] | rows from before there was a keyring | accepted only while a setting says so |

pub mod key_file;
pub mod keyring;
pub mod rows;
pub mod unsealed;
