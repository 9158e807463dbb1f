//! What is kept of a secret, and how: formats that test vectors and property tests hold.
//!
//! | module | idea |
//! | --- | --- |
//! | [`verifier`] | the PHC string: made, parsed, compared |
//! | [`record`] | what is kept: such a verifier, or what another system kept |
//! | [`renewal`] | a record that is weaker than today's, made anew |
//! | [`workspace`] | memory for a hash, and the way to compute it |
//! | [`blind_index`] | where a user's record lies, under a key |
//! | [`keyring`] | the file of keys from which all others are derived |
//! | [`seal`] | what is stored of a secret: sealed, and bound to where it is stored |

pub mod blind_index;
pub mod keyring;
pub mod record;
pub mod renewal;
pub mod seal;
pub mod verifier;
pub mod workspace;
