//! What is kept, sealed: credentials, accounts, and the keys.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`store`] | reads and writes of credentials | the committed state, bounded waiting, same reads for known and unknown users |
//! | [`credential`] | one row of `password_verify.credential` | typed in, typed out; unsealed here and nowhere else |
//! | [`accounts`] | `password_verify.account` | what is missing or altered is an error |
//! | [`key`] | the key of the blind index | one key, or an error |
//! | [`keyring`], [`key_file`] | the keys | from a private file outside the data directory or from a command, or no server |
//! | [`rename`] | another id for a user | not waited for |
//! | [`cost_classes`], [`moves`] | what records cost, apart from whose they are | counted once they are committed |

pub mod accounts;
pub mod cost_classes;
pub mod credential;
pub mod key;
pub mod key_file;
pub mod keyring;
pub mod moves;
pub mod rename;
pub mod store;
