//! The configuration: one TOML file, `/etc/password_verify/keeper.toml`. Nothing in it is secret; secrets are in files
//! that it names.

use core::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use serde::Deserialize;

use crate::net::allowed::Domain;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub database: Database,
    pub connect: Connect,
    #[serde(default)]
    pub log: Log,
    pub metrics: Option<Metrics>,
}

/// How to reach PostgreSQL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Holds a connection string. Over TCP it needs `sslmode=verify-full`.
    pub dsn_file: PathBuf,
    /// Certificates to trust, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The keeper's own certificate and key, in PEM.
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    /// Connections at most, beside one that listens: 1 to 50.
    #[serde(default = "four")]
    pub connections: u8,
    /// The longest wait for an answer, and how long an end of a job or a new token is offered again to a database that
    /// is away. Seconds, 2 to 60.
    #[serde(default = "fifty")]
    pub timeout: u8,
}

/// Where to connect, and how much at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// `mail.example.org`, `*.example.org`, or `*`. There is no default.
    pub domains: Vec<Domain>,
    #[serde(default = "usual_ports")]
    pub ports: Vec<u16>,
    /// Connections in all, half of them to servers that have yet to answer: 1 to 1000.
    #[serde(default = "sixty_four")]
    pub at_once: u16,
    /// Connections to one host, and one more that tries whether it answers: 1 to 100.
    #[serde(default = "four")]
    pub per_host: u8,
    /// The longest wait for an address, for a connection to one, and for its greeting. Seconds, 1 to 60.
    #[serde(default = "ten")]
    pub connect_timeout: u16,
    /// The longest wait for a byte. Seconds, 1 to 300.
    #[serde(default = "sixty")]
    pub silence_timeout: u16,
    /// The longest time for a job, with its wait for its turn. Seconds, 5 to 3000.
    #[serde(default = "two_hundred")]
    pub job_timeout: u16,
    /// For tests, whose servers run on the same machine. Anywhere else it lets whoever stores a secret reach what only
    /// this machine can reach.
    #[serde(default)]
    pub permit_loopback_for_tests: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// Where Prometheus reads: an address of loopback.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub listen: SocketAddr,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

const fn four() -> u8 {
    4
}

const fn fifty() -> u8 {
    50
}

const fn ten() -> u16 {
    10
}

const fn sixty_four() -> u16 {
    64
}

const fn sixty() -> u16 {
    60
}

const fn two_hundred() -> u16 {
    200
}

fn usual_ports() -> Vec<u16> {
    vec![993, 143, 443]
}

/// How long one request to a token endpoint takes at most, and no longer than a job.
pub const LONGEST_RENEWAL: Duration = Duration::from_secs(30);

/// Why the configuration cannot be used: a text for whoever starts the keeper.
pub type Fault = String;

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
        let settings: Self =
            // Without the line itself: somebody may have put a password there.
            toml::from_str(&text).map_err(|why| {
                let line = why.span().map_or(0, |at| text[..at.start].lines().count().max(1));
                format!("{}, line {line}: {}", path.display(), why.message())
            })?;
        match settings.wrong() {
            None => Ok(settings.within(path.parent().unwrap_or(Path::new(".")))),
            Some(what) => Err(format!("{}: {what}", path.display())),
        }
    }

    /// How long a job is leased: longer than it lasts with a renewal of a token that is begun at its end, its storing,
    /// and all attempts to say in the database what came of it, so that nobody else begins with it meanwhile.
    pub fn lease(&self) -> Duration {
        let job = Duration::from_secs(self.connect.job_timeout.into());
        job + job.min(LONGEST_RENEWAL) + 2 * Duration::from_secs(self.database.timeout.into())
    }

    fn wrong(&self) -> Option<&'static str> {
        let Connect {
            ports, at_once, per_host, connect_timeout, silence_timeout, job_timeout, ..
        } = &self.connect;
        let database = &self.database;
        let listen = self.metrics.as_ref().map(|it| it.listen.ip());
        let pair = database.client_cert_file.is_some() == database.client_key_file.is_some();
        [
            ((1..=50).contains(&database.connections), "database.connections is 1 to 50"),
            ((2..=60).contains(&database.timeout), "database.timeout is 2 to 60 seconds"),
            (pair, "database.client_cert_file and client_key_file belong together"),
            (
                !self.connect.domains.is_empty(),
                "connect.domains is empty: the keeper would connect nowhere",
            ),
            (
                !ports.is_empty() && !ports.contains(&0),
                "connect.ports are 1 to 65535, and one at least",
            ),
            ((1..=1000).contains(at_once), "connect.at_once is 1 to 1000"),
            ((1..=100).contains(per_host), "connect.per_host is 1 to 100"),
            ((1..=60).contains(connect_timeout), "connect.connect_timeout is 1 to 60 seconds"),
            ((1..=300).contains(silence_timeout), "connect.silence_timeout is 1 to 300 seconds"),
            ((5..=3000).contains(job_timeout), "connect.job_timeout is 5 to 3000 seconds"),
            (listen.is_none_or(|ip| ip.is_loopback()), "metrics.listen is an address of loopback"),
        ]
        .into_iter()
        .find_map(|(fits, what)| (!fits).then_some(what))
    }

    /// File names that are relative are those of credentials that systemd has loaded, or beside the configuration.
    fn within(mut self, folder: &Path) -> Self {
        let folder = env::var_os("CREDENTIALS_DIRECTORY").map_or(folder.to_owned(), PathBuf::from);
        let database = &mut self.database;
        let named =
            [&mut database.ca_file, &mut database.client_cert_file, &mut database.client_key_file];
        for path in named.into_iter().flatten().chain([&mut database.dsn_file]) {
            *path = folder.join(&*path);
        }
        self
    }
}

/// What is said of a file that cannot be read.
pub fn unreadable(path: &Path, why: &io::Error) -> Fault {
    format!("{}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use password_verify_core::keeper::schedule::MAX_LEASE;

    fn of(text: &str) -> Result<Settings, Fault> {
        let settings: Settings = toml::from_str(text).map_err(|why| why.to_string())?;
        settings.wrong().map_or(Ok(settings), |what| Err(what.to_owned()))
    }

    #[test]
    fn a_lease_is_longer_than_all_that_may_be_done_with_it() {
        for (job, renewal, timeout) in [(5, 5, 2), (200, 30, 50), (3000, 30, 60)] {
            let text = format!(
                "[database]\ndsn_file = 'dsn'\ntimeout = {timeout}\n[connect]\ndomains = ['*']\njob_timeout = {job}"
            );
            let lease = of(&text).unwrap().lease().as_micros();
            // The token is stored, and the end is told.
            assert!(lease >= (job + renewal + 2 * timeout) * 1_000_000, "{lease}");
            assert!(lease <= MAX_LEASE as u128, "{lease}");
        }
    }

    #[test]
    fn the_least_is_enough() {
        let least = "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = ['*.example.org']";
        let settings = of(least).unwrap();
        assert_eq!(settings.connect.ports, [993, 143, 443]);
        assert!(!settings.connect.permit_loopback_for_tests);
        let folder = Path::new("/etc/x");
        assert_eq!(settings.within(folder).database.dsn_file, Path::new("/etc/x/dsn"));
        for wrong in [
            "",
            "[connect]\ndomains = ['*']",
            "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = []",
            "[database]\ndsn_file = 'dsn'\nconnections = 0\n[connect]\ndomains = ['*']",
            "[database]\ndsn_file = 'dsn'\npassword = 'x'\n[connect]\ndomains = ['*']",
            "[database]\ndsn_file = 'dsn'\nclient_key_file = 'x'\n[connect]\ndomains = ['*']",
            "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = ['*']\nverify = false",
            "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = ['*']\nports = [0]",
            "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = ['*']\n[metrics]\nlisten = '0.0.0.0:9000'",
            "[database]\ndsn_file = 'dsn'\n[connect]\ndomains = ['*']\n[log]\nlevel = 'trace'",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
