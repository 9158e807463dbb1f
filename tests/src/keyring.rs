//! Keyrings of servers under test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use postgres::Client;

use crate::cluster::{PRELOADED, run};
use crate::{Cluster, Site};

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

/// The line of a keyring for that key.
pub fn line(id: &str, key: &str) -> String {
    format!("{id}:{key}\n")
}

/// What the server's keyring file holds from now on. It has to be told.
pub fn put(cluster: &Cluster, keys: &str) {
    keyring(cluster, "keys", keys, 0o600);
}

/// A server of one's own with that keyring.
pub fn sealed_server(keys: &str) -> Arc<Cluster> {
    sealed_server_with(keys, &[])
}

/// The same with more settings.
pub fn sealed_server_with(keys: &str, settings: &[&str]) -> Arc<Cluster> {
    let cluster = Cluster::init();
    let path = keyring(&cluster, "keys", keys, 0o600);
    cluster.configure(&[PRELOADED, &[&setting(&path)], settings].concat());
    cluster.up();
    Arc::new(cluster)
}

/// Rows without a MAC count beside those with one.
pub const ACCEPT_UNSEALED: &str = "password_verify.accept_unsealed = 'on'";

/// A site with that keyring where unsealed rows count.
pub fn open_site(keys: &str) -> Site {
    Site::on(sealed_server_with(keys, &[ACCEPT_UNSEALED]))
}

/// A site on it.
pub fn sealed_site(keys: &str) -> Site {
    Site::on(sealed_server(keys))
}

/// Restarts the server with that keyring.
pub fn restart(cluster: &Cluster, keys: &str) {
    cluster.down();
    put(cluster, keys);
    cluster.up();
}

/// `pg_ctl reload`, which returns before anybody has read anything.
pub fn reload(cluster: &Cluster) {
    run(cluster.command("pg_ctl").arg("-D").arg(cluster.data()).arg("reload"));
}

/// The id of the key that a user's record is sealed with, as `pv_users` shows it.
pub fn key_of(client: &mut Client, user: &str) -> Option<String> {
    let sql = "SELECT key_id FROM auth.pv_users WHERE user_id = $1";
    client.query_one(sql, &[&user]).unwrap().get(0)
}

/// The id of the key that this session seals with now.
pub fn active_key(client: &mut Client) -> Option<String> {
    client.query_one("SELECT key_id FROM auth.pv_keys WHERE active", &[]).unwrap().get(0)
}
