//! Clients with certificates: who gets in, whose secrets are taken, and what is on record of it.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::validate;
use password_verify_tests::mail::Identity;
use password_verify_tests::network::{CLIENT, SERVER};
use password_verify_tests::query::{number, text};
use password_verify_tests::tls::{APP_NAME, Said, Shop, has_state, printed, validating};
use password_verify_tests::trail::{assert_intact, verify, wait_until};
use password_verify_tests::{GOOD, WRONG, sqlstate};
use rcgen::DnType;

/// The lines of a block of the README.
fn readme(block: &str) -> Vec<&'static str> {
    let text = include_str!("../../README.md");
    let rest = text.split_once(&format!("```{block}\n")).unwrap().1;
    rest.split_once("```").unwrap().0.lines().collect()
}

/// With the README's lines, and others for roles that have a password as well, or only that.
fn shop(encoding: &str) -> Shop {
    let more = [
        "hostssl shop staff 192.0.2.0/24 scram-sha-256 clientcert=verify-ca",
        "host shop web 192.0.2.0/24 scram-sha-256",
        "host shop web 127.0.0.1/32 scram-sha-256",
    ];
    let hba = [readme("pg_hba.conf"), more.to_vec()].concat();
    let shop = Shop::new(&hba, &readme("pg_ident.conf"), encoding);
    shop.role("staff");
    shop.role("web");
    shop.site.enroll("42", GOOD);
    shop
}

fn app(shop: &Shop) -> Identity {
    let subject = [
        (DnType::CountryName, "DE"),
        (DnType::OrganizationName, "Example, \"Shop\" + Söhne"),
        (DnType::CommonName, APP_NAME),
    ];
    // 20 bytes, the most that RFC 5280 allows.
    shop.signed.client(
        "app",
        &subject,
        &[0x7f, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 255],
    )
}

fn yes() -> Said {
    Ok("t|".into())
}

fn require(shop: &Shop, role: &str) {
    let sql = format!("ALTER ROLE {role} SET password_verify.require_client_certificate = on");
    shop.site.admin().batch_execute(&sql).unwrap();
}

#[test]
fn the_lines_of_the_readme_let_the_application_in_and_nobody_else() {
    let shop = shop("UTF8");
    require(&shop, "app");
    let identity = app(&shop);
    let as_app = |with: &str| {
        shop.psql(&format!("user=app sslmode=verify-full {with}"), &[&validating("42", GOOD)])
    };
    assert_eq!(as_app(&shop.with(&identity)), yes());
    let (subject, serial) = printed(&identity);
    assert!(subject.starts_with(r"CN=shop-web,O=Example\, \"), "{subject}");
    assert!(serial.len() > 47, "{serial}");
    assert_eq!(shop.peers_of("42"), format!("- - local\n{subject} {serial} {CLIENT}"));

    // PostgreSQL refuses everybody else, before there is a session.
    let refused = |with: &str, why: &str| {
        let said = as_app(with).unwrap_err();
        assert!(said.starts_with("psql: error: ") && said.contains(why), "{said}");
    };
    let client = |name: &str| shop.signed.client(name, &[(DnType::CommonName, name)], &[3]);
    refused("", "connection requires a valid client certificate");
    refused(&shop.with(&client("shop-api")), "certificate authentication failed");
    refused(&shop.with(&client("app")), "certificate authentication failed");
    refused(&shop.with(&shop.signed.expired("expired", APP_NAME)), "certificate expired");
    refused(&shop.with(&shop.signed.foreign("foreign", APP_NAME)), "unknown ca");
    // Nobody else is the application, and the application is nobody else.
    let other =
        shop.psql(&format!("user=web sslmode=require {}", shop.with(&identity)), &["SELECT 1"]);
    assert_eq!(other, Ok("1".into()), "its own line asks for a password only");
    refused(&format!("{} dbname=postgres", shop.with(&identity)), "no pg_hba.conf entry");
    refused("sslmode=disable", "no pg_hba.conf entry");
    let sql = "SELECT count(DISTINCT certificate_serial) FROM auth.pv_events";
    assert_eq!(number(&mut shop.site.admin(), sql), 1);
}

#[test]
fn where_it_is_required_nothing_is_a_certificate_but_a_certificate() {
    let shop = shop("UTF8");
    for role in ["staff", "web"] {
        require(&shop, role);
    }
    let call = validating("42", GOOD);
    let identity = app(&shop);
    // With the password of the role, on a line that demands a certificate as well.
    let with = shop.with(&identity);
    assert_eq!(shop.psql(&format!("user=staff sslmode=verify-full {with}"), &[&call]), yes());
    let said = shop.psql("user=staff sslmode=verify-full", &[&call]).unwrap_err();
    assert!(said.contains("connection requires a valid client certificate"), "{said}");
    // On a line that does not, it is for us to say.
    let before = shop.events_of("42");
    for (connection, what) in [
        ("sslmode=verify-full", "without a verified client certificate"),
        ("sslmode=verify-full channel_binding=require", "without a verified client certificate"),
        ("sslmode=disable", "not encrypted"),
    ] {
        let said = shop.psql(&format!("user=web {connection}"), &[&call]);
        assert!(has_state(&said, "28000"), "{said:?}");
        let error = said.unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(error.contains("HINT:  Connect with TLS"), "{error}");
    }
    // Loopback and sockets are local, but no certificate.
    for host in ["127.0.0.1", &shop.site.cluster.folder().display().to_string()] {
        let connection = format!("host={host} user=web");
        let said = shop.psql_on(&shop.network.server, &connection, &[&call]);
        assert!(has_state(&said, "28000"), "{host}: {said:?}");
    }
    assert_eq!(shop.events_of("42"), before);
    // One that is shown counts, also if PostgreSQL had not asked for it.
    assert_eq!(shop.psql(&format!("user=web sslmode=require {with}"), &[&call]), yes());
    // Over loopback, too.
    let connection = format!("host=127.0.0.1 user=web sslmode=require {with}");
    assert_eq!(shop.psql_on(&shop.network.server, &connection, &[&call]), yes());
    // It is the role that has logged in, and only that one.
    let mut app = shop.site.login();
    assert!(validate(&mut app, "42", GOOD).0, "a role without the setting");
    let mut web = shop.site.cluster.connect("web", "shop");
    for evasion in [
        "SET password_verify.require_client_certificate = off",
        "ALTER ROLE web RESET password_verify.require_client_certificate",
    ] {
        assert_eq!(sqlstate(web.batch_execute(evasion)), "42501", "{evasion}");
    }
    web.batch_execute("RESET ALL").unwrap();
    web.batch_execute("DISCARD ALL").unwrap();
    assert_eq!(sqlstate(web.query(&call, &[])), "28000");
}

#[test]
fn a_certificate_that_is_not_verified_is_none() {
    let shop = shop("UTF8");
    require(&shop, "web");
    // A server that has no authority asks for no certificate.
    shop.site.admin().batch_execute("ALTER SYSTEM SET ssl_ca_file = ''").unwrap();
    shop.site.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
    let connection = format!("user=web sslmode=require {}", shop.with(&app(&shop)));
    wait_until("no certificate is asked for", || {
        let sql = "SELECT client_serial IS NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        shop.psql(&connection, &[sql]) == Ok("t".into())
    });
    let said = shop.psql(&connection, &[&validating("42", GOOD)]);
    assert!(has_state(&said, "28000"), "{said:?}");
    shop.site.admin().batch_execute("ALTER ROLE web RESET ALL").unwrap();
    assert_eq!(shop.psql(&connection, &[&validating("42", GOOD)]), yes());
    assert_eq!(shop.peers_of("42"), format!("- - {CLIENT}\n- - local"));
}

#[test]
fn repeats_with_another_certificate_have_another_row() {
    let shop = shop("UTF8");
    shop.site.allow_failures();
    let connection = |serial: u8| {
        let file = format!("renewed{serial}");
        let identity = shop.signed.client(&file, &[(DnType::CommonName, "web")], &[serial]);
        format!("user=web sslmode=require {}", shop.with(&identity))
    };
    let calls = [validating("7", WRONG), validating("7", WRONG), validating("7", WRONG)];
    let calls = calls.each_ref().map(String::as_str);
    for serial in [5, 6] {
        assert!(shop.psql(&connection(serial), &calls).is_ok());
    }
    assert!(shop.psql("user=web sslmode=require", &calls).is_ok());
    let sql = "SELECT string_agg(line, ' ' ORDER BY line COLLATE \"C\") FROM (
                   SELECT COALESCE(certificate_serial, '-') || '=' || sum(count) AS line FROM auth.pv_events
                    WHERE user_id = '7' GROUP BY certificate_serial, certificate_subject) AS lines";
    assert_eq!(text(&mut shop.site.admin(), sql), "-=3 5=3 6=3");
    assert_intact(&mut shop.site.admin());
}

#[test]
fn a_long_subject_is_cut_and_every_encoding_can_write_it() {
    // PostgreSQL lets nobody in whose subject its encoding cannot express.
    for (encoding, letter, escaped) in [("UTF8", "€", r"\E2\82\AC"), ("LATIN1", "é", r"\C3\A9")]
    {
        let shop = shop(encoding);
        // 64 characters at most in each, and each is six bytes or nine.
        let unit = letter.repeat(40);
        let subject =
            [(DnType::OrganizationName, unit.as_str()), (DnType::CommonName, "web \\ } \"")];
        let identity = shop.signed.client("long", &subject, &[9]);
        let connection = format!("user=web sslmode=require {}", shop.with(&identity));
        assert_eq!(shop.psql(&connection, &[&validating("42", GOOD)]), yes(), "{encoding}");
        let (whole, _) = printed(&identity);
        assert!(whole.len() > 240 && whole.is_ascii(), "{whole}");
        let sql = "SELECT certificate_subject FROM auth.pv_events WHERE certificate_serial = '9'";
        let kept = text(&mut shop.site.admin(), sql);
        let start = kept.strip_suffix("...").unwrap();
        assert!(whole.starts_with(start), "{kept}");
        assert!((190..=200).contains(&kept.len()), "{kept}");
        assert!(start.ends_with(escaped), "{kept}");

        // The same in the log, where an alert names it.
        let wrong = [WRONG; 6].map(|password| validating("9", password));
        assert!(shop.psql(&connection, &wrong.each_ref().map(String::as_str)).is_ok());
        let json = kept.replace('\\', "\\u005c").replace('}', "\\u007d").replace('"', "\\u0022");
        let expected = format!(
            r#""peer_addr":"{CLIENT}","certificate_subject":"{json}","certificate_serial":"9""#
        );
        wait_until("the alert is in the log", || shop.site.cluster.log().contains(&expected));
        let log = shop.site.cluster.log();
        let line = log.lines().find(|line| line.contains(&expected)).unwrap();
        let sql = "SELECT genuine FROM auth.pv_verify_log_line($1)";
        let genuine: bool = shop.site.admin().query_one(sql, &[&line]).unwrap().get(0);
        assert!(genuine, "{line}");
        let without = line.replace(r#""certificate_serial":"9""#, r#""certificate_serial":null"#);
        assert!(!shop.site.admin().query_one(sql, &[&without]).unwrap().get::<_, bool>(0));
    }
}

#[test]
fn who_changes_it_in_the_audit_is_noticed() {
    let shop = shop("UTF8");
    let identity = shop.signed.client("web", &[(DnType::CommonName, "web")], &[9]);
    let connection = format!("host={SERVER} user=web sslmode=require {}", shop.with(&identity));
    let said = shop.psql_on(&shop.network.client, &connection, &[&validating("42", GOOD)]);
    assert_eq!(said, yes());
    let mut admin = shop.site.admin();
    assert_intact(&mut admin);
    for (column, values) in [
        ("certificate_subject", ["'CN=somebody else'", "NULL", "''"]),
        ("certificate_serial", ["'8'", "NULL", "''"]),
    ] {
        for value in values {
            let mut open = admin.transaction().unwrap();
            let sql = format!(
                "UPDATE password_verify.event SET {column} = {value} WHERE certificate_serial = '9'"
            );
            assert!(open.execute(&sql, &[]).unwrap() > 0);
            let verdict = verify(&mut open);
            assert!(!verdict.intact, "{sql}: {verdict:?}");
            open.rollback().unwrap();
        }
    }
    assert_intact(&mut admin);
}
