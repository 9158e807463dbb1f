//! Cyrus in a temporary folder, stopped and removed when the test lets go of it: a second opinion of what IMAP is.

use std::fs;
use std::io::{self, Write};
use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustls::ClientConfig;

use super::certificates::Certificates;
use super::client::Imap;
use super::daemon::{Daemon, command};
use super::place::{self, installed, make_folder, servant, write};
use super::ports::Port;
use super::server::Server;

/// A server that runs, unless it was killed.
pub struct Cyrus {
    server: Server,
    libraries: String,
    passwords: Mutex<Vec<(String, String)>>,
    tls: Arc<ClientConfig>,
}

impl Cyrus {
    /// For users with passwords, with the good certificate.
    pub fn start(certificates: &Certificates, users: &[(&str, &str)]) -> Self {
        let folder = place::folder();
        let at = folder.path();
        let (imaps, imap) = (Port::free(), Port::free());
        for name in ["conf/socket", "conf/proc", "conf/lock", "conf/log", "spool"] {
            make_folder(&at.join(name));
        }
        let conf = at.join("imapd.conf");
        write(&conf, imapd_conf(at));
        let programs = installed("cyrus/usr/lib/cyrus/bin");
        write(&at.join("cyrus.conf"), cyrus_conf(&programs, &conf, &imaps, &imap));
        let master = programs.join("master");
        let paths = [("-C", conf), ("-M", at.join("cyrus.conf")), ("-p", at.join("pid"))];
        // In the foreground.
        let mut words = vec![master.to_str().unwrap(), "-D"];
        words.extend(paths.iter().flat_map(|(option, path)| [*option, path.to_str().unwrap()]));
        let libraries = libraries();
        let environment = [("LD_LIBRARY_PATH", libraries.as_str())];
        let daemon = Daemon::new(at, &at.join("log"), &words, &environment);
        let server = Server { daemon, folder, imaps, imap, pid: "pid" };
        let passwords = Mutex::default();
        let tls = certificates.client();
        let cyrus = Self { server, libraries, passwords, tls };
        cyrus.present(&certificates.good);
        for (user, password) in users {
            cyrus.set_password(user, password);
        }
        cyrus.restart();
        cyrus
    }

    /// A new user, or a new password of one, from the next login on.
    pub fn set_password(&self, user: &str, password: &str) {
        let mut program = command(installed("cyrus/usr/sbin/saslpasswd2"), self.folder());
        program.env("LD_LIBRARY_PATH", &self.libraries).args(["-c", "-p", "-u", "localhost", "-f"]);
        program.arg(self.path("sasldb2")).arg(user).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut passwords = self.passwords.lock().unwrap();
        passwords.retain(|(other, _)| other != user);
        passwords.push((user.into(), password.into()));
    }

    /// A mail arrives in the user's INBOX.
    pub fn deliver(&self, user: &str, message: &[u8]) {
        self.deliver_all(user, [message]);
    }

    /// Many do, in that order, in one session. A bare LF is no end of a line here: the server refuses it.
    pub fn deliver_all<'a>(&self, user: &str, messages: impl IntoIterator<Item = &'a [u8]>) {
        let mut client = self.session(user);
        for message in messages {
            let reply = client.append("INBOX", message).unwrap();
            assert!(reply.is_ok(), "{reply:?}");
        }
    }

    /// The flags of the mails in the INBOX, as the server names them, without `\Recent`.
    pub fn flags(&self, user: &str) -> Vec<String> {
        let mut client = self.session(user);
        assert!(client.command("EXAMINE INBOX").unwrap().is_ok());
        let reply = client.command("FETCH 1:* (FLAGS)").unwrap();
        let lines =
            reply.lines.iter().filter_map(|line| line.split_once("(FLAGS (")?.1.split_once(')'));
        let words = |flags: &str| {
            flags.split(' ').filter(|it| *it != "\\Recent").collect::<Vec<_>>().join(" ")
        };
        lines.map(|(flags, _)| words(flags)).collect()
    }

    /// A connection over TLS by which nobody is logged in.
    pub fn connect(&self) -> io::Result<Imap> {
        Imap::connect(self.imaps.number, Arc::clone(&self.tls))
    }

    /// The same, as that user.
    pub fn session(&self, user: &str) -> Imap {
        let passwords = self.passwords.lock().unwrap();
        let (_, password) = passwords.iter().find(|(other, _)| other == user).expect("a user");
        let mut client = self.connect().unwrap();
        let reply = client.login(user, password).unwrap();
        assert!(reply.is_ok(), "{reply:?}");
        client
    }
}

impl Deref for Cyrus {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Where its own libraries are, whatever the architecture.
fn libraries() -> String {
    let folders = fs::read_dir(installed("cyrus/usr/lib")).unwrap().map(|it| it.unwrap().path());
    let found = folders.into_iter().find(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    found.expect("the libraries of Cyrus").to_str().unwrap().to_owned()
}

fn imapd_conf(folder: &Path) -> String {
    let (folder, user) = (folder.display(), &servant().user);
    format!(
        "configdirectory: {folder}/conf
partition-default: {folder}/spool
mboxname_lockpath: {folder}/conf/lock
proc_path: {folder}/conf/proc
cyrus_user: {user}
admins: cyrus
servername: localhost
virtdomains: off
unixhierarchysep: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN LOGIN SCRAM-SHA-256
allowplaintext: no
autocreate_post: 1
autocreate_quota: 0
tls_server_cert: {folder}/cert.pem
tls_server_key: {folder}/key.pem
maxlogins_per_host: 0
maxlogins_per_user: 0
"
    )
}

fn cyrus_conf(programs: &Path, conf: &Path, imaps: &Port, imap: &Port) -> String {
    let (programs, conf) = (programs.display(), conf.display());
    let (imaps, imap) = (imaps.number, imap.number);
    format!(
        "START {{
  recover cmd=\"{programs}/ctl_cyrusdb -r -C {conf}\"
}}
SERVICES {{
  imaps cmd=\"{programs}/imapd -s -C {conf} -U 30\" listen=\"127.0.0.1:{imaps}\" prefork=0
  imap cmd=\"{programs}/imapd -C {conf} -U 30\" listen=\"127.0.0.1:{imap}\" prefork=0
}}
EVENTS {{
}}
"
    )
}
