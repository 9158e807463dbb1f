//! A real server in a temporary folder, stopped and removed when the last test lets go of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::kill::{is_at_work, kill_9, processes};
use crate::network::Machine;

/// Lines for `postgresql.conf` of a server as an installation guide would have it. `PV_NEIGHBOURS`
/// has other libraries preloaded as well.
pub const PRELOADED: &[&str] = &["shared_preload_libraries = 'password_verify'"];

/// A server of one's own, preloaded, with these settings.
pub fn server(settings: &[&str]) -> Arc<Cluster> {
    Arc::new(Cluster::start(&[PRELOADED, settings].concat()))
}

/// A running server.
pub struct Cluster {
    folder: TempDir,
    port: u16,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Cluster {
    /// The server that the tests of one file share, preloaded. Started by the first who asks.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(PRELOADED));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A server of one's own.
    pub fn start(settings: &[&str]) -> Self {
        let cluster = Self::init();
        cluster.configure(settings);
        cluster.up();
        cluster
    }

    /// A server that is not running yet, with nothing preloaded.
    pub fn init() -> Self {
        let cluster = Self::empty();
        let mut initdb = cluster.command("initdb");
        initdb.arg("-D").arg(cluster.data());
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        run(&mut initdb);
        cluster.configure(&[]);
        cluster
    }

    /// A folder for a server, and nothing in it.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("pv-test-").tempdir().unwrap();
        if let Some((uid, gid)) = server_user() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        // The data directory in it is the server's alone; the logs are for whoever runs the tests.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, port: 5432 }
    }

    /// A server that is not running yet, with the data of another one that is not running.
    pub fn copy_of(other: &Self) -> Self {
        let cluster = Self::empty();
        let mut cp = Command::new("cp");
        run(cp.arg("-a").arg(other.data()).arg(cluster.data()));
        cluster.configure(&[]);
        cluster
    }

    /// Adds lines to `postgresql.conf`.
    pub fn configure(&self, settings: &[&str]) {
        let path = self.data().join("postgresql.conf");
        let mut conf = fs::read_to_string(&path).unwrap();
        let socket = format!("unix_socket_directories = '{}'", self.folder().display());
        // fsync off: nothing here is about losing power. Many connections at once are.
        // Every test has a database of its own, far more at a time than a server usually has.
        let fixed = [
            "listen_addresses = ''",
            "fsync = off",
            "max_connections = 150",
            "max_worker_processes = 20",
            "password_verify.workers = 6",
            &socket,
        ];
        let preloaded = preloaded();
        let wanted = settings.iter().map(|line| match *line == PRELOADED[0] {
            true => preloaded.as_str(),
            false => line,
        });
        let everywhere = everywhere();
        let everywhere = everywhere.iter().map(String::as_str);
        for line in fixed.into_iter().chain(everywhere).chain(wanted) {
            conf.push_str(line);
            conf.push('\n');
        }
        fs::write(path, conf).unwrap();
    }

    /// Starts it and waits until it answers.
    pub fn up(&self) {
        self.up_with(&[]);
    }

    /// The same, with more in its environment.
    pub fn up_with(&self, environment: &[(&str, &str)]) {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.envs(environment.iter().copied());
        self.start_with(&mut pg_ctl);
    }

    /// The same, on a machine of its own. Its socket is a file, and can be reached from everywhere.
    pub fn up_on(&self, machine: &Machine) {
        self.start_with(&mut self.command_on(machine, "pg_ctl"));
    }

    /// The same, where no process of it gets huge pages.
    pub fn up_without_huge_pages(&self) {
        // prctl has no program of its own: its number on this architecture, and PR_SET_THP_DISABLE.
        // What it says is inherited.
        let prctl = if cfg!(target_arch = "aarch64") { 167 } else { 157 };
        let script =
            format!("syscall({prctl}, 41, 1, 0, 0, 0) == 0 or die \"prctl: $!\"; exec @ARGV");
        let mut perl = self.command("/usr/bin/env");
        perl.args(["perl", "-e", &script]).arg(bindir().join("pg_ctl"));
        self.start_with(&mut perl);
    }

    fn start_with(&self, pg_ctl: &mut Command) {
        pg_ctl.arg("-D").arg(self.data()).arg("-l").arg(self.log_path()).args(["-w", "start"]);
        let output = pg_ctl.output().unwrap();
        assert!(output.status.success(), "the server does not start:\n{}", self.log());
    }

    /// Tries to start it: did it, and what has the log said of it?
    pub fn try_up(&self) -> (bool, String) {
        let before = self.log().len();
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("-D").arg(self.data()).arg("-l").arg(self.log_path()).args(["-w", "start"]);
        let started = pg_ctl.output().unwrap().status.success();
        (started, self.log()[before..].to_owned())
    }

    /// Stops it in an orderly way.
    pub fn down(&self) {
        let mut pg_ctl = self.command("pg_ctl");
        run(pg_ctl.arg("-D").arg(self.data()).args(["-m", "fast", "-w", "stop"]));
    }

    /// The process id of the postmaster.
    pub fn postmaster(&self) -> u32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// `kill -9` of the postmaster, whose children end when they notice. Returns when all have ended.
    /// Afterwards the server can start at once, although PostgreSQL takes the zombie of its postmaster,
    /// of which init may hear late, for a server that runs: `postmaster.pid` names another dead process.
    pub fn kill_postmaster(&self) {
        let family = processes(self);
        kill_9(self.postmaster());
        let start = Instant::now();
        while family.iter().any(|pid| is_at_work(*pid)) {
            assert!(start.elapsed() < Duration::from_secs(60), "some of {family:?} stay");
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(self.folder().join(".s.PGSQL.5432.lock"));
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let path = self.data().join("postmaster.pid");
        let file = fs::read_to_string(&path).unwrap();
        let (_, rest) = file.split_once('\n').unwrap();
        fs::write(path, format!("{}\n{rest}", dead.id())).unwrap();
    }

    /// Waits until it lets people in again, after a crash.
    pub fn await_recovery(&self) {
        let start = Instant::now();
        while let Err(error) = self.try_connect("postgres", "postgres") {
            assert!(start.elapsed() < Duration::from_secs(60), "{error}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection as anybody to any database.
    pub fn connect(&self, user: &str, database: &str) -> Client {
        self.try_connect(user, database).unwrap()
    }

    /// The same, where it may fail.
    pub fn try_connect(&self, user: &str, database: &str) -> Result<Client, postgres::Error> {
        postgres::Config::new()
            .host_path(self.folder())
            .port(self.port)
            .user(user)
            .dbname(database)
            .connect(NoTls)
    }

    /// A connection, and everything the server says beside its answers.
    pub fn listen(&self, user: &str, database: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        let client = postgres::Config::new()
            .host_path(self.folder())
            .port(self.port)
            .user(user)
            .dbname(database)
            .notice_callback(move |notice| heard.lock().unwrap().push(format!("{notice:?}")))
            .connect(NoTls)
            .unwrap();
        (client, notices)
    }

    /// A superuser's connection.
    pub fn admin(&self, database: &str) -> Client {
        self.connect("postgres", database)
    }

    /// One of the server's programs, run as the server's user against this server.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(bindir().join(program));
        if let Some((uid, gid)) = server_user() {
            command.uid(uid).gid(gid);
        }
        self.prepare(command)
    }

    /// The same on another machine.
    pub fn command_on(&self, machine: &Machine, program: &str) -> Command {
        self.prepare(machine.command(&bindir().join(program), server_user()))
    }

    fn prepare(&self, mut command: Command) -> Command {
        command
            .current_dir(self.folder())
            .env("PGHOST", self.folder())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env_remove("PGDATABASE");
        command
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let mut pg_ctl = self.command("pg_ctl");
            let _ = pg_ctl.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]).output();
        }
    }
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The major version of the server under test.
pub fn major() -> u32 {
    let output = run(Command::new(pg_config()).arg("--version"));
    let version = String::from_utf8(output.stdout).unwrap();
    let number = version.trim_start_matches("PostgreSQL ");
    number.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Libraries of others, each with the settings that have it see and log everything.
const NEIGHBOURS: [(&str, &[&str]); 3] = [
    ("pg_stat_statements", &["pg_stat_statements.track = all"]),
    (
        "auto_explain",
        &[
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_verbose = on",
            "auto_explain.log_nested_statements = on",
        ],
    ),
    ("pgaudit", &["pgaudit.log = 'all'", "pgaudit.log_parameter = on"]),
];

/// What `PV_NEIGHBOURS` names, separated by commas.
fn neighbours() -> Vec<String> {
    let named = std::env::var("PV_NEIGHBOURS").unwrap_or_default();
    named.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// [`PRELOADED`] with the neighbours before our library, or where they name it.
fn preloaded() -> String {
    let mut libraries = neighbours();
    if !libraries.iter().any(|name| name == "password_verify") {
        libraries.push("password_verify".into());
    }
    format!("shared_preload_libraries = '{}'", libraries.join(", "))
}

/// Settings of every server: those of the neighbours, and `PV_SETTINGS`, separated by semicolons. A
/// test's own come later and win.
fn everywhere() -> Vec<String> {
    let named = neighbours();
    let theirs = NEIGHBOURS.iter().filter(|(name, _)| named.iter().any(|named| named == name));
    let mut lines: Vec<String> =
        theirs.flat_map(|(_, settings)| *settings).map(|line| (*line).to_owned()).collect();
    let more = std::env::var("PV_SETTINGS").unwrap_or_default();
    lines.extend(more.split(';').map(|line| line.trim().to_owned()));
    lines
}

fn pg_config() -> String {
    std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into())
}

pub(crate) fn bindir() -> PathBuf {
    let output = run(Command::new(pg_config()).arg("--bindir"));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// PostgreSQL refuses to run as root: then it runs as the user that Debian made for it.
pub(crate) fn server_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> u32 {
        let output = run(Command::new("id").args(args));
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let user = std::env::var("PV_SERVER_USER").unwrap_or_else(|_| "postgres".into());
    (id(&["-u"]) == 0).then(|| (id(&["-u", &user]), id(&["-g", &user])))
}
