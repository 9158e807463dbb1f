//! The file of keys.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::rules::secret::Secret;

use crate::failure::Failure;

/// Reads a keyring. Warns of one that others can read or write, which the server would refuse.
///
/// # Errors
/// [`Failure::Failed`], with nothing of what is in it.
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

/// As the server demands.
fn is_private(file: &Metadata) -> bool {
    file.mode() & if file.uid() == 0 { 0o027 } else { 0o077 } == 0
}
