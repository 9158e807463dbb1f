//! A database with the extension, as a DBA would set it up, and an application that uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::Client;

use crate::calls::create;
use crate::{Answer, Cluster};

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
