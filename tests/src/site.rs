//! A database with the extension, as a DBA would set it up, and an application that uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::types::ToSql;
use postgres::{Client, Error};

use crate::Cluster;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The cheapest parameters that are allowed, so that tests do not wait for hashes.
pub const CHEAP: [(&str, u32); 3] =
    [("argon2_memory", 7168), ("argon2_iterations", 5), ("argon2_parallelism", 1)];

/// A database with the extension in schema `auth`, cheap hashes, and a login [`Site::app`] that
/// holds the kinds verifier and enroller.
pub struct Site {
    pub cluster: Arc<Cluster>,
    pub database: String,
    pub app: String,
}

/// What a function answers: yes, or no and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub bool, pub Option<String>);

impl Answer {
    /// An answer of the form that SQL gives.
    pub fn no(reason: &str) -> Self {
        Self(false, Some(reason.into()))
    }

    /// Yes, and no reason why not.
    pub fn yes() -> Self {
        Self(true, None)
    }
}

impl Site {
    /// On the server that the file's tests share.
    pub fn new() -> Self {
        Self::on(Cluster::shared())
    }

    /// On a server of one's own.
    pub fn on(cluster: Arc<Cluster>) -> Self {
        Self::with(cluster, "")
    }

    /// With options for CREATE DATABASE.
    pub fn with(cluster: Arc<Cluster>, options: &str) -> Self {
        let site = Self::bare(cluster, options);
        site.admin()
            .batch_execute(&format!(
                "CREATE SCHEMA auth;
                 CREATE EXTENSION password_verify SCHEMA auth;
                 GRANT USAGE ON SCHEMA auth TO {app};
                 SELECT auth.pv_grant('{app}', 'verifier');
                 SELECT auth.pv_grant('{app}', 'enroller');",
                app = site.app
            ))
            .unwrap();
        site
    }

    /// A database and a login without the extension.
    pub fn bare(cluster: Arc<Cluster>, options: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (database, app) = (format!("site{number}"), format!("app{number}"));
        let mut admin = cluster.admin("postgres");
        admin
            .batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0 {options}"))
            .unwrap();
        for (name, value) in CHEAP {
            admin
                .batch_execute(&format!(
                    "ALTER DATABASE {database} SET password_verify.{name} = {value}"
                ))
                .unwrap();
        }
        admin.batch_execute(&format!("CREATE ROLE {app} LOGIN")).unwrap();
        Self { cluster, database, app }
    }

    /// For tests that are wrong many times and not about that: no wait before the 100th time, and
    /// none longer than a second.
    pub fn allow_failures(&self) {
        self.configure(&[
            "throttle_free_failures = 100",
            "throttle_first_wait = 1",
            "throttle_max_wait = 1",
        ]);
    }

    /// Settings of this database, without the prefix, for sessions that begin later.
    pub fn configure(&self, settings: &[&str]) {
        for setting in settings {
            let sql = format!("ALTER DATABASE {} SET password_verify.{setting}", self.database);
            self.admin().batch_execute(&sql).unwrap();
        }
    }

    /// A superuser's connection.
    pub fn admin(&self) -> Client {
        self.cluster.admin(&self.database)
    }

    /// The application's connection.
    pub fn login(&self) -> Client {
        self.cluster.connect(&self.app, &self.database)
    }

    /// A new login that holds these kinds.
    pub fn login_with(&self, kinds: &[&str]) -> Client {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let role = format!("role{number}");
        let mut admin = self.admin();
        admin
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA auth TO {role}"
            ))
            .unwrap();
        for kind in kinds {
            admin.execute("SELECT auth.pv_grant($1::text::regrole, $2)", &[&role, kind]).unwrap();
        }
        self.cluster.connect(&role, &self.database)
    }

    /// A user with that password.
    pub fn enroll(&self, user: &str, password: &str) {
        assert_eq!(create(&mut self.login(), user, password), Answer::yes(), "{user}");
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks a function that answers with (yes, reason, …).
pub fn ask(client: &mut Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<Answer, Error> {
    let row = client.query_one(sql, args)?;
    Ok(Answer(row.get(0), row.get(1)))
}

/// `pv_validate_password` with a text id.
pub fn validate(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, "SELECT * FROM auth.pv_validate_password($1::text, $2)", &[&user, &password])
        .unwrap()
}

/// `pv_create_password` with a text id.
pub fn create(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, "SELECT * FROM auth.pv_create_password($1::text, $2)", &[&user, &password]).unwrap()
}

/// `pv_change_password` with a text id.
pub fn change(client: &mut Client, user: &str, old: &str, new: &str) -> Answer {
    let sql = "SELECT * FROM auth.pv_change_password($1::text, $2, $3)";
    ask(client, sql, &[&user, &old, &new]).unwrap()
}

/// `pv_set_password` with a text id.
pub fn set(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, "SELECT * FROM auth.pv_set_password($1::text, $2)", &[&user, &password]).unwrap()
}

/// One of the functions of (user id) that say whether there was something to do.
pub fn manage(client: &mut Client, function: &str, user: &str) -> bool {
    client.query_one(&format!("SELECT auth.{function}($1::text)"), &[&user]).unwrap().get(0)
}

/// The SQLSTATE of what must be an error.
pub fn sqlstate<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "no error".into(),
        Err(error) => match error.code() {
            Some(code) => code.code().into(),
            None => format!("not an error of the server: {error}"),
        },
    }
}

/// What must be an error, as (SQLSTATE, message, hint).
pub fn refused<T>(result: Result<T, Error>) -> (String, String, String) {
    let error = result.err().expect("an error");
    let error = error.as_db_error().expect("an error of the server");
    let hint = error.hint().unwrap_or_default().into();
    (error.code().code().into(), error.message().into(), hint)
}
