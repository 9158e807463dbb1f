//! What a protocol is to the rest of the keeper. IMAP is one; SMTP and HTTP can come without touching it.

use password_verify_core::rules::secret::Secret;
use serde_json::Value;

use crate::job::Job;
use crate::trouble::Trouble;

/// Does what a job asks for.
pub trait Connector {
    /// Uses the secret of the job, at its destination only, and delivers what comes of it.
    ///
    /// # Errors
    /// [`Trouble`]: why it did not come to its end. What was delivered before stays.
    fn run<D: Desk>(
        &self,
        job: &Job,
        desk: &mut D,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// What a connector may do with its job in the database.
pub trait Desk: Send {
    /// Opens the secret: an attempt on record, three times a lease at most.
    fn open(&mut self) -> impl Future<Output = Result<Secret, Trouble>> + Send;

    /// Keeps what the use of the secret has made of it, in a transaction of its own. When it returns, it is kept.
    fn store_rotated(
        &mut self,
        secret: &Secret,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Delivers a result and how far it has come, both or neither.
    fn deliver(
        &mut self,
        result: &Value,
        progress: &Value,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
}
