//! The claimant of an attempt, and how an attempt ends early.

use core::net::IpAddr;

use password_verify_core::rules::user_id::UserId;

use crate::answer::Denial;
use crate::error::Error;
use crate::pg::session::attempt::Conclusion;

/// The claimant (NIST SP 800-63-4): the party that presents a secret.
pub struct Claimant {
    /// The user that the claimant claims to be. `None`: the secret itself names its owner.
    pub user: Option<UserId>,
    /// The client address, as reported by the application.
    pub client: Option<IpAddr>,
    /// The lease of a job: the job's number, and which of its leases it is.
    pub lease: Option<[u8; 16]>,
}

impl Claimant {
    /// Somebody who presents a secret of a user.
    pub fn of(user: &UserId, client: Option<IpAddr>) -> Self {
        Self { user: Some(user.clone()), client, lease: None }
    }
}

/// How an attempt ends before its test is finished.
pub enum Ended {
    /// It was denied. The denial is in the audit, or `None`: no place in the audit came free.
    Refused(Option<Conclusion>, Denial),
    /// It failed. It is recorded as abandoned, and stays charged if a hash had begun or the error
    /// comes from a record.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
