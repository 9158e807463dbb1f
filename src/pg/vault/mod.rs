//! Stored secrets, sealed: credentials and accounts. Nothing here returns a hash to SQL.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`store`] | reads and writes of credentials | the committed state, bounded waiting, same reads for known and unknown users |
//! | [`credential`] | one row of `password_verify.credential` | typed in, typed out; a hash is unsealed here and nowhere else |
//! | [`accounts`] | `password_verify.account` | a missing or altered row is an error |
//! | [`blind_index_key`] | the key of the blind index | one key, or an error |
//! | [`shares`] | what changes add to the sum of all rows | told with the event of the change |
//! | [`store::rename`] | another user id for a record | never waits for a lock |
//! | [`cost_classes`], [`class_moves`] | the costs of records, apart from their users | counted once they are committed |

pub mod accounts;
pub mod blind_index_key;
pub mod class_moves;
pub mod cost_classes;
pub mod credential;
pub mod shares;
pub mod store;
