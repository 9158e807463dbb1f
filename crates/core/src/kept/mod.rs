//! The stored formats of secrets, covered by test vectors and property tests.
//!
//! | module | subject |
//! | --- | --- |
//! | [`verifier`] | the verifier of a password, a PHC string: made, parsed, compared |
//! | [`record`] | the record of a user: a verifier, or the hash of another system |
//! | [`renewal`] | replacing a record that is weaker than the current settings |
//! | [`workspace`] | the memory in which a hash is computed |
//! | [`blind_index`] | the place of a user's record, a keyed hash |
//! | [`keyring`] | the keys from which all others are derived: the pepper |
//! | [`row_mac`] | the MAC of a row, and what rows add to the sum of their table |
//! | [`seal`] | encryption of stored secrets, bound to where they are stored |

pub mod blind_index;
pub mod keyring;
pub mod record;
pub mod renewal;
pub mod row_mac;
pub mod seal;
pub mod verifier;
pub mod workspace;
