//! The authenticators: one file for each kind of secret that the gate tests.

use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::hasher::Hasher;
use crate::answer::Stop;
use crate::error::Error;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::vault::store::Store;

pub mod former_passwords;
pub mod lease;
pub mod password;
pub mod reset_token;
pub mod vault_password;

/// An authenticator (NIST SP 800-63B-4): what a secret is compared with, and how.
/// [`password_verify_core::rules::purpose`] says who pays for the test and what a right secret is
/// worth.
pub trait Authenticator {
    /// What the secret is compared with.
    type Target;
    /// The proof that the secret was right. Only [`Authenticator::test`] makes one.
    type Proof;

    /// Finds the target. Steps and cost must not tell whether there is one.
    ///
    /// # Errors
    /// The error for a stored record that cannot be read.
    fn find(&self, store: &Store) -> Result<Self::Target, Error>;

    /// Compares the secret with its target.
    ///
    /// # Errors
    /// [`Reason::Busy`] when no hash slot comes free in time.
    fn test(self, target: Self::Target, hasher: &mut Hasher) -> Result<Verdict<Self::Proof>, Stop>;

    /// The user whose secret it was.
    fn owner(proof: &Self::Proof) -> &UserId;

    /// Adds to the event of an attempt whose secret was right.
    fn note(_proof: &Self::Proof, _event: &mut QueuedEvent) {}
}

/// The result of a comparison.
pub enum Verdict<P> {
    /// The secret is right. The `Result` is what the account's state makes of it.
    Right(P, Result<(), Reason>),
    /// The secret is wrong, or the user unknown. The mark recognises a repeated wrong password, if
    /// the policy forgives repeats.
    Wrong(Option<u64>),
}
