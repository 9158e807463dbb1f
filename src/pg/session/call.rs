//! What a call requires before anything else.

use crate::error::Error;
use crate::pg::{redaction, server};

/// For functions that take or give a secret, before they look at it: see
/// [`server::require_ready_for_secret`]. From here on the client's statement is redacted, in the
/// error that may follow too.
///
/// # Errors
/// Those of [`server::require_ready_for_secret`].
pub fn require_ready_for_secret() -> Result<(), Error> {
    redaction::begin_call();
    server::require_ready_for_secret()
}

/// The same for a call that could take one, and does not.
///
/// # Errors
/// Those of [`server::require_ready`].
pub fn require_ready() -> Result<(), Error> {
    redaction::begin_call();
    server::require_ready()
}
