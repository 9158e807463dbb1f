//! A server that tells everything it can, and a database in it.

use std::sync::Mutex;

use postgres::{Client, Error};

use super::seen::Seen;
use super::setup::{OBJECTS, REDACTED};
use super::wire::Wire;
use crate::Site;
use crate::cluster::major;
use crate::keyring::{fresh_key, line, sealed_server_with};
use crate::query::text;

/// As loud as it gets.
const LOUD: &[&str] = &[
    "logging_collector = on",
    "log_directory = 'log'",
    "log_filename = 'server.log'",
    "log_rotation_age = 0",
    "log_rotation_size = 0",
    "log_line_prefix = '@@ [%p] '",
    "log_statement = all",
    "log_min_duration_statement = 0",
    "log_duration = on",
    "log_min_error_statement = debug5",
    "log_min_messages = debug2",
    "log_parameter_max_length = -1",
    "log_parameter_max_length_on_error = -1",
    "log_error_verbosity = verbose",
    "log_lock_waits = on",
    "log_temp_files = 0",
    "log_parser_stats = on",
    "log_planner_stats = on",
    "log_executor_stats = on",
    "track_functions = all",
    "deadlock_timeout = 100ms",
    "compute_query_id = on",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_verbose = on",
    "auto_explain.log_buffers = on",
    "auto_explain.log_triggers = on",
    "auto_explain.log_settings = on",
    "auto_explain.log_nested_statements = on",
    "pg_stat_statements.track = all",
    "pg_stat_statements.track_utility = on",
    // No file is written over before it is looked at.
    "wal_keep_size = 1GB",
    "autovacuum = off",
    "shared_buffers = 16MB",
];

const AUDIT: &[&str] = &[
    "pgaudit.log = all",
    "pgaudit.log_parameter = on",
    "pgaudit.log_relation = on",
    "pgaudit.log_statement = on",
];

/// Settings of a session of which nothing is logged.
const QUIET: &[&str] = &[
    "log_statement = none",
    "log_min_duration_statement = -1",
    "log_duration = off",
    "log_min_error_statement = panic",
    "log_min_messages = fatal",
    "log_lock_waits = off",
    "log_parser_stats = off",
    "log_planner_stats = off",
    "log_executor_stats = off",
    "auto_explain.log_min_duration = -1",
];

const AUDITED_QUIET: &[&str] = &["pgaudit.log = none"];

/// What is special about a room.
#[derive(Clone)]
pub struct Plan {
    /// In this order; `pgaudit` is left out where there is none.
    pub libraries: Vec<&'static str>,
    /// More lines of `postgresql.conf`.
    pub settings: Vec<String>,
    /// Settings of the database: what sessions of an application have.
    pub session: Vec<&'static str>,
    /// Options of CREATE DATABASE.
    pub options: &'static str,
    pub redact: bool,
}

/// The libraries in the order in which an administrator would list them.
pub const LIBRARIES: [&str; 4] =
    ["pg_stat_statements", "auto_explain", "pgaudit", "password_verify"];

impl Default for Plan {
    fn default() -> Self {
        Self {
            libraries: LIBRARIES.to_vec(),
            settings: Vec::new(),
            session: Vec::new(),
            options: "",
            redact: true,
        }
    }
}

/// Is there a `pgaudit` for this server?
pub fn has_pgaudit() -> bool {
    crate::cluster::run(std::process::Command::new("sh").args([
        "-c",
        "test -f \"$(${PG_CONFIG:-pg_config} --pkglibdir)/pgaudit.so\" && echo yes || echo no",
    ]))
    .stdout
    .starts_with(b"yes")
}

/// The line of `postgresql.conf` for these libraries.
pub fn preload(libraries: &[&str]) -> String {
    let there = has_pgaudit();
    let listed: Vec<&str> =
        libraries.iter().copied().filter(|it| there || *it != "pgaudit").collect();
    format!("shared_preload_libraries = '{}'", listed.join(", "))
}

pub struct Room {
    pub site: Site,
    /// A login that may call everything but what the keeper's own login calls.
    pub caller: String,
    /// The keeper's own login.
    pub connector: String,
    /// A login that may call nothing.
    pub stranger: String,
    /// The same as the first one, but nothing is logged of what it does.
    pub quiet: String,
    pub audited: bool,
    pub redact: bool,
    pub seen: Seen,
    admin: Mutex<Option<Client>>,
}

impl Room {
    pub fn new(plan: &Plan) -> Self {
        let audited = has_pgaudit();
        let mut settings: Vec<String> = LOUD.iter().map(|it| (*it).to_owned()).collect();
        settings.push(preload(&plan.libraries));
        if audited {
            settings.extend(AUDIT.iter().map(|it| (*it).to_owned()));
        }
        settings.push(match major() {
            14 => "log_destination = 'stderr,csvlog'".into(),
            _ => "log_destination = 'stderr,csvlog,jsonlog'".into(),
        });
        if major() >= 16 {
            settings.push("auto_explain.log_parameter_max_length = -1".into());
        }
        settings.extend(redaction(plan.redact));
        settings.extend(plan.settings.iter().cloned());
        let lines: Vec<&str> = settings.iter().map(String::as_str).collect();
        let cluster = sealed_server_with(&line("a", &fresh_key()), &lines);
        let site = Site::with(cluster, plan.options);
        let role = |kinds: &[&str]| text(&mut site.login_with(kinds), "SELECT current_user::text");
        let kinds = ["verifier", "enroller", "registrar", "manager", "auditor", "depositor"];
        let (caller, connector, stranger) = (role(&kinds), role(&["connector"]), role(&[]));
        let quiet = role(&kinds);
        let mut admin = site.admin();
        if audited {
            admin.batch_execute("CREATE EXTENSION pgaudit SCHEMA public").unwrap();
        }
        admin.batch_execute(&OBJECTS.replace("the_caller", &format!("{caller}, {quiet}"))).unwrap();
        for setting in &plan.session {
            let sql = format!("ALTER DATABASE {} SET {setting}", site.database);
            admin.batch_execute(&sql).unwrap();
        }
        for setting in QUIET.iter().chain(AUDITED_QUIET.iter().filter(|_| audited)) {
            admin.batch_execute(&format!("ALTER ROLE {quiet} SET {setting}")).unwrap();
        }
        let seen = Seen::default();
        Self {
            site,
            caller,
            connector,
            stranger,
            quiet,
            audited,
            redact: plan.redact,
            seen,
            admin: Mutex::default(),
        }
    }

    /// What a superuser does in a session of its own.
    pub fn admin<T>(&self, what: impl FnOnce(&mut Client) -> T) -> T {
        let mut admin = self.admin.lock().unwrap();
        what(admin.get_or_insert_with(|| {
            let mut client = self.site.admin();
            self.be_quiet(&mut client).unwrap();
            client
        }))
    }

    /// A superuser who looks at others is not what is looked at.
    pub fn be_quiet(&self, admin: &mut Client) -> Result<(), Error> {
        for setting in QUIET.iter().chain(AUDITED_QUIET.iter().filter(|_| self.audited)) {
            admin.batch_execute(&format!("SET {setting}"))?;
        }
        Ok(())
    }

    /// The server sends everybody away: the next superuser is another one.
    pub fn has_crashed(&self) {
        *self.admin.lock().unwrap() = None;
    }

    /// A session of this login.
    pub fn session(&self, user: &str) -> Wire {
        Wire::connect(&self.site.cluster, user, &self.site.database)
    }

    /// The folder that the log is in.
    pub fn log_folder(&self) -> std::path::PathBuf {
        self.site.cluster.data().join("log")
    }
}

/// The settings of the redaction.
fn redaction(on: bool) -> [String; 2] {
    let on = if on { "on" } else { "off" };
    [
        format!("password_verify.redact = {on}"),
        format!("password_verify.redact_functions = '{}'", REDACTED.join(", ")),
    ]
}
