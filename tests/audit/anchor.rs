//! What the worker would sign, and what it has left: somebody who writes the tables without the key plants
//! nothing in the audit trail, and cuts nothing off.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::Output;

use password_verify_tests::calls::{VALIDATE_FROM, ask, create, validate};
use password_verify_tests::cluster::run;
use password_verify_tests::hold::pid;
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::kill::crash_by;
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{
    assert_intact, await_no_worker, of_user, settle, verify, verify_from, wait_until, worker,
};
use password_verify_tests::whole::{assert_whole, await_tampered, keep, problem, put_back};
use password_verify_tests::{Answer, GOOD, Site, WRONG, sqlstate};

/// A site with a keyring, some events, and folded ones; and nobody who writes.
fn site() -> Site {
    let site = sealed_site(&line("a", &fresh_key()));
    site.enroll("42", GOOD);
    folded(&site);
    settle(&mut site.admin());
    site
}

/// Guesses from one address at one user: folded for a minute.
fn folded(site: &Site) {
    site.allow_failures();
    let mut app = site.login();
    for _ in 0..5 {
        ask(&mut app, VALIDATE_FROM, &[&"nobody", &WRONG, &"192.0.2.1"]).unwrap();
    }
}

/// Whatever the worker knew, it is a new one.
fn restart(site: &Site) {
    site.cluster.down();
    site.cluster.up();
}

/// A new worker has come, by a right login.
fn arrive(site: &Site) {
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    settle(&mut site.admin());
}

const FOLDS: &str = "SELECT count(*) FROM password_verify.event_fold";

#[test]
fn what_is_planted_among_folded_events_never_comes_into_the_trail() {
    let site = site();
    let mut admin = site.admin();
    assert!(number(&mut admin, FOLDS) > 0);
    drop(admin);
    restart(&site);
    let mut admin = site.admin();
    keep(&mut admin, "event_fold");
    let plant = "INSERT INTO password_verify.event_fold
        SELECT gen_random_uuid(), at, since, count, action, outcome, 'planted', client_addr, login_role,
               acting_role, peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, MAC FROM kept_event_fold LIMIT 1";
    let before = number(
        &mut admin,
        "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = 'nobody'",
    );
    for sql in [
        plant.replace("MAC", "mac"),
        plant.replace("MAC", "''"),
        "UPDATE password_verify.event_fold SET count = 1000000".into(),
    ] {
        admin.batch_execute(&sql).unwrap();
    }
    arrive(&site);
    // It is due after a minute at most; and once more, by a worker that comes anew.
    admin.batch_execute("UPDATE password_verify.event_fold SET at = at - interval '1 h', since = since - interval '1 h'").unwrap();
    drop(admin);
    restart(&site);
    arrive(&site);
    await_tampered(&site, "event_fold");
    let mut admin = site.admin();
    let planted =
        "SELECT count(*) FROM password_verify.event WHERE user_id = 'planted' OR count >= 1000000";
    assert_eq!(number(&mut admin, planted), 0);
    assert_intact(&mut admin);
    assert_eq!(problem(&mut admin).unwrap().0, "event_fold");
    // Nor is anything signed again: as it was before, it is as it was written.
    put_back(&mut admin, "event_fold", "true");
    restart(&site);
    arrive(&site);
    let mut admin = site.admin();
    let after = number(
        &mut admin,
        "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = 'nobody'",
    );
    assert_eq!(after, before);
    assert_whole(&mut admin);
}

#[test]
fn folded_events_that_are_deleted_are_missed() {
    let site = site();
    restart(&site);
    site.admin().batch_execute("DELETE FROM password_verify.event_fold").unwrap();
    arrive(&site);
    await_tampered(&site, "event_fold");
    assert_eq!(problem(&mut site.admin()).unwrap().0, "event_fold");
}

/// An event that says of the epochs before the newest that they have been removed.
const PRUNE: &str = r#"INSERT INTO password_verify.event
    SELECT epoch, seq + 1, at, at, 1, 'prune', 'recorded', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0,
           format('{"epochs_before":%s}', epoch), NULL, mac FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 1"#;
const ONLY_THE_NEWEST: &str = "DELETE FROM password_verify.event
    WHERE epoch < (SELECT max(epoch) FROM password_verify.event)";

#[test]
fn an_announcement_that_was_planted_removes_nothing() {
    let site = site();
    (0..2).for_each(|_| {
        restart(&site);
        arrive(&site);
    });
    assert_eq!(
        assert_intact(&mut site.admin()),
        number(&mut site.admin(), "SELECT count(*) FROM password_verify.event")
    );
    restart(&site);
    let mut admin = site.admin();
    // Among the folded events, from where the worker would take it into the chain.
    admin
        .batch_execute(&format!(
            r#"INSERT INTO password_verify.event_fold
               SELECT gen_random_uuid(), at - interval '1 h', since - interval '1 h', 1, 'prune', 'recorded', NULL, NULL, NULL, NULL,
                      NULL, NULL, NULL, NULL, NULL, NULL, 0, '{{"epochs_before":3}}', '' FROM password_verify.event LIMIT 1;
               {ONLY_THE_NEWEST}"#
        ))
        .unwrap();
    arrive(&site);
    let verdict = verify(&mut site.admin());
    assert!(!verdict.intact, "{verdict:?}");
    await_tampered(&site, "event_fold");
    // And at the end of the chain itself.
    let other = self::site();
    restart(&other);
    arrive(&other);
    restart(&other);
    other.admin().batch_execute(PRUNE).unwrap();
    other.admin().batch_execute(ONLY_THE_NEWEST).unwrap();
    arrive(&other);
    let verdict = verify(&mut other.admin());
    assert!(!verdict.intact, "{verdict:?}");
    assert_eq!(epochs_since(&other), "mismatch");
}

/// Why the newest epoch has begun.
fn epochs_since(site: &Site) -> String {
    let sql = "SELECT detail::json->>'why' FROM password_verify.event WHERE action = 'epoch' ORDER BY epoch DESC LIMIT 1";
    text(&mut site.admin(), sql)
}

fn copy(from: &Site, table: &str) -> Output {
    let mut psql = from.cluster.command("psql");
    let sql = format!("COPY password_verify.{table} TO STDOUT");
    run(psql.args(["-X", "-d", &from.database, "-c", &sql]))
}

#[test]
fn a_history_of_another_server_is_not_ours() {
    let site = site();
    let forge = Site::new();
    forge.enroll("forged", GOOD);
    settle(&mut forge.admin());
    restart(&site);
    for with_anchor in [true, false] {
        let mut admin = site.admin();
        admin.batch_execute("DELETE FROM password_verify.event").unwrap();
        let mut writer = admin.copy_in("COPY password_verify.event FROM STDIN").unwrap();
        writer.write_all(&copy(&forge, "event").stdout).unwrap();
        writer.finish().unwrap();
        if !with_anchor {
            admin.batch_execute("DELETE FROM password_verify.anchor").unwrap();
        }
        // Without an anchor, the records say that there was one.
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
        let verdict = verify(&mut site.admin());
        assert!(!verdict.intact, "{verdict:?}");
        assert_eq!(epochs_since(&site), "mismatch");
        assert!(site.cluster.log().contains(r#""alert":["tampered"]"#));
        drop(admin);
        restart(&site);
    }
}

#[test]
fn a_tail_that_was_cut_off_is_missed() {
    let site = site();
    (0..3).for_each(|i| drop(create(&mut site.login(), &format!("user{i}"), "short")));
    settle(&mut site.admin());
    let head = verify(&mut site.admin()).head.unwrap();
    for how in ["while it is there", "between two", "over a start"] {
        let mut admin = site.admin();
        let cut = "DELETE FROM password_verify.event WHERE (epoch, seq) IN
                   (SELECT epoch, seq FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 2)";
        match how {
            "between two" => await_no_worker(&mut admin),
            "over a start" => {
                drop(admin);
                restart(&site);
                admin = site.admin();
            }
            _ => {}
        }
        admin.batch_execute(cut).unwrap();
        let verdict = verify(&mut admin);
        assert!(!verdict.intact, "{how}: {verdict:?}");
        admin.batch_execute("SELECT auth.pv_accept_restore('cut')").unwrap();
        assert_intact(&mut admin);
    }
    // Somebody who kept a head knows what was accepted.
    let verdict = verify_from(&mut site.admin(), &head);
    assert!(!verdict.0, "{verdict:?}");
}

#[test]
fn rows_of_open_changes_with_another_transaction_are_refused() {
    let site = site();
    let mut open = site.login();
    open.batch_execute("BEGIN").unwrap();
    assert_eq!(create(&mut open, "new", GOOD), Answer::yes());
    let mut admin = site.admin();
    wait_until("the change is on record", || of_user(&mut admin, "new") == ["create pending"]);
    // The number of a transaction that was committed, in place of one that will not be.
    let committed = number(&mut admin, "SELECT txid_current()");
    admin
        .batch_execute(&format!(
            "UPDATE password_verify.open_change SET xid = {committed} WHERE share IS NOT NULL"
        ))
        .unwrap();
    let opened = pid(&mut open);
    admin.query("SELECT pg_terminate_backend($1)", &[&opened]).unwrap();
    await_tampered(&site, "open_change");
    arrive_by(&site, "after");
    assert_ne!(of_user(&mut admin, "new"), ["create committed"]);
    assert_intact(&mut admin);
    assert_eq!(problem(&mut admin).unwrap().0, "open_change");
}

fn arrive_by(site: &Site, user: &str) {
    site.enroll(user, GOOD);
}

#[test]
fn an_anchor_that_was_changed_is_missed() {
    let site = site();
    let mut admin = site.admin();
    keep(&mut admin, "anchor");
    arrive(&site);
    drop(admin);
    let tampering: [(&str, &str); 5] = [
        ("another one's", "UPDATE password_verify.anchor SET sealed = replace(sealed, 'a', 'b')"),
        ("none", "DELETE FROM password_verify.anchor"),
        (
            "an older one",
            "DELETE FROM password_verify.anchor; INSERT INTO password_verify.anchor TABLE kept_anchor",
        ),
        (
            "rows of epochs to come",
            "INSERT INTO password_verify.event
             SELECT epoch + n, 0, at, since, count, action, outcome, user_id, client_addr, login_role, acting_role,
                    peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, user_nonce, mac
               FROM password_verify.event, generate_series(1, 3) n
              WHERE (epoch, seq) = (SELECT max(epoch), 0 FROM password_verify.event)",
        ),
        (
            "one more",
            "INSERT INTO password_verify.anchor SELECT 'ffffffff-0000-0000-0000-000000000000', sealed, mac FROM kept_anchor",
        ),
    ];
    for (what, sql) in tampering {
        restart(&site);
        let mut admin = site.admin();
        admin.batch_execute(sql).unwrap();
        arrive(&site);
        let verdict = verify(&mut admin);
        assert!(!verdict.intact, "{what}: {verdict:?}");
        let sql = "SELECT detail::json->>'why' FROM password_verify.event WHERE action = 'epoch' AND alert = 32 ORDER BY at DESC, epoch LIMIT 1";
        assert_eq!(text(&mut admin, sql), "mismatch", "{what}");
        admin.batch_execute("SELECT auth.pv_accept_restore($$it was me$$)").unwrap();
        assert_intact(&mut admin);
        assert_whole(&mut admin);
    }
    // While the worker is there, it knows better, and says so where somebody has added a row.
    let mut admin = site.admin();
    for sql in [tampering[0].1, tampering[1].1] {
        admin.batch_execute(sql).unwrap();
        arrive(&site);
        assert_intact(&mut admin);
        assert_whole(&mut admin);
    }
    admin.batch_execute(tampering[4].1).unwrap();
    assert_eq!(problem(&mut admin).unwrap().0, "anchor");
    assert!(!verify(&mut admin).intact);
    await_tampered(&site, "anchor");
    arrive(&site);
    assert_intact(&mut admin);
    assert_whole(&mut admin);
}

/// A change whose share were lost by a crash would look like a tampering for ever.
#[test]
fn a_crash_loses_no_share_where_events_are_asynchronous() {
    let site = site();
    site.configure(&["audit_durability = async", "audit_timeout = '1s'"]);
    let mut session = site.login();
    let mut admin = site.admin();
    for i in 0..5 {
        assert_eq!(create(&mut session, &format!("user{i}"), GOOD), Answer::yes());
        assert_whole(&mut admin);
    }
    let stopped = stop_worker(&site);
    session.batch_execute("BEGIN").unwrap();
    assert_eq!(create(&mut session, "late", GOOD), Answer::yes());
    let state = sqlstate(session.batch_execute("COMMIT"));
    let pid = worker(&mut admin).unwrap();
    drop((session, admin));
    crash_by(&site.cluster, pid);
    drop(stopped);
    arrive(&site);
    let mut admin = site.admin();
    assert_whole(&mut admin);
    let late = "SELECT count(*) FROM password_verify.credential WHERE user_id = 'late'";
    assert_eq!((state.as_str(), number(&mut admin, late)), ("58030", 0));
}
