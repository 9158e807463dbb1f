//! Logins with certificates, so that there are some on record.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rcgen::DnType;

use crate::cluster::{bindir, run};
use crate::tls::{Signed, validating};
use crate::{Cluster, Site, WRONG};

/// Who has one, and its serial number.
const USERS: [(&str, u8); 2] = [("certified", 1), ("certified too", 2)];

static NUMBER: AtomicU8 = AtomicU8::new(8);

pub struct Certified {
    signed: Signed,
    address: String,
}

impl Certified {
    /// From its next start on the server has TLS, at an address that no other server has.
    pub fn on(cluster: &Cluster) -> Self {
        let signed = Signed::new();
        let identity = signed.server("server");
        let pid = std::process::id();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.{}.{}.{number}", pid / 256 % 256, pid % 256);
        cluster.configure(&[
            &format!("listen_addresses = '{address}'"),
            "ssl = on",
            &format!("ssl_cert_file = '{}'", identity.certificate.display()),
            &format!("ssl_key_file = '{}'", identity.key.display()),
            &format!("ssl_ca_file = '{}'", signed.authority.display()),
        ]);
        let path = cluster.data().join("pg_hba.conf");
        let lines = fs::read_to_string(&path).unwrap() + "hostssl all all 127.0.0.0/8 trust\n";
        fs::write(path, lines).unwrap();
        Self { signed, address }
    }

    /// Wrong passwords of each, which are folded.
    pub fn fold(&self, site: &Site, times: usize) {
        for (user, serial) in USERS {
            let subject = [(DnType::CommonName, user)];
            let identity = self.signed.client(&format!("{serial}"), &subject, &[serial]);
            let (certificate, key) = (identity.certificate.display(), identity.key.display());
            let mut psql = Command::new(bindir().join("psql"));
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"]).arg(format!(
                "host={} port=5432 user={} dbname={} sslmode=require sslcert={certificate} sslkey={key}",
                self.address, site.app, site.database
            ));
            for _ in 0..times {
                psql.arg("-c").arg(validating(user, WRONG));
            }
            run(psql.env("HOME", self.signed.at()));
        }
    }
}
