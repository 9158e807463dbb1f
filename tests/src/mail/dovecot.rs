//! Dovecot in a temporary folder, stopped and removed when the test lets go of it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::{io, str};

use super::certificates::Certificates;
use super::client::Imap;
use super::daemon::{Daemon, command};
pub use super::dovecot_setup::Setup;
use super::maildir::Maildir;
use super::ports::Port;
use super::server::Server;
use super::{dovecot_conf, place};
use crate::cluster::run;
use crate::trail::wait_until;

/// A server that runs, unless it was killed.
pub struct Dovecot {
    server: Server,
    passwords: Mutex<String>,
}

/// What the server itself says of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub unseen: u32,
    pub uidvalidity: u32,
    pub uidnext: u32,
}

impl Dovecot {
    /// For users with passwords, with the good certificate.
    pub fn start(certificates: &Certificates, users: &[(&str, &str)]) -> Self {
        let setup = Setup::new(certificates);
        users.iter().fold(setup, |setup, (user, password)| setup.user(user, password)).start()
    }

    /// In a new folder, on new ports.
    pub(super) fn assemble(setup: &Setup) -> Self {
        let folder = place::folder();
        let at = folder.path();
        let (imaps, imap) = (Port::free(), Port::free());
        let mut settings = dovecot_conf::settings(at, &imaps, &imap);
        if let Some(oidc) = setup.oidc {
            place::write(&at.join("oauth2.conf"), dovecot_conf::oauth(oidc));
            settings += &dovecot_conf::oauth_passdb(at);
        }
        let conf = at.join("dovecot.conf");
        place::write(&conf, settings + &setup.settings);
        let program = dovecot_conf::program("dovecot");
        let words = [program.to_str().unwrap(), "-F", "-c", conf.to_str().unwrap()];
        let daemon = Daemon::new(at, &at.join("log"), &words, &[]);
        let server = Server { daemon, folder, imaps, imap, pid: "run/master.pid" };
        let dovecot = Self { server, passwords: Mutex::default() };
        dovecot.present(setup.identity);
        for (user, password) in &setup.users {
            dovecot.set_password(user, password);
        }
        dovecot.restart();
        dovecot
    }

    /// A new user, or a new password of one, from the next login on. The server looks once a second, so that this takes
    /// up to a second where it runs.
    pub fn set_password(&self, user: &str, password: &str) {
        Maildir::of(&self.home(user), "INBOX").create();
        let mut passwords = self.passwords.lock().unwrap();
        let is_other =
            |line: &&str| !line.starts_with('#') && !line.starts_with(&format!("{user}:"));
        let mut lines: String =
            passwords.lines().filter(is_other).map(|line| format!("{line}\n")).collect();
        let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{user}:{{PLAIN.HEX}}{hex}::::::\n#"));
        // The server reads the file again when its size or its second has changed: each one is longer.
        lines.push_str(&"x".repeat((passwords.len() + 1).saturating_sub(lines.len())));
        place::write(&self.path("users.new"), &lines);
        fs::rename(self.path("users.new"), self.path("users")).unwrap();
        *passwords = lines;
        if self.daemon.runs() {
            let mut doveadm = self.doveadm();
            doveadm.args(["auth", "test", user, password]);
            wait_until("it is read", || doveadm.output().unwrap().status.success());
        }
    }

    /// A mail arrives in the user's INBOX.
    pub fn deliver(&self, user: &str, message: &[u8]) {
        Maildir::of(&self.home(user), "INBOX").deliver(message);
    }

    /// A mail arrives in any mailbox, which is made if it is not there. Only ASCII, and `/` between levels.
    pub fn deliver_to(&self, user: &str, mailbox: &str, message: &[u8]) {
        let maildir = Maildir::of(&self.home(user), mailbox);
        maildir.create();
        maildir.deliver(message);
    }

    /// The mails of a mailbox as files: `new/…` as they arrived, `cur/…:2,S` and the like when a client has changed
    /// something. Equal before and after: nothing was marked, moved or removed.
    pub fn files(&self, user: &str, mailbox: &str) -> BTreeSet<String> {
        Maildir::of(&self.home(user), mailbox).files()
    }

    /// The flags of the mails in the INBOX, a letter each, in the order of delivery: "" for none, "S" for seen.
    pub fn flags(&self, user: &str) -> Vec<String> {
        let files = self.files(user, "INBOX");
        let mut names: Vec<_> = files.iter().map(|file| file.split_once('/').unwrap().1).collect();
        names.sort_unstable();
        names
            .iter()
            .map(|name| name.split_once(":2,").map_or("", |(_, flags)| flags).into())
            .collect()
    }

    /// What the server itself says of a mailbox, asked beside all clients. It has to run.
    pub fn status(&self, user: &str, mailbox: &str) -> Status {
        let mut doveadm = self.doveadm();
        doveadm.args(["-f", "tab", "mailbox", "status", "-u", user]);
        doveadm.args(["messages unseen uidvalidity uidnext", mailbox]);
        let output = run(&mut doveadm).stdout;
        let mut lines = str::from_utf8(&output).unwrap().lines();
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let value = |name: &str| {
            let mut pairs = names.split('\t').zip(values.split('\t'));
            pairs.find(|(other, _)| *other == name).unwrap().1.parse().unwrap()
        };
        Status {
            messages: value("messages"),
            unseen: value("unseen"),
            uidvalidity: value("uidvalidity"),
            uidnext: value("uidnext"),
        }
    }

    /// The INBOX gets another UIDVALIDITY, and its mails are numbered from 1 again. Nobody may be looking at it.
    pub fn reset_uidvalidity(&self, user: &str) {
        let before = self.status(user, "INBOX").uidvalidity;
        Maildir::of(&self.home(user), "INBOX").forget_numbers();
        assert_ne!(self.status(user, "INBOX").uidvalidity, before);
    }

    /// Sends away whoever is logged in as that user.
    pub fn kick(&self, user: &str) {
        run(self.doveadm().args(["kick", user]));
    }

    /// A connection over TLS by which nobody is logged in.
    pub fn connect(&self, certificates: &Certificates) -> io::Result<Imap> {
        Imap::connect(self.imaps.number, certificates.client())
    }

    /// What it has logged: a line for each login, refusal and end of a session.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// How many logins of a user have succeeded.
    pub fn logins(&self, user: &str) -> usize {
        self.log().matches(&format!("Login: user=<{user}>")).count()
    }

    /// One of its own commands, for the user who runs it.
    fn doveadm(&self) -> Command {
        let mut doveadm = command(dovecot_conf::program("doveadm"), self.folder());
        doveadm.arg("-c").arg(self.path("dovecot.conf"));
        doveadm
    }

    fn home(&self, user: &str) -> PathBuf {
        self.path("mail").join(user)
    }
}

impl Deref for Dovecot {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
