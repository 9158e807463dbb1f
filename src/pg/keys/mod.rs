//! The keyring, and what is made with its keys. No key leaves this folder, except derived ones for the
//! audit chain and the log.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`keyring`], [`key_file`] | the keys | read from a private file outside the data directory or from a command, or the server does not start |

pub mod key_file;
pub mod keyring;
