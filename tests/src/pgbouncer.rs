//! pgbouncer, between an application and the server.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::cluster::server_user;
use crate::mail::Identity;
use crate::network::Machine;
use crate::tls::{LOGIN, Signed};
use crate::trail::wait_until;

pub const PORT: u16 = 6432;

/// A pooler that runs until the test lets go of it.
pub struct PgBouncer {
    folder: TempDir,
    running: Child,
}

/// How it speaks: to its clients with TLS, and to the server with TLS, there with a certificate of its own.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    pub to_clients: Option<&'a Identity>,
    pub to_server: bool,
    pub certificate: Option<&'a Identity>,
}

impl PgBouncer {
    /// On a machine, for these roles, with a connection string of the server.
    pub fn start(
        machine: &Machine,
        server: &str,
        roles: &[&str],
        signed: &Signed,
        tls: Tls,
    ) -> Self {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new);
        let program = program.into_iter().find(|path| path.exists());
        let program = program.expect("pgbouncer is missing: apt-get install pgbouncer");
        let folder = tempfile::Builder::new().prefix("pv-pgbouncer-").tempdir().unwrap();
        let at = folder.path().display();
        let users: String = roles.iter().map(|role| format!("\"{role}\" \"{LOGIN}\"\n")).collect();
        let mut lines = vec![
            "[databases]".to_owned(),
            format!("shop = {server} dbname=shop"),
            "[pgbouncer]".to_owned(),
            "listen_addr = *".to_owned(),
            format!("listen_port = {PORT}"),
            "unix_socket_dir =".to_owned(),
            "auth_type = scram-sha-256".to_owned(),
            format!("auth_file = {at}/users"),
            format!("logfile = {at}/log"),
        ];
        if let Some(Identity { certificate, key }) = tls.to_clients {
            lines.push("client_tls_sslmode = require".into());
            lines.push(format!("client_tls_ca_file = {}", signed.authority.display()));
            lines.push(format!("client_tls_cert_file = {}", certificate.display()));
            lines.push(format!("client_tls_key_file = {}", key.display()));
        }
        let mode = if tls.to_server { "verify-full" } else { "disable" };
        lines.push(format!("server_tls_sslmode = {mode}"));
        lines.push(format!("server_tls_ca_file = {}", signed.authority.display()));
        if let Some(identity) = tls.certificate {
            signed.give_to_the_server(identity);
            lines.push(format!("server_tls_cert_file = {}", identity.certificate.display()));
            lines.push(format!("server_tls_key_file = {}", identity.key.display()));
        }
        let own = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            if let Some((uid, gid)) = server_user() {
                chown(&path, Some(uid), Some(gid)).unwrap();
                chown(folder.path(), Some(uid), Some(gid)).unwrap();
            }
            path
        };
        own("users", &users);
        let configuration = own("pgbouncer.ini", &(lines.join("\n") + "\n"));
        let mut command = machine.command(program, server_user());
        command.arg(configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let mut pooler = Self { running: command.spawn().unwrap(), folder };
        let listens = format!("listening on 0.0.0.0:{PORT}");
        wait_until("pgbouncer listens", || {
            assert!(pooler.running.try_wait().unwrap().is_none(), "{}", pooler.log());
            pooler.log().contains(&listens)
        });
        pooler
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // nsenter has become pgbouncer.
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
