//! The way to PostgreSQL: TLS with a name that is checked, channel binding, certificates, and nothing less.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::process::Stdio;

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Certificates, Dovecot, Identity};
use password_verify_tests::mail_app::Mailbox;
use password_verify_tests::pv_keeper::{PvKeeper, Setup};

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");
const PASSWORD: &str = "velvet-anvil-under";
/// Of the connector's login.
const LOGIN: &str = "lantern-for-the-connector";
/// A loopback address that no other server of a test listens on: the port is everybody's.
const HOST: &str = "127.83.41.7";

struct Server {
    kept: KeptSite,
    certificates: Certificates,
}

/// Writes a file that is the server's alone.
fn give(kept: &KeptSite, name: &str, text: &str) {
    let path = kept.site.cluster.data().join(name);
    let mut shell = kept.site.cluster.command("/bin/sh");
    shell.args(["-c", "umask 077; cat >\"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn present(kept: &KeptSite, identity: &Identity) {
    give(kept, "server.pem", &fs::read_to_string(&identity.certificate).unwrap());
    give(kept, "server.key", &fs::read_to_string(&identity.key).unwrap());
}

/// A server that listens on TCP. `hba`: how the connector comes in there.
fn server(hba: &str) -> Server {
    let (kept, certificates) = (KeptSite::new(), Certificates::new());
    present(&kept, &certificates.good);
    give(&kept, "ca.pem", &fs::read_to_string(&certificates.authority).unwrap());
    give(&kept, "pg_hba.conf", &format!("local all all trust\n{hba}\n"));
    kept.admin()
        .batch_execute(&format!("ALTER ROLE {} PASSWORD '{LOGIN}'", kept.connector))
        .unwrap();
    let cluster = &kept.site.cluster;
    cluster.configure(&[
        &format!("listen_addresses = '{HOST}'"),
        "ssl = on",
        "ssl_cert_file = 'server.pem'",
        "ssl_key_file = 'server.key'",
        "ssl_ca_file = 'ca.pem'",
    ]);
    cluster.down();
    cluster.up();
    Server { kept, certificates }
}

impl Server {
    fn setup(&self, rest: &str) -> Setup {
        let (user, database) = (&self.kept.connector, &self.kept.site.database);
        let dsn = format!(
            "host=localhost hostaddr={HOST} port=5432 user={user} dbname={database} {rest}"
        );
        let authority = self.certificates.authority.display();
        Setup::new(KEEPER, &self.kept, &self.certificates)
            .dsn(&dsn)
            .database(&format!("ca_file = '{authority}'"))
            .database("timeout = 5")
    }

    /// What `--check` says: nothing secret, ever.
    fn check(&self, rest: &str) -> (bool, String) {
        said(&self.setup(rest).files())
    }
}

fn said(keeper: &PvKeeper) -> (bool, String) {
    let output = keeper.check();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains(LOGIN), "{text}");
    (output.status.success(), text)
}

/// One after the other: they share an address.
#[test]
fn nothing_but_tls_with_a_name_that_is_checked() {
    let server = server("hostssl all all 127.0.0.0/8 scram-sha-256");
    let full = format!("password={LOGIN} sslmode=verify-full");
    let (fine, text) = server.check(&full);
    assert!(fine, "{text}");
    // And it works.
    let dovecot = Dovecot::start(&server.certificates, &[("ann", PASSWORD)]);
    let keeper = server.setup(&full).start();
    let mut app = server.kept.depositor();
    let ann = Mailbox::new(&server.certificates, dovecot.imaps_port(), "ann", PASSWORD);
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "ended done ok");
    keeper.stop();

    for less in ["require", "prefer", "disable"] {
        let (fine, text) = server.check(&format!("password={LOGIN} sslmode={less}"));
        assert!(!fine && text.contains("needs sslmode=verify-full"), "{less}: {text}");
    }
    // These the library does not know.
    for less in ["verify-ca", "allow"] {
        let (fine, text) = server.check(&format!("password={LOGIN} sslmode={less}"));
        assert!(!fine && text.contains("no connection string"), "{less}: {text}");
    }
    let (fine, text) = server.check(&format!("password={LOGIN}"));
    assert!(!fine && text.contains("needs sslmode=verify-full"), "{text}");
    let (fine, text) = server.check(&format!("password={LOGIN}x sslmode=verify-full"));
    assert!(!fine && text.contains("no connection"), "{text}");
    // A password that looks like the setting is none.
    let (fine, text) = server.check("password='sslmode=verify-full'");
    assert!(!fine && text.contains("needs sslmode=verify-full"), "{text}");

    // Whoever stands in between.
    for wrong in ["foreign", "expired", "other_name"] {
        let identity = match wrong {
            "foreign" => &server.certificates.foreign,
            "expired" => &server.certificates.expired,
            _ => &server.certificates.other_name,
        };
        present(&server.kept, identity);
        server.kept.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
        let (fine, text) = server.check(&full);
        assert!(!fine && text.contains("no connection"), "{wrong}: {text}");
    }
    present(&server.kept, &server.certificates.good);

    // A certificate of the keeper's own, where the server asks for one.
    let hba = "hostssl all all 127.0.0.0/8 scram-sha-256 clientcert=verify-ca";
    give(&server.kept, "pg_hba.conf", &format!("local all all trust\n{hba}\n"));
    server.kept.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
    let (fine, text) = server.check(&full);
    assert!(!fine && text.contains("no connection"), "{text}");
    let Identity { certificate, key } = &server.certificates.client;
    let with = |keeper: Setup| {
        // As root has given it to the program's user.
        keeper
            .database("client_cert_file = 'client.pem'")
            .database("client_key_file = 'client.key'")
            .files()
    };
    let keeper = with(server.setup(&full));
    keeper.put("client.pem", &fs::read_to_string(certificate).unwrap());
    keeper.put("client.key", &fs::read_to_string(key).unwrap());
    let (fine, text) = said(&keeper);
    assert!(fine, "{text}");

    // Without channel binding, which a man in the middle with a certificate could not do, there is no login.
    give(
        &server.kept,
        "pg_hba.conf",
        "local all all trust\nhostssl all all 127.0.0.0/8 password\n",
    );
    server.kept.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
    let (fine, text) = server.check(&full);
    assert!(!fine && text.contains("no connection"), "{text}");

    // Without TLS neither.
    server.kept.site.cluster.configure(&["ssl = off"]);
    give(
        &server.kept,
        "pg_hba.conf",
        "local all all trust\nhost all all 127.0.0.0/8 scram-sha-256\n",
    );
    server.kept.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
    let (fine, text) = server.check(&full);
    assert!(!fine && text.contains("no connection"), "{text}");
}
