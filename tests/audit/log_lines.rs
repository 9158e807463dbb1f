//! Lines of the server log: which of them are ours.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::server;
use password_verify_tests::keyring::{fresh_key, line, restart, sealed_site};
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, Site};
use postgres::Client;

/// Is it genuine, and if not, why not?
fn ask(auditor: &mut Client, line: &str) -> Option<String> {
    let sql = "SELECT genuine, problem FROM auth.pv_verify_log_line($1)";
    let row = auditor.query_one(sql, &[&line]).unwrap();
    let problem: Option<String> = row.get(1);
    assert_eq!(row.get::<_, bool>(0), problem.is_none());
    problem
}

/// Every line of the log with JSON of this database, or what pretends to be one.
fn lines(site: &Site) -> Vec<String> {
    let ours = format!(r#""database":"{}""#, site.database);
    let log = site.cluster.log();
    let all =
        log.lines().filter(|line| line.contains("password_verify: {") && line.contains(&ours));
    all.map(str::to_owned).collect()
}

/// Locks an account, which is an alert, and waits for it and for the head.
fn make_lines(site: &Site) {
    let mut app = site.login();
    (0..5).for_each(|_| assert!(!validate(&mut app, "alice {\"x\"}", "guess").0));
    assert_eq!(validate(&mut app, "alice {\"x\"}", "guess"), Answer::no("throttled"));
    wait_until("an alert and two heads", || {
        let lines = lines(site);
        let heads = lines.iter().filter(|line| line.contains(r#""audit":"head""#)).count();
        heads > 1 && lines.iter().any(|line| line.contains("account_waits"))
    });
}

#[test]
fn a_line_that_a_login_has_logged_is_told_apart() {
    let site = sealed_site(&line("first", &fresh_key()));
    make_lines(&site);
    let mut auditor = site.login_with(&["auditor"]);
    let genuine = lines(&site);
    let mut numbers = BTreeSet::new();
    for line in &genuine {
        assert_eq!(ask(&mut auditor, line), None, "{line}");
        let number = line.split(r#""line":"#).nth(1).unwrap().split(',').next().unwrap();
        assert!(numbers.insert(number.to_owned()), "{line}: the number is there twice");
    }
    // What anybody with a login can do.
    let mut app = site.login();
    let head = genuine.iter().find(|line| line.contains(r#""audit":"head""#)).unwrap();
    let json = &head[head.find("password_verify: {").unwrap()..];
    let forged = json.replace(r#""seq":"#, r#""seq":9"#);
    let stripped = json.split(r#","server""#).next().unwrap();
    for line in [forged.clone(), format!("{stripped}}}")] {
        app.batch_execute(&format!("DO $$ BEGIN RAISE LOG '%', $line${line}$line$; END $$"))
            .unwrap();
        wait_until("it is in the log", || lines(&site).iter().any(|it| it.ends_with(&line)));
    }
    let by_login = lines(&site).into_iter().filter(|line| !genuine.contains(line));
    let problems: BTreeSet<_> = by_login.filter_map(|line| ask(&mut auditor, &line)).collect();
    let expected = ["forged or changed", "not a line of password_verify"];
    assert_eq!(problems, expected.map(str::to_owned).into());
    // One without a key is no way around it, and neither is a key that nobody has.
    let without = forged.replace(r#""key":"first""#, r#""key":null"#);
    let problem = ask(&mut auditor, &without);
    assert_eq!(problem.as_deref(), Some("without a key although there is a keyring"));
    let other = forged.replace(r#""key":"first""#, r#""key":"second""#);
    let problem = ask(&mut auditor, &other);
    assert_eq!(problem.as_deref(), Some("the keyring does not have the key of this line"));
    // A line that is copied is genuine, and its number is there twice.
    assert_eq!(ask(&mut auditor, json), None);
}

#[test]
fn a_line_outlives_a_restart_and_a_rotation() {
    let (first, second) = (line("first", &fresh_key()), line("second", &fresh_key()));
    let site = sealed_site(&first);
    make_lines(&site);
    let before = lines(&site);
    restart(&site.cluster, &format!("{first}{second}"));
    make_lines(&site);
    let mut auditor = site.login_with(&["auditor"]);
    let after = lines(&site);
    assert!(after.len() > before.len());
    let mut numbers = BTreeSet::new();
    for line in &after {
        assert_eq!(ask(&mut auditor, line), None, "{line}");
        // Start and number together are there once.
        let number = line.split(r#""server":"#).nth(1).unwrap().split(r#","key""#).next().unwrap();
        assert!(numbers.insert(number.to_owned()), "{line}");
    }
    assert!(after.last().unwrap().contains(r#""key":"second""#));
}

#[test]
fn without_a_keyring_a_line_carries_a_hash() {
    let site = Site::on(server(&[]));
    make_lines(&site);
    let mut auditor = site.login_with(&["auditor"]);
    let line = lines(&site).pop().unwrap();
    assert!(line.contains(r#""key":null"#), "{line}");
    assert_eq!(ask(&mut auditor, &line), None);
    let changed = line.replace(r#""line":"#, r#""line":1"#);
    assert_eq!(ask(&mut auditor, &changed).as_deref(), Some("forged or changed"));
    for none in ["", "password_verify: {}", &"x".repeat(1_000_000)] {
        let problem = ask(&mut auditor, none);
        assert_eq!(problem.as_deref(), Some("not a line of password_verify"));
    }
    let sql = "SELECT * FROM auth.pv_verify_log_line(NULL)";
    assert!(auditor.query(sql, &[]).is_err());
    assert!(site.login().query(sql, &[]).is_err(), "it is for auditors");
}

/// A name of a role that is not text in this database: two of them were one in the audit.
#[test]
fn names_that_are_no_text_stay_apart() {
    let cluster = server(&[]);
    let latin1 = Site::with(Arc::clone(&cluster), "ENCODING 'LATIN1' LOCALE 'C'");
    let utf8 = Site::on(Arc::clone(&cluster));
    // Made in a database of that encoding, the first two have bytes that are not UTF-8.
    let mut admin = latin1.admin();
    for name in ["jürgen", "järgen", r"j\xfcrgen"] {
        admin.batch_execute(&format!("CREATE ROLE \"{name}\" LOGIN SUPERUSER")).unwrap();
    }
    for site in [&latin1, &utf8] {
        // The name cannot be written down in the other encoding, but it need not be.
        let mut admin = site.admin();
        admin
            .batch_execute(
                "DO $$ DECLARE who name; BEGIN
                    FOR who IN SELECT rolname FROM pg_authid WHERE rolsuper AND oid > 16000 LOOP
                        PERFORM set_config('role', who::text, false);
                        PERFORM auth.pv_validate_password('nobody' || (SELECT oid::text FROM pg_authid WHERE rolname = who), 'guess');
                    END LOOP; END $$",
            )
            .unwrap();
        let sql = "SELECT DISTINCT acting_role FROM auth.pv_events WHERE action = 'validate'";
        let rows = site.admin().query(sql, &[]).unwrap();
        let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let expected = [r"j\xfcrgen", r"j\xe4rgen", r"j\x5cxfcrgen"];
        assert_eq!(found, expected.map(str::to_owned).into(), "{}", site.database);
    }
}
