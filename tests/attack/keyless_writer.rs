//! Somebody may write every table, and has no key: no account opens, nothing counts, and what can only be noticed is.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::Duration;

use password_verify_tests::calls::{
    CREATE, VALIDATE, ask, change, create, issue, manage, reset, set, validate,
};
use password_verify_tests::keyring::{fresh_key, line, restart, sealed_site};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{assert_intact, settle, stat};
use password_verify_tests::whole::{assert_whole, await_tampered, keep, problem, put_back};
use password_verify_tests::{Answer, GOOD, OTHER, Site, WRONG, attack, refused, sqlstate};
use postgres::Client;

const RESET: &str = "SELECT success, reason FROM auth.pv_reset_password($1, $2)";

/// The record of a password as a server without a keyring makes it.
fn record_of(password: &str) -> String {
    let site = Site::new();
    site.enroll("mallory", password);
    text(
        &mut site.admin(),
        "SELECT verifier FROM password_verify.credential WHERE user_id = 'mallory'",
    )
}

#[test]
fn a_record_without_a_seal_opens_nothing_beside_sealed_ones() {
    let site = sealed_site(&line("a", &fresh_key()));
    let (mut app, mut admin) = (site.login(), site.admin());
    let users = ["plain", "disabled", "must change", "expired"];
    users.iter().for_each(|user| site.enroll(user, GOOD));
    assert!(manage(&mut admin, "pv_disable_user", "disabled"));
    assert!(manage(&mut admin, "pv_require_change", "must change"));
    let sql = "SELECT * FROM auth.pv_set_password('expired', $1, false, now() - interval '1 day')";
    assert_eq!(ask(&mut admin, sql, &[&GOOD]).unwrap(), Answer::yes());
    assert_whole(&mut admin);
    let record = record_of(OTHER);
    let mut opened = 0;
    // With the MAC that was there, and as a server without a keyring writes it.
    for mac in ["mac", "''"] {
        keep(&mut admin, "credential");
        keep(&mut admin, "account");
        let sql = format!(
            "UPDATE password_verify.credential SET verifier = '{record}', must_change = false,
                    expires_at = NULL, mac = {mac} WHERE user_id <> '';
             UPDATE password_verify.account SET disabled_at = NULL, change_required_at = NULL,
                    seal = '', mac = {mac} WHERE user_id <> ''"
        );
        admin.batch_execute(&sql).unwrap();
        for user in users {
            let (state, message, _) = refused(app.query(VALIDATE, &[&user, &OTHER]));
            assert_eq!(state, "XX001", "{user}");
            assert!(message.ends_with("record is corrupt"), "{message}");
            let sql = "SELECT success FROM auth.pv_change_password($1::text, $2, $3)";
            let change = app.query_one(sql, &[&user, &OTHER, &WRONG]);
            opened += usize::from(change.is_ok_and(|row| row.get(0)));
        }
        assert_eq!(problem(&mut admin).unwrap().0, "credential");
        put_back(&mut admin, "credential", "true");
        put_back(&mut admin, "account", "true");
        assert_whole(&mut admin);
    }
    attack("a record without a seal beside sealed ones", 2 * users.len(), opened);
    await_tampered(&site, "credential");
    assert!(stat(&mut admin, "rows_refused") > 0);
    // Nothing was lost by it.
    assert_eq!(validate(&mut app, "plain", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "disabled", GOOD), Answer::no("disabled"));
    assert_intact(&mut admin);
}

#[test]
fn a_digest_without_a_seal_redeems_nothing() {
    let site = sealed_site(&line("a", &fresh_key()));
    let (mut app, mut admin) = (site.login(), site.admin());
    site.enroll("42", GOOD);
    issue(&mut admin, "42");
    // A token that names the victim's place, of which the attacker knows the digest.
    let elsewhere = Site::new();
    elsewhere.enroll("42", GOOD);
    let token = issue(&mut elsewhere.admin(), "42");
    let theirs = |column: &str| {
        let sql =
            format!("SELECT {column}::text FROM password_verify.credential WHERE user_id = '42'");
        text(&mut elsewhere.admin(), &sql)
    };
    let (digest, place) = (theirs("reset_digest"), theirs("blind_index"));
    let mine = text(
        &mut admin,
        "SELECT blind_index::text FROM password_verify.credential WHERE user_id = '42'",
    );
    for mac in ["mac", "''"] {
        // The row is moved to where the token looks.
        let sql = format!(
            "UPDATE password_verify.credential SET reset_digest = '{digest}', blind_index = '{place}', mac = {mac}
              WHERE user_id = '42'"
        );
        admin.batch_execute(&sql).unwrap();
        assert_eq!(sqlstate(app.query(RESET, &[&token, &OTHER])), "XX001");
        let sql = format!(
            "UPDATE password_verify.credential SET blind_index = '{mine}' WHERE user_id = '42'"
        );
        admin.batch_execute(&sql).unwrap();
        assert_eq!(sqlstate(app.query(VALIDATE, &[&"42", &OTHER])), "XX001");
    }
}

#[test]
fn a_row_of_another_database_with_the_same_keyring_opens_nothing() {
    let site = sealed_site(&line("a", &fresh_key()));
    let theirs = Site::on(site.cluster.clone());
    site.enroll("42", GOOD);
    theirs.enroll("42", OTHER);
    let (mut app, mut admin) = (site.login(), site.admin());
    for table in ["credential", "account"] {
        let sql = format!("SELECT t::text FROM password_verify.{table} t WHERE user_id = '42'");
        let row = text(&mut theirs.admin(), &sql);
        keep(&mut admin, table);
        let place = text(
            &mut admin,
            &format!("SELECT blind_index::text FROM password_verify.{table} WHERE user_id = '42'"),
        );
        admin
            .batch_execute(&format!(
                "DELETE FROM password_verify.{table} WHERE user_id = '42';
                 INSERT INTO password_verify.{table} SELECT ('{row}'::password_verify.{table}).*;
                 UPDATE password_verify.{table} SET blind_index = '{place}' WHERE user_id = '42'"
            ))
            .unwrap();
        for password in [GOOD, OTHER] {
            assert_eq!(sqlstate(app.query(VALIDATE, &[&"42", &password])), "XX001", "{table}");
        }
        put_back(&mut admin, table, "true");
    }
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_whole(&mut admin);
}

/// Puts rows back to what they once were.
fn roll_back(admin: &mut Client, table: &str, user: &str) {
    put_back(admin, table, &format!("user_id = '{user}'"));
}

#[test]
fn a_record_put_back_to_an_older_one_is_noticed() {
    let keys = line("a", &fresh_key());
    let site = sealed_site(&keys);
    let (mut app, mut admin) = (site.login(), site.admin());
    for user in ["changed", "disabled", "bystander"] {
        site.enroll(user, GOOD);
    }
    keep(&mut admin, "credential");
    keep(&mut admin, "account");
    // More than the query below leaves between an event and what it is about.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(change(&mut app, "changed", GOOD, OTHER), Answer::yes());
    assert!(manage(&mut admin, "pv_disable_user", "disabled"));
    let before = assert_whole(&mut admin);

    roll_back(&mut admin, "credential", "changed");
    let found = problem(&mut admin).unwrap();
    assert_eq!((found.0.as_str(), found.1.contains("put back")), ("credential", true));
    await_tampered(&site, "credential");
    // The query of docs/operating.md says whose.
    let page = include_str!("../../docs/operating.md");
    let (_, query) = page.split_once("```sql\n  SELECT c.user_id").unwrap();
    let query = format!("SELECT c.user_id {}", query.split_once(';').unwrap().0);
    let named = admin.query(&query, &[]).unwrap();
    let named: Vec<String> = named.iter().map(|row| row.get(0)).collect();
    assert_eq!(named, ["changed"]);
    // By the next start, nobody has to ask.
    roll_back(&mut admin, "account", "disabled");
    drop((app, admin));
    restart(&site.cluster, &keys);
    assert_eq!(validate(&mut site.login(), "bystander", GOOD), Answer::yes());
    let sql = "SELECT count(*) FROM auth.pv_events WHERE action = 'tampered'";
    password_verify_tests::trail::wait_until("the start looks at all rows", || {
        number(&mut site.admin(), sql) == 2
    });

    // Deleted, and copied to where somebody else was.
    let mut admin = site.admin();
    admin.batch_execute("SELECT auth.pv_accept_restore('as it is')").unwrap();
    assert_eq!(assert_whole(&mut admin), before);
    admin.batch_execute("DELETE FROM password_verify.account WHERE user_id = 'bystander'").unwrap();
    assert!(problem(&mut admin).is_some());
    assert_eq!(sqlstate(site.login().query(VALIDATE, &[&"bystander", &GOOD])), "XX001");
}

#[test]
fn budgets_set_to_zero_end_no_wait() {
    let keys = line("a", &fresh_key());
    let site = sealed_site(&keys);
    site.configure(&["throttle_free_failures = 2", "throttle_first_wait = '1h'"]);
    let users: Vec<String> = (0..4).map(|i| format!("user{i}")).collect();
    for user in &users {
        site.enroll(user, GOOD);
        let mut app = site.login();
        (0..2).for_each(|_| assert_eq!(validate(&mut app, user, WRONG), Answer::wrong()));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("throttled"));
    }
    settle(&mut site.admin());
    site.cluster.down();
    site.cluster.up();
    let mut admin = site.admin();
    keep(&mut admin, "throttle");
    let tampering = [
        "UPDATE password_verify.throttle SET count = 0 WHERE kind >= 0",
        "UPDATE password_verify.throttle SET rests_at = now(), known_until = now() WHERE kind >= 0",
        "UPDATE password_verify.throttle SET count = 0, mac = '' WHERE kind >= 0",
    ];
    let mut through = 0;
    for (user, sql) in users.iter().zip(tampering) {
        put_back(&mut admin, "throttle", "true");
        admin.batch_execute(sql).unwrap();
        let state = sqlstate(site.login().query(VALIDATE, &[user, &GOOD]));
        assert_eq!(state, "XX001", "{sql}");
        through += usize::from(state == "no error");
    }
    attack("budgets that were set to zero", tampering.len(), through);
    // Deleted: the wait ends, and the sum of the table says so at the first look.
    put_back(&mut admin, "throttle", "true");
    admin.batch_execute("DELETE FROM password_verify.throttle WHERE kind >= 0").unwrap();
    assert_eq!(problem(&mut admin).unwrap().0, "throttle");
    await_tampered(&site, "throttle");
}

#[test]
fn with_another_key_of_the_blind_index_nobody_is_created_again() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.enroll("42", GOOD);
    // No worker serves a database with such a key.
    site.configure(&["audit_timeout = '1s'", "queue_timeout = '500ms'"]);
    let tampering = [
        "UPDATE password_verify.blind_index_key SET key = sha256('mine')",
        "UPDATE password_verify.blind_index_key SET key = sha256('mine'), mac = ''",
        "DELETE FROM password_verify.blind_index_key;
         INSERT INTO password_verify.blind_index_key VALUES (sha256('mine'), true)",
        "DELETE FROM password_verify.blind_index_key;
         INSERT INTO password_verify.blind_index_key VALUES (sha256('mine'), false)",
    ];
    keep(&mut site.admin(), "blind_index_key");
    let mut through = 0;
    for sql in tampering {
        site.admin().batch_execute(sql).unwrap();
        for when in ["with the worker there", "after a start"] {
            let (mut app, mut admin) = (site.login(), site.admin());
            // The first one needs no worker, and so asks before any has come.
            let has = admin.query("SELECT NOT auth.pv_has_password('42'::text)", &[]);
            for answer in
                [has, app.query(CREATE, &[&"42", &OTHER]), app.query(VALIDATE, &[&"42", &OTHER])]
            {
                let yes = answer.is_ok_and(|rows| rows[0].get(0));
                assert!(!yes, "{when}: {sql}");
                through += usize::from(yes);
            }
            site.cluster.down();
            site.cluster.up();
        }
        put_back(&mut site.admin(), "blind_index_key", "true");
    }
    attack("another key of the blind index", 6 * tampering.len(), through);
    for setting in ["audit_timeout", "queue_timeout"] {
        let sql = format!("ALTER DATABASE {} RESET password_verify.{setting}", site.database);
        site.admin().batch_execute(&sql).unwrap();
    }
    let (mut app, mut admin) = (site.login(), site.admin());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(create(&mut app, "42", OTHER), Answer::no("already_set"));
    assert_eq!(set(&mut admin, "42", OTHER), Answer::yes());
    assert_whole(&mut admin);
}

/// A token of a row that was put back has been used, but its row says otherwise: the sum does not.
#[test]
fn a_token_that_was_used_and_put_back_is_noticed() {
    let site = sealed_site(&line("a", &fresh_key()));
    let (mut app, mut admin) = (site.login(), site.admin());
    site.enroll("42", GOOD);
    let token = issue(&mut admin, "42");
    keep(&mut admin, "credential");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    assert_whole(&mut admin);
    roll_back(&mut admin, "credential", "42");
    assert_eq!(problem(&mut admin).unwrap().0, "credential");
}
