//! The results of a call other than yes: a denial, which is data, or an error.

use password_verify_core::kept::workspace::OutOfMemory;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::reason::Reason;

use crate::error::Error;

/// Why the answer is no. The caller's transaction survives a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// The reason that the caller is told.
    pub reason: Reason,
    /// When another attempt makes sense, if that is known.
    pub until: Option<Timestamp>,
}

/// Why a call does not end in yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The answer is no.
    Denied(Denial),
    /// The call is misused, or cannot keep a promise.
    Failed(Error),
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { reason, until: None }
    }
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Denied(reason.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<OutOfMemory> for Stop {
    fn from(error: OutOfMemory) -> Self {
        Self::Failed(error.into())
    }
}

/// Separates an answer, for functions that return a `reason`, from an error.
///
/// # Errors
/// The error of [`Stop::Failed`].
pub fn answer(result: Result<(), Stop>) -> Result<Result<(), Denial>, Error> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(Stop::Denied(denial)) => Ok(Err(denial)),
        Err(Stop::Failed(error)) => Err(error),
    }
}
