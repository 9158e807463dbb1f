//! What the mail servers have in common: a daemon in a folder of its own, with two ports and a certificate.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certificates::Identity;
use super::client;
use super::daemon::Daemon;
use super::place::write;
use super::ports::Port;

/// A server that runs, unless it was killed.
pub struct Server {
    // Before the folder, so that it has ended when that is removed.
    pub(super) daemon: Daemon,
    pub(super) folder: TempDir,
    pub(super) imaps: Port,
    pub(super) imap: Port,
    /// The file with its number as a process.
    pub(super) pid: &'static str,
}

impl Server {
    /// The port that speaks TLS from the start.
    pub fn imaps_port(&self) -> u16 {
        self.imaps.number
    }

    /// The port that wants STARTTLS.
    pub fn starttls_port(&self) -> u16 {
        self.imap.number
    }

    /// `kill -9` of all its processes. Returns when all have ended.
    pub fn kill(&self) {
        self.daemon.kill();
    }

    /// Starts it after that, on the same ports, with the same mails. Returns when it answers.
    pub fn restart(&self) {
        // With a number that may be somebody else's by now.
        let _ = fs::remove_file(self.path(self.pid));
        self.daemon.start(|| client::greets(self.imap.number));
    }

    /// Another certificate, from the next start on.
    pub fn present(&self, identity: &Identity) {
        write(&self.path("cert.pem"), fs::read(&identity.certificate).unwrap());
        write(&self.path("key.pem"), fs::read(&identity.key).unwrap());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
