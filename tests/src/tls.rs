//! A server on a machine of its own, with TLS, and clients on another one: `psql`, which is libpq.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use crate::cluster::{PRELOADED, bindir, run, server_user};
use crate::keyring::{fresh_key, keyring, line, setting};
use crate::mail::Identity;
use crate::mail::certificates::{authority, sign_for};
use crate::network::{Machine, Network, SERVER};
use crate::query::text;
use crate::site::CHEAP;
use crate::{Cluster, Site};

/// The name in the certificate of the README's application.
pub const APP_NAME: &str = "shop-web";
/// The password of roles that have one.
pub const LOGIN: &str = "a login of these tests";

/// Who signs certificates, and what has been signed.
pub struct Signed {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
    /// What servers and clients trust.
    pub authority: PathBuf,
}

/// A database `shop` on a server with TLS, with the extension and a login `app`, as the README has it.
pub struct Shop {
    pub network: Network,
    pub signed: Signed,
    pub site: Site,
}

/// What `psql` has said: rows, or why not.
pub type Said = Result<String, String>;

impl Signed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pv-tls-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ((issuer, pem), (stranger, _)) = (authority("Authority"), authority("A stranger"));
        let path = folder.path().join("authority.pem");
        fs::write(&path, pem).unwrap();
        Self { folder, issuer, stranger, authority: path }
    }

    /// For the server at its address.
    pub fn server(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![SERVER.to_owned()]).unwrap();
        // libpq of PostgreSQL 14 finds an address in the name only.
        params.distinguished_name.push(DnType::CommonName, SERVER);
        let it =
            sign_for(ExtendedKeyUsagePurpose::ServerAuth, self.at(), name, params, &self.issuer);
        self.keep(&it, server_user());
        it
    }

    /// For a client: its subject, from the broadest to the name, and its serial number.
    pub fn client(&self, file: &str, subject: &[(DnType, &str)], serial: &[u8]) -> Identity {
        self.sign(file, params(subject, serial), &self.issuer)
    }

    /// The same, until the year 2021.
    pub fn expired(&self, file: &str, name: &str) -> Identity {
        let mut params = params(&[(DnType::CommonName, name)], &[1]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(file, params, &self.issuer)
    }

    /// The same, from an authority that nobody trusts.
    pub fn foreign(&self, file: &str, name: &str) -> Identity {
        self.sign(file, params(&[(DnType::CommonName, name)], &[1]), &self.stranger)
    }

    fn sign(
        &self,
        file: &str,
        params: CertificateParams,
        by: &Issuer<'static, KeyPair>,
    ) -> Identity {
        let it = sign_for(ExtendedKeyUsagePurpose::ClientAuth, self.at(), file, params, by);
        self.keep(&it, None);
        it
    }

    /// The key is for that user only, as PostgreSQL and libpq demand.
    fn keep(&self, identity: &Identity, user: Option<(u32, u32)>) {
        fs::set_permissions(&identity.key, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = user {
            chown(&identity.key, Some(uid), Some(gid)).unwrap();
        }
    }

    /// The same for pgbouncer, which runs as the server's user.
    pub fn give_to_the_server(&self, identity: &Identity) {
        self.keep(identity, server_user());
    }

    pub fn at(&self) -> &Path {
        self.folder.path()
    }
}

fn params(subject: &[(DnType, &str)], serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params
}

/// The certificate as `openssl` prints it: the subject as RFC 2253 writes it, and the serial number in decimal digits.
pub fn printed(identity: &Identity) -> (String, String) {
    let ask = |args: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-in"]).arg(&identity.certificate).args(args);
        String::from_utf8(run(&mut openssl).stdout).unwrap().trim().to_owned()
    };
    let subject = ask(&["-subject", "-nameopt", "RFC2253"]);
    let serial = ask(&["-serial"]);
    let hex = serial.strip_prefix("serial=").unwrap();
    (subject.strip_prefix("subject=").unwrap().trim_start().to_owned(), decimal(hex))
}

/// A number of any length, from hexadecimal to decimal digits.
fn decimal(hex: &str) -> String {
    let mut digits = vec![0_u32];
    for digit in hex.chars() {
        let mut carry = digit.to_digit(16).unwrap();
        for place in &mut digits {
            let value = *place * 16 + carry;
            (*place, carry) = (value % 10, value / 10);
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from_digit(*digit, 10).unwrap()).collect()
}

impl Shop {
    /// With these lines of `pg_hba.conf` and `pg_ident.conf`, in a database of that encoding. Over its socket everybody
    /// is who they say.
    pub fn new(hba: &[&str], ident: &[&str], encoding: &str) -> Self {
        let (network, signed, cluster) = (Network::new(), Signed::new(), Cluster::init());
        let identity = signed.server("server");
        let keys = keyring(&cluster, "keys", &line("a", &fresh_key()), 0o600);
        let own = [
            "listen_addresses = '*'".to_owned(),
            "ssl = on".to_owned(),
            "password_encryption = 'scram-sha-256'".to_owned(),
            format!("ssl_cert_file = '{}'", identity.certificate.display()),
            format!("ssl_key_file = '{}'", identity.key.display()),
            format!("ssl_ca_file = '{}'", signed.authority.display()),
            setting(&keys),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        cluster.configure(&[PRELOADED, &own].concat());
        let lines =
            |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(
            cluster.data().join("pg_hba.conf"),
            format!("local all all trust\n{}", lines(hba)),
        )
        .unwrap();
        fs::write(cluster.data().join("pg_ident.conf"), lines(ident)).unwrap();
        cluster.up_on(&network.server);
        let site = Site { cluster: Arc::new(cluster), database: "shop".into(), app: "app".into() };
        let mut admin = site.cluster.admin("postgres");
        admin
            .batch_execute(&format!(
                "CREATE DATABASE shop TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
            ))
            .unwrap();
        for (name, value) in CHEAP {
            let sql = format!("ALTER DATABASE shop SET password_verify.{name} = {value}");
            admin.batch_execute(&sql).unwrap();
        }
        site.admin()
            .batch_execute("CREATE SCHEMA auth; CREATE EXTENSION password_verify SCHEMA auth")
            .unwrap();
        let shop = Self { network, signed, site };
        shop.role("app");
        shop
    }

    /// A login that may do what an application does.
    pub fn role(&self, name: &str) {
        self.site
            .admin()
            .batch_execute(&format!(
                "CREATE ROLE {name} LOGIN PASSWORD '{LOGIN}';
                 GRANT USAGE ON SCHEMA auth TO {name};
                 SELECT auth.pv_grant('{name}', 'verifier'), auth.pv_grant('{name}', 'enroller')"
            ))
            .unwrap();
    }

    /// The whole certificate of the client that a connection needs, and what it trusts.
    pub fn with(&self, identity: &Identity) -> String {
        format!("sslcert={} sslkey={}", identity.certificate.display(), identity.key.display())
    }

    /// What `psql` says on that machine, with a connection string beside database, password and authority.
    pub fn psql_on(&self, machine: &Machine, connection: &str, sql: &[&str]) -> Said {
        let mut psql = machine.command(&bindir().join("psql"), None);
        let trusted = self.signed.authority.display();
        let connection = format!(
            "dbname=shop password='{LOGIN}' gssencmode=disable sslrootcert={trusted} {connection}"
        );
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "VERBOSITY=verbose",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
        ]);
        psql.arg(connection).env("HOME", self.signed.at()).env("PGCONNECT_TIMEOUT", "20");
        for statement in sql {
            psql.arg("-c").arg(statement);
        }
        let output = psql.output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        if output.status.success() { Ok(out.unwrap().trim().into()) } else { Err(err.unwrap()) }
    }

    /// From the client's machine to the server's.
    pub fn psql(&self, connection: &str, sql: &[&str]) -> Said {
        self.psql_on(&self.network.client, &format!("host={SERVER} {connection}"), sql)
    }

    /// How many events there are of a user.
    pub fn events_of(&self, user: &str) -> i64 {
        let sql = "SELECT count(*) FROM auth.pv_events WHERE user_id = $1";
        self.site.admin().query_one(sql, &[&user]).unwrap().get(0)
    }

    /// Of the events of a user: subject, serial and address of the peer, each once.
    pub fn peers_of(&self, user: &str) -> String {
        let sql = format!(
            "SELECT COALESCE(string_agg(DISTINCT concat_ws(' ', COALESCE(certificate_subject, '-'),
                        COALESCE(certificate_serial, '-'), peer_addr), E'\\n'), '')
               FROM auth.pv_events WHERE user_id = '{user}'"
        );
        text(&mut self.site.admin(), &sql)
    }
}

/// `pv_validate_password` as SQL.
pub fn validating(user: &str, password: &str) -> String {
    format!("SELECT valid, reason FROM auth.pv_validate_password('{user}'::text, '{password}')")
}

/// Is it the error with that SQLSTATE, and nothing else?
pub fn has_state(said: &Said, state: &str) -> bool {
    said.as_ref().is_err_and(|error| error.starts_with(&format!("ERROR:  {state}: ")))
}
