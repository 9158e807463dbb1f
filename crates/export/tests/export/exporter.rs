//! A server with the extension, and the command.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::{Cluster, GOOD, Site};
use tempfile::TempDir;

pub struct Exporter {
    pub folder: TempDir,
    pub keyring: PathBuf,
    pub site: Site,
}

/// What the command answered.
pub struct Told {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn key() -> String {
    let output = run(Command::new("openssl").args(["rand", "-base64", "32"]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A file for the server and for us.
pub fn write_keyring(path: &Path, cluster: &Cluster, text: &str) {
    fs::write(path, text).unwrap();
    let owner = fs::metadata(cluster.data()).unwrap();
    let _ = chown(path, Some(owner.uid()), Some(owner.gid()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Exporter {
    /// A server with a keyring, and one user, `unsealed`, from before there was one.
    pub fn new() -> Self {
        let cluster = Arc::new(Cluster::start(PRELOADED));
        let site = Site::on(Arc::clone(&cluster));
        site.enroll("unsealed", GOOD);
        cluster.down();
        let keyring = cluster.folder().join("keys");
        write_keyring(&keyring, &cluster, &format!("old:{}\nnew:{}\n", key(), key()));
        let setting = format!("password_verify.keyring_file = '{}'", keyring.display());
        cluster.configure(&[&setting, "password_verify.accept_unsealed = 'until_rotated'"]);
        cluster.up();
        Self { folder: tempfile::tempdir().unwrap(), keyring, site }
    }

    pub fn dump(&self, zone: &str, options: &[&str]) -> Vec<u8> {
        let mut pg_dump = self.site.cluster.command("pg_dump");
        run(pg_dump.env("PGTZ", zone).args(options).arg(&self.site.database)).stdout
    }

    /// A plain dump, as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.dump("UTC", &[])).unwrap()
    }

    /// Runs the command with that on its standard input.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Told {
        let mut child = Command::new(env!("CARGO_BIN_EXE_password_verify_export"))
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // It may end without reading everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let told =
            Told { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) };
        for secret in ["$argon2id", "$2b$", "$sealed", "$kept", "$locked"] {
            assert!(!told.stderr.contains(secret), "{}", told.stderr);
        }
        told
    }

    /// To standard output, with a keyring.
    pub fn export(&self, keyring: &Path, dump: &[u8]) -> Told {
        self.run(&["--keyring", keyring.to_str().unwrap(), "--output", "-", "-"], dump)
    }

    /// The same, where all is well.
    pub fn exported(&self, dump: &[u8]) -> String {
        let told = self.export(&self.keyring, dump);
        assert_eq!(told.code, 0, "{}", told.stderr);
        told.stdout
    }
}
