//! Reads the keyring file.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::rules::secret::Secret;

use crate::failure::Failure;

/// Reads a keyring. Warns if other users can read or write it, because the server would refuse it.
///
/// # Errors
/// [`Failure::Failed`], which never contains any of the keyring's text.
pub fn read(path: &Path) -> Result<Keyring, Failure> {
    let name = path.display();
    let unread = |error| Failure::read(&name.to_string(), &error);
    if !is_private(&fs::metadata(path).map_err(unread)?) {
        crate::say(&format!(
            "warning: others can use the keyring {name}: let it be 0600, or 0640 if root owns it"
        ));
    }
    let text = Secret::new(fs::read_to_string(path).map_err(unread)?);
    Keyring::parse(text.expose())
        .map_err(|wrong| Failure::Failed(format!("{name} is not a keyring: {wrong}")))
}

/// Whether the file is as private as the server demands.
pub fn is_private(file: &Metadata) -> bool {
    file.mode() & if file.uid() == 0 { 0o027 } else { 0o077 } == 0
}
