//! Changes and their transactions: what is recorded is what became of them.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::server;
use password_verify_tests::hold::pid;
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::query::number;
use password_verify_tests::trail::{assert_intact, counts, of_user, settle, stat, wait_until};
use password_verify_tests::{ALL_KINDS, Answer, GOOD, Site, sqlstate};
use postgres::Client;

#[test]
fn a_change_is_worth_what_its_transaction_came_to() {
    let site = Site::new();
    let (mut admin, mut app) = (site.admin(), site.login());
    let create = "SELECT success FROM auth.pv_create_password($1::text, $2)";
    macro_rules! create {
        ($in:expr, $user:expr) => {
            assert!($in.query_one(create, &[&$user, &GOOD]).unwrap().get::<_, bool>(0))
        };
    }
    // Plain transactions.
    let mut open = app.transaction().unwrap();
    create!(open, "committed");
    wait_until("it is on record while it is open", || {
        of_user(&mut admin, "committed") == ["create pending"]
    });
    open.commit().unwrap();
    let mut open = app.transaction().unwrap();
    create!(open, "rolled back");
    open.rollback().unwrap();

    // Savepoints.
    let mut open = app.transaction().unwrap();
    create!(open, "outer");
    let mut inner = open.transaction().unwrap();
    create!(inner, "released");
    inner.commit().unwrap();
    let mut inner = open.transaction().unwrap();
    create!(inner, "inner rolled back");
    inner.rollback().unwrap();
    let mut inner = open.transaction().unwrap();
    let mut innermost = inner.transaction().unwrap();
    create!(innermost, "released, then rolled back");
    innermost.commit().unwrap();
    create!(inner, "rolled back with what was released in it");
    inner.rollback().unwrap();
    let mut inner = open.transaction().unwrap();
    let mut innermost = inner.transaction().unwrap();
    create!(innermost, "innermost rolled back");
    innermost.rollback().unwrap();
    create!(inner, "kept around it");
    inner.commit().unwrap();
    for user in ["inner rolled back", "outer", "kept around it"] {
        wait_until("nothing has ended yet", || of_user(&mut admin, user) == ["create pending"]);
    }
    open.commit().unwrap();

    // Everything inside a transaction that is rolled back, the released too.
    let mut open = app.transaction().unwrap();
    let mut inner = open.transaction().unwrap();
    create!(inner, "released in vain");
    inner.commit().unwrap();
    open.rollback().unwrap();

    // An error, and a block of PL/pgSQL that catches one.
    app.batch_execute(
        "BEGIN; SELECT auth.pv_create_password('failed'::text, 'correct horse battery staple')",
    )
    .unwrap();
    assert!(app.batch_execute("SELECT 1 / 0").is_err());
    assert!(app.batch_execute("COMMIT").is_ok());
    app.batch_execute(
        "DO $$ BEGIN
             PERFORM auth.pv_create_password('kept beside it'::text, 'correct horse battery staple');
             BEGIN
                 PERFORM auth.pv_create_password('caught'::text, 'correct horse battery staple');
                 RAISE division_by_zero;
             EXCEPTION WHEN division_by_zero THEN NULL; END;
         END $$",
    )
    .unwrap();

    // COMMIT AND CHAIN: two transactions of one session, one after the other.
    app.batch_execute(
        "BEGIN; SELECT auth.pv_create_password('first of chain'::text, 'correct horse battery staple');
         COMMIT AND CHAIN; SELECT auth.pv_create_password('second of chain'::text, 'correct horse battery staple');
         ROLLBACK AND CHAIN; SELECT auth.pv_create_password('third of chain'::text, 'correct horse battery staple'); COMMIT",
    )
    .unwrap();

    // Sessions that end in mid-transaction: politely, and not.
    let mut leaving = site.login();
    leaving
        .batch_execute(
            "BEGIN; SELECT auth.pv_create_password('left'::text, 'correct horse battery staple')",
        )
        .unwrap();
    drop(leaving);
    let mut terminated = site.login();
    terminated.batch_execute("BEGIN; SELECT auth.pv_create_password('terminated'::text, 'correct horse battery staple'); SAVEPOINT s; SELECT auth.pv_create_password('terminated in a savepoint'::text, 'correct horse battery staple')").unwrap();
    let pid = pid(&mut terminated);
    admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();

    settle(&mut admin);
    for (user, outcome) in [
        ("committed", "committed"),
        ("rolled back", "rolled_back"),
        ("outer", "committed"),
        ("released", "committed"),
        ("inner rolled back", "rolled_back"),
        ("released, then rolled back", "rolled_back"),
        ("rolled back with what was released in it", "rolled_back"),
        ("innermost rolled back", "rolled_back"),
        ("kept around it", "committed"),
        ("released in vain", "rolled_back"),
        ("failed", "rolled_back"),
        ("kept beside it", "committed"),
        ("caught", "rolled_back"),
        ("first of chain", "committed"),
        ("second of chain", "rolled_back"),
        ("third of chain", "committed"),
        ("left", "rolled_back"),
        ("terminated", "rolled_back"),
        ("terminated in a savepoint", "rolled_back"),
    ] {
        assert_eq!(of_user(&mut admin, user), [format!("create {outcome}")], "{user}");
        let sql = "SELECT count(*) FROM auth.pv_users WHERE user_id = $1";
        let there = admin.query_one(sql, &[&user]).unwrap().get::<_, i64>(0) == 1;
        assert_eq!(there, outcome == "committed", "{user}");
    }
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.open_change"), 0);
    assert_intact(&mut admin);
}

#[test]
fn a_rollback_does_not_take_an_attempt_back() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login());
    let sql = "SELECT reason FROM auth.pv_validate_password($1::text, 'guess')";
    let mut open = app.transaction().unwrap();
    open.query(sql, &[&"rolled back"]).unwrap();
    assert_eq!(
        of_user(&mut admin, "rolled back"),
        ["validate invalid_credentials"],
        "before the answer"
    );
    open.rollback().unwrap();
    let mut open = app.transaction().unwrap();
    let mut inner = open.transaction().unwrap();
    inner.query(sql, &[&"savepoint"]).unwrap();
    inner
        .query("SELECT reason FROM auth.pv_create_password('refused'::text, 'short')", &[])
        .unwrap();
    inner
        .query("SELECT reason FROM auth.pv_change_password('42'::text, $1, $1)", &[&GOOD])
        .unwrap();
    inner.rollback().unwrap();
    open.rollback().unwrap();
    let failing = "SELECT 1 / (length(reason) - length(reason)) FROM auth.pv_validate_password('failed'::text, 'guess')";
    assert_eq!(sqlstate(app.query(failing, &[])), "22012");
    app.batch_execute(
        "DO $$ BEGIN
             FOR i IN 1..3 LOOP
                 BEGIN PERFORM auth.pv_validate_password('caught' || i, 'guess'); RAISE division_by_zero;
                 EXCEPTION WHEN division_by_zero THEN NULL; END;
             END LOOP;
         END $$",
    )
    .unwrap();
    for user in ["rolled back", "savepoint", "failed", "caught1", "caught2", "caught3"] {
        assert_eq!(of_user(&mut admin, user), ["validate invalid_credentials"], "{user}");
    }
    assert_eq!(of_user(&mut admin, "refused"), ["create too_short"]);
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "42"), ["create committed", "prove valid", "change reused"]);
    assert_intact(&mut admin);
}

#[test]
fn twenty_thousand_changes_are_one_wait() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    let mut admin = site.admin();
    admin
        .batch_execute("SELECT auth.pv_create_password('user' || i, 'correct horse battery staple') FROM generate_series(1, 200) i")
        .unwrap();
    settle(&mut admin);
    let timed = |client: &mut Client, sql: &str| {
        let start = Instant::now();
        client.batch_execute(sql).unwrap();
        start.elapsed()
    };
    // Changes of one transaction need no worker before its end: this one stands still.
    let stopped = stop_worker(&site);
    let mut open = manager.transaction().unwrap();
    open.batch_execute(
        "SELECT auth.pv_disable_user('user' || i), auth.pv_enable_user('user' || i)
           FROM generate_series(1, 50) i",
    )
    .unwrap();
    drop(stopped);
    open.commit().unwrap();
    // One by one, each is a transaction and a wait.
    let batches = stat(&mut admin, "event_batches");
    let sql = "SELECT auth.pv_disable_user('user1'); SELECT auth.pv_enable_user('user1')";
    let single: Duration = (0..50)
        .map(|_| sql.split(';').map(|sql| timed(&mut manager, sql)).sum::<Duration>())
        .sum::<Duration>()
        / 100;
    settle(&mut admin);
    let one_by_one = stat(&mut admin, "event_batches") - batches;
    assert!(one_by_one >= 100, "each waits: {one_by_one}");
    let all = timed(
        &mut manager,
        "BEGIN;
         SELECT auth.pv_disable_user('user' || i), auth.pv_enable_user('user' || i)
           FROM generate_series(1, 50) round, generate_series(1, 200) i;
         COMMIT",
    );
    settle(&mut admin);
    println!("single {single:?}, 20000 {all:?}");
    assert!(all < single * 20_000, "{all:?} for all, {single:?} for one");
    let found = counts(&mut admin);
    assert_eq!((found["disable committed"], found["enable committed"]), (10_100, 10_100));
    assert_intact(&mut admin);
}

#[test]
fn a_transaction_that_changed_a_password_cannot_be_prepared() {
    let site = Site::on(server(&["max_prepared_transactions = 5"]));
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login_with(&ALL_KINDS));
    for call in [
        "auth.pv_set_password('42'::text, 'velvet anvil under monsoon')",
        "auth.pv_disable_user('42'::text)",
    ] {
        app.batch_execute(&format!("BEGIN; SELECT {call}")).unwrap();
        assert_eq!(sqlstate(app.batch_execute("PREPARE TRANSACTION 'p'")), "0A000", "{call}");
        app.batch_execute("ROLLBACK").unwrap();
    }
    // Also when the change was taken back, or made in a savepoint: this much may be refused.
    app.batch_execute("BEGIN; SAVEPOINT s; SELECT auth.pv_disable_user('42'::text); RELEASE s")
        .unwrap();
    assert_eq!(sqlstate(app.batch_execute("PREPARE TRANSACTION 'p'")), "0A000");
    // An attempt is not part of the transaction, and neither is what was refused.
    app.batch_execute(
        "BEGIN;
         SELECT auth.pv_validate_password('42'::text, 'correct horse battery staple');
         SELECT auth.pv_validate_password('43'::text, 'guess');
         SELECT auth.pv_create_password('42'::text, 'short');
         SELECT auth.pv_enable_user('42'::text);
         PREPARE TRANSACTION 'p'",
    )
    .unwrap();
    app.batch_execute("ROLLBACK PREPARED 'p'").unwrap();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    settle(&mut admin);
    let events = of_user(&mut admin, "42");
    let rolled_back = events.iter().filter(|event| event.ends_with("rolled_back")).count();
    assert_eq!(rolled_back, 3, "{events:?}");
    assert_eq!(of_user(&mut admin, "43"), ["validate invalid_credentials"]);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.open_change"), 0);
    assert_intact(&mut admin);
}
