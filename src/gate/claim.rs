//! Who claims something, and how an attempt ends early.

use core::net::IpAddr;

use password_verify_core::rules::user_id::UserId;

use crate::answer::Denial;
use crate::error::Error;
use crate::pg::session::attempt::Conclusion;

/// Who claims to know it.
pub struct Claimant {
    /// As whom. `None`: the secret itself names its owner.
    pub user: Option<UserId>,
    /// From where, as the application says.
    pub client: Option<IpAddr>,
}

/// An attempt that comes no further.
pub enum Ended {
    /// It is answered, and that is on record, or there was no place to record it in.
    Refused(Option<Conclusion>, Denial),
    /// It stays charged if its test had begun, and is recorded as abandoned.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
