//! Keyrings of servers under test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Cluster;
use crate::cluster::run;

/// 32 random bytes in base64.
pub fn fresh_key() -> String {
    let output = run(Command::new("openssl").args(["rand", "-base64", "32"]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A file beside the data directory that belongs to the server's user. It is there at once, whatever was
/// there before.
pub fn keyring(cluster: &Cluster, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = cluster.folder().join(name);
    let new = cluster.folder().join(format!("{name}.new"));
    fs::write(&new, text).unwrap();
    let owner = fs::metadata(cluster.data()).unwrap();
    let _ = chown(&new, Some(owner.uid()), Some(owner.gid()));
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// The line of `postgresql.conf` that names it.
pub fn setting(path: &Path) -> String {
    format!("password_verify.keyring_file = '{}'", path.display())
}
