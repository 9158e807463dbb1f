//! The keeper's program as it is installed: with a configuration, a connection string in a file, and a log.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use crate::keeper::KeptSite;
use crate::mail::Certificates;
use crate::mail::place::{folder, servant, write};
use crate::mail::ports::Port;
use crate::trail::{wait_for, wait_until};

/// What a program is started with.
pub struct Setup {
    binary: PathBuf,
    dsn: String,
    roots: PathBuf,
    database: String,
    connect: String,
    environment: Vec<(String, String)>,
    hosts: Option<String>,
}

/// A program that runs, unless it was killed.
pub struct PvKeeper {
    setup: Setup,
    folder: TempDir,
    metrics: Port,
    running: Mutex<Option<Child>>,
}

impl Setup {
    /// For the connector of a site, by the server's socket. `binary`: `env!("CARGO_BIN_EXE_pv-keeper")`.
    pub fn new(binary: &str, kept: &KeptSite, certificates: &Certificates) -> Self {
        let (cluster, database) = (&kept.site.cluster, &kept.site.database);
        let host = cluster.folder().display();
        Self {
            binary: binary.into(),
            dsn: format!("host={host} port=5432 user={} dbname={database}", kept.connector),
            roots: certificates.authority.clone(),
            database: String::new(),
            connect: String::new(),
            environment: Vec::new(),
            hosts: None,
        }
    }

    /// Another connection string.
    pub fn dsn(mut self, dsn: &str) -> Self {
        dsn.clone_into(&mut self.dsn);
        self
    }

    /// One more line in `[database]`.
    pub fn database(mut self, line: &str) -> Self {
        self.database += &format!("{line}\n");
        self
    }

    /// One more line in `[connect]`.
    pub fn connect(mut self, line: &str) -> Self {
        self.connect += &format!("{line}\n");
        self
    }

    /// One more variable of its environment.
    pub fn variable(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// On a machine with no network, whose own all addresses in this `/etc/hosts` are.
    pub fn own(mut self, hosts: &str) -> Self {
        self.hosts = Some(hosts.to_owned());
        self
    }

    /// Writes the files. Starts nothing.
    pub fn files(self) -> PvKeeper {
        let keeper = PvKeeper {
            folder: folder(),
            metrics: Port::free(),
            running: Mutex::new(None),
            setup: self,
        };
        // Under a name of its own: whoever builds meanwhile replaces the other.
        let (from, to) = (&keeper.setup.binary, keeper.path("pv-keeper"));
        fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        keeper.write_files(&keeper.setup.dsn, &keeper.setup.connect);
        if let Some(hosts) = &keeper.setup.hosts {
            keeper.put("hosts", hosts);
        }
        keeper
    }

    /// Starts it.
    pub fn start(self) -> PvKeeper {
        let keeper = self.files();
        keeper.restart();
        keeper
    }
}

impl PvKeeper {
    /// With what tests need: everything is on this machine, on any port.
    pub fn start(binary: &str, kept: &KeptSite, certificates: &Certificates) -> Self {
        Setup::new(binary, kept, certificates).start()
    }

    /// Other contents, from the next start or [`PvKeeper::reload`] on.
    pub fn write_files(&self, dsn: &str, connect: &str) {
        write(&self.path("dsn"), dsn);
        let database = &self.setup.database;
        let mut lines = format!("{}\n", connect.trim_end());
        for (key, usual) in [
            ("domains", "['localhost']".to_owned()),
            ("ports", format!("[{}]", every_port())),
            ("permit_loopback_for_tests", "true".to_owned()),
        ] {
            if !connect.lines().any(|line| line.starts_with(key)) {
                lines += &format!("{key} = {usual}\n");
            }
        }
        let metrics = self.metrics.number;
        write(
            &self.path("keeper.toml"),
            format!(
                "[database]\ndsn_file = 'dsn'\n{database}[connect]\n{lines}[log]\nlevel = 'debug'\n\
                 [metrics]\nlisten = '127.0.0.1:{metrics}'\n"
            ),
        );
    }

    /// One more file beside its configuration.
    pub fn put(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// Starts it after a kill or a stop.
    pub fn restart(&self) {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let before = self.log().matches("\"ready\"").count();
        let child = self.spawn(log.into());
        *self.running.lock().unwrap() = Some(child);
        wait_until("the keeper is ready", || {
            let ended = self.running.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it does not start:\n{}", self.log());
            self.log().matches("\"ready\"").count() > before
        });
    }

    /// Starts it with that for its log, and does not wait for it. Whoever does that ends it.
    pub fn spawn(&self, log: Stdio) -> Child {
        self.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// `pv-keeper --check`.
    pub fn check(&self) -> Output {
        self.command().arg("--check").output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = if self.setup.hosts.is_some() {
            self.elsewhere()
        } else {
            let mut command = Command::new(self.path("pv-keeper"));
            if let Some((uid, gid)) = servant().ids {
                command.uid(uid).gid(gid);
            }
            command
        };
        command.current_dir(self.folder.path()).env_clear();
        command.env("SSL_CERT_FILE", &self.setup.roots);
        command.envs(self.setup.environment.iter().map(|(key, value)| (key, value)));
        command.arg("--config").arg(self.path("keeper.toml"));
        command
    }

    /// The program on that other machine. Sockets that are files are the same there.
    fn elsewhere(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]);
        let mut becomes = String::new();
        match servant().ids {
            Some((uid, gid)) => {
                becomes = format!("setpriv --reuid={uid} --regid={gid} --clear-groups");
            }
            None => drop(command.arg("--map-root-user")),
        }
        let script = format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin; ip link set lo up && mount --bind hosts /etc/hosts &&
             while read -r address name; do ip address add $address dev lo; done <hosts && exec {becomes} \"$@\""
        );
        command.args(["sh", "-c", &script, "sh"]).arg(self.path("pv-keeper"));
        command
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.running.lock().unwrap().as_ref().expect("it does not run").id()
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let mut child = self.running.lock().unwrap().take().expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits until it has ended.
    pub fn stop(&self) -> ExitStatus {
        self.signal("TERM");
        let mut child = self.running.lock().unwrap().take().expect("it does not run");
        wait_for("the keeper stops", || child.try_wait().unwrap())
    }

    /// SIGHUP, and waits until it has read everything again, or has said that it cannot: did it?
    pub fn reload(&self) -> bool {
        let said = |words: &str| self.log().matches(words).count();
        let before =
            ["configuration read again", "nothing has changed"].map(|words| (words, said(words)));
        self.signal("HUP");
        let [(good, goods), (bad, bads)] = before;
        wait_for("it has read its files again", || {
            (said(good) > goods).then_some(true).or_else(|| (said(bad) > bads).then_some(false))
        })
    }

    pub fn signal(&self, name: &str) {
        let done =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(done.unwrap().success());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.path("log")) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics.number)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// One number of those.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Its memory now, and the most that it was: in KiB, as the system counts.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for PvKeeper {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the keeper's log:\n{}", self.log());
        }
        if let Some(child) = self.running.get_mut().unwrap() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tests do not know the ports of their servers beforehand.
fn every_port() -> String {
    let all: Vec<String> = (10_000..30_000).map(|port: u16| port.to_string()).collect();
    all.join(",")
}
