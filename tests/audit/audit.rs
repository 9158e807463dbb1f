//! The audit: what is recorded of every call, whatever stands in the way of the worker that writes it.
//! Kills, copies and time are in crash.rs.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{fs, thread};

use password_verify_tests::calls::{
    CREATE, SET, VALIDATE, VALIDATE_FROM, ask, change, create, manage, set, validate,
};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::{Stopped, pid};
use password_verify_tests::keyring::{fresh_key, keyring, setting};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{
    assert_intact, await_no_worker, counts, epochs, of_user, settle, stat, verify, wait_until,
    worker,
};
use password_verify_tests::{
    ALL_KINDS, Answer, Cluster, GOOD, OTHER, Site, WRONG, attack, refused, sqlstate,
};
use postgres::Client;

const CHANGE: &str = "SELECT * FROM auth.pv_change_password($1::text, $2, $3, $4::text::inet)";

////////////////////////////////////////////////////////////////////////////////
// What is recorded
////////////////////////////////////////////////////////////////////////////////

#[test]
fn every_call_leaves_its_event_with_who_where_and_how_it_came_out() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin.batch_execute("CREATE ROLE front LOGIN; CREATE ROLE back; GRANT back TO front; GRANT USAGE ON SCHEMA auth TO back").unwrap();
    for kind in ALL_KINDS {
        admin.execute("SELECT auth.pv_grant('back', $1)", &[&kind]).unwrap();
    }
    let before = text(&mut admin, "SELECT clock_timestamp()::text");
    let front = &mut site.cluster.connect("front", &site.database);
    front.batch_execute("SET application_name = 'shop'; SET ROLE back").unwrap();
    let pid = pid(front);
    let no = Answer::no;
    let long = "x".repeat(4097);
    let mut expected: Vec<(&str, &str, Option<&str>)> = Vec::new();
    let here = Some("192.0.2.7");

    // Sign up, and log in in every state that an account can be in.
    for user in ["valid", "wrong", "disabled", "expired", "must change", "long", "deleted", "reset"]
    {
        assert_eq!(create(front, user, GOOD), Answer::yes());
        expected.push((user, "create committed", None));
    }
    let log_in = |front: &mut Client, user: &'static str, password: &str, answer: Answer| {
        assert_eq!(
            ask(front, VALIDATE_FROM, &[&user, &password, &"192.0.2.7/24"]).unwrap(),
            answer
        );
    };
    log_in(front, "valid", GOOD, Answer::yes());
    log_in(front, "wrong", WRONG, no("invalid_credentials"));
    log_in(front, "nobody", GOOD, no("invalid_credentials"));
    log_in(front, "long", &long, no("invalid_credentials"));
    assert!(manage(front, "pv_disable_user", "disabled"));
    log_in(front, "disabled", GOOD, no("disabled"));
    assert!(manage(front, "pv_enable_user", "disabled"));
    let sql = "SELECT * FROM auth.pv_set_password('expired', $1, expires_at => clock_timestamp())";
    assert_eq!(ask(front, sql, &[&GOOD]).unwrap(), Answer::yes());
    log_in(front, "expired", GOOD, no("expired"));
    assert!(manage(front, "pv_require_change", "must change"));
    log_in(front, "must change", GOOD, no("change_required"));
    assert!(manage(front, "pv_unlock_user", "wrong"));
    assert!(manage(front, "pv_delete_user", "deleted"));
    assert_eq!(set(front, "reset", OTHER), Answer::yes());
    expected.extend([
        ("valid", "validate valid", here),
        ("wrong", "validate invalid_credentials", here),
        ("nobody", "validate invalid_credentials", here),
        ("long", "validate invalid_credentials", here),
        ("disabled", "disable committed", None),
        ("disabled", "validate disabled", here),
        ("disabled", "enable committed", None),
        ("expired", "set committed", None),
        ("expired", "validate expired", here),
        ("must change", "require_change committed", None),
        ("must change", "validate change_required", here),
        ("wrong", "unlock committed", None),
        ("deleted", "delete committed", None),
        ("reset", "set committed", None),
    ]);
    // What there was nothing to do for is no event.
    for (function, user) in [
        ("pv_enable_user", "valid"),
        ("pv_unlock_user", "valid"),
        ("pv_delete_user", "deleted"),
        ("pv_disable_user", "nobody"),
        ("pv_require_change", "must change"),
    ] {
        assert!(!manage(front, function, user), "{function}");
    }

    // A change: the old password is an attempt of its own.
    let there = Some("2001:db8::7");
    let change_it = |front: &mut Client, user: &str, old: &str, new: &str, answer: Answer| {
        let args: [&(dyn postgres::types::ToSql + Sync); 4] = [&user, &old, &new, &"2001:db8::7"];
        assert_eq!(ask(front, CHANGE, &args).unwrap(), answer, "{user}");
    };
    for user in ["changes", "repeats", "lies", "policy"] {
        assert_eq!(create(front, user, GOOD), Answer::yes());
        expected.push((user, "create committed", None));
    }
    change_it(front, "changes", GOOD, OTHER, Answer::yes());
    change_it(front, "repeats", GOOD, GOOD, no("reused"));
    change_it(front, "lies", WRONG, OTHER, no("invalid_credentials"));
    change_it(front, "policy", GOOD, "too short", no("too_short"));
    change_it(front, "policy", GOOD, &long, no("too_long"));
    change_it(front, "policy", GOOD, "vzvzvzvzvzvzvzvz", no("too_weak"));
    change_it(front, "policy", GOOD, "the best policy of anvils", no("contains_user_id"));
    expected.extend([
        ("changes", "prove valid", there),
        ("changes", "change committed", there),
        ("repeats", "prove valid", there),
        ("repeats", "change reused", there),
        ("lies", "prove invalid_credentials", there),
        ("policy", "change too_short", there),
        ("policy", "change too_long", there),
        ("policy", "change too_weak", there),
        ("policy", "change contains_user_id", there),
    ]);

    // What the policy refuses of a new password.
    for (action, refuse) in
        [("create", create as fn(&mut Client, &str, &str) -> Answer), ("set", set)]
    {
        for (password, reason) in [
            ("too short", "too_short"),
            (&long, "too_long"),
            ("vzvzvzvzvzvzvzvz", "too_weak"),
            ("a monsoon of refused anvils", "contains_user_id"),
        ] {
            assert_eq!(refuse(front, "refused", password), no(reason));
            expected.push((
                "refused",
                Box::leak(format!("{action} {reason}").into_boxed_str()),
                None,
            ));
        }
    }
    assert_eq!(create(front, "valid", OTHER), no("already_set"));
    expected.push(("valid", "create already_set", None));

    settle(&mut admin);
    let sql = "SELECT user_id, action || ' ' || outcome, host(client_addr), xid IS NOT NULL,
                      count = 1 AND alert = 0 AND detail IS NULL AND since = at AND octet_length(mac) = 32
                      AND epoch >= 1 AND seq >= 1
                      AND login_role = 'front' AND acting_role = 'back' AND peer_addr = 'local'
                      AND application_name = 'shop' AND pid = $1
                      AND at BETWEEN $2::text::timestamptz AND clock_timestamp(), e::text
                 FROM auth.pv_events e WHERE action NOT IN ('epoch', 'end') ORDER BY epoch, seq";
    let rows = admin.query(sql, &[&pid, &before]).unwrap();
    for row in &rows {
        let (what, changed): (&str, bool) = (row.get(1), row.get(3));
        assert_eq!(changed, what.ends_with("committed"), "{what}");
        assert!(row.get::<_, bool>(4), "{}", row.get::<_, &str>(5));
    }
    let mut found: Vec<(&str, &str, Option<&str>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    // Each user's in the order in which they happened.
    expected.sort_by_key(|(user, ..)| *user);
    found.sort_by_key(|(user, ..)| *user);
    assert_eq!(found, expected);
    // The auditor sees the same.
    let sql = "SELECT count(*) FROM auth.pv_events WHERE action NOT IN ('epoch', 'end')";
    assert_eq!(number(front, sql), expected.len() as i64);
    assert_intact(front);

    // Nowhere is a password, or what one was made into.
    let mut pg_dump = site.cluster.command("pg_dump");
    let dump = String::from_utf8(run(pg_dump.arg(&site.database)).stdout).unwrap();
    assert!(dump.contains("contains_user_id"), "the dump has the events");
    let mut kept = String::new();
    for table in ["event", "event_fold", "open_change", "throttle"] {
        let rows =
            admin.query(&format!("SELECT t::text FROM password_verify.{table} t"), &[]).unwrap();
        rows.iter().for_each(|row| kept.push_str(row.get(0)));
    }
    assert!(kept.contains("192.0.2.7") && kept.len() > 5000, "the test looks");
    let log = site.cluster.log();
    assert!(log.contains("password_verify: {"), "the log has the heads");
    for secret in [GOOD, OTHER, WRONG, &long, "vzvzvzvzvzvzvzvz", "refused anvils", "$argon2id"] {
        assert!(!kept.contains(secret), "{secret}");
        assert!(!log.contains(secret), "{secret}");
        assert!(secret == "$argon2id" || !dump.contains(secret), "{secret}");
    }
    for verifier in admin
        .query("SELECT verifier FROM password_verify.credential WHERE user_id <> ''", &[])
        .unwrap()
    {
        let verifier: &str = verifier.get(0);
        for part in verifier.rsplit('$').take(2) {
            assert!(!kept.contains(part) && !log.contains(part));
        }
    }
}

#[test]
fn refusals_of_the_throttle_and_of_others_are_events_too() {
    let site = Site::new();
    site.configure(&[
        "throttle_free_failures = 2",
        "throttle_lock_after = 4",
        "throttle_first_wait = 60",
    ]);
    let (mut admin, mut app) = (site.admin(), site.login());
    for _ in 0..2 {
        assert_eq!(validate(&mut app, "waits", WRONG), Answer::no("invalid_credentials"));
    }
    for _ in 0..2 {
        assert_eq!(validate(&mut app, "waits", WRONG), Answer::no("throttled"));
    }
    assert_eq!(change(&mut app, "waits", WRONG, GOOD), Answer::no("throttled"));
    admin.batch_execute("SET password_verify.throttle_lock_after = 1").unwrap();
    assert_eq!(validate(&mut admin, "locked", WRONG), Answer::no("invalid_credentials"));
    assert_eq!(validate(&mut admin, "locked", WRONG), Answer::no("locked"));
    assert_eq!(change(&mut admin, "locked", WRONG, GOOD), Answer::no("locked"));

    site.enroll("held", GOOD);
    let mut other = site.login_with(&["verifier", "registrar", "enroller"]);
    let mut open = admin.transaction().unwrap();
    open.execute("SELECT auth.pv_set_password('held', $1)", &[&GOOD]).unwrap();
    open.execute("SELECT auth.pv_create_password('new', $1)", &[&GOOD]).unwrap();
    assert_eq!(set(&mut other, "held", GOOD), Answer::no("busy"));
    assert_eq!(change(&mut other, "held", GOOD, OTHER), Answer::no("busy"));
    assert_eq!(create(&mut other, "new", OTHER), Answer::no("busy"));
    open.rollback().unwrap();

    settle(&mut admin);
    let mut of = |user: &str| {
        let sql = "SELECT action || ' ' || outcome || ' ' || sum(count) || ' ' || max(alert) FROM auth.pv_events
                    WHERE user_id = $1 GROUP BY action, outcome ORDER BY min(since)";
        let rows = admin.query(sql, &[&user]).unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    // The second failure began the wait: alert 1. The failure at the line locked: 2.
    assert_eq!(
        of("waits"),
        ["validate invalid_credentials 2 1", "validate throttled 2 0", "prove throttled 1 0"]
    );
    assert_eq!(
        of("locked"),
        ["validate invalid_credentials 1 2", "validate locked 1 0", "prove locked 1 0"]
    );
    assert_eq!(
        of("held"),
        [
            "create committed 1 0",
            "set rolled_back 1 0",
            "set busy 1 0",
            "prove valid 1 0",
            "change busy 1 0"
        ]
    );
    assert_eq!(of("new"), ["create rolled_back 1 0", "create busy 1 0"]);
    assert_intact(&mut admin);
    // Alerts are lines in the server log.
    let log = site.cluster.log();
    for alert in ["account_waits", "account_locked"] {
        let line =
            format!(r#"password_verify: {{"alert":["{alert}"],"database":"{}""#, site.database);
        assert!(log.contains(&line), "{line}");
    }
}

#[test]
fn what_does_not_come_to_an_answer_is_recorded() {
    let site = Site::new();
    site.enroll("corrupt", GOOD);
    let mut admin = site.admin();
    admin
        .execute(
            "UPDATE password_verify.credential SET verifier = 'x' WHERE user_id = 'corrupt'",
            &[],
        )
        .unwrap();
    assert_eq!(
        sqlstate(site.login().query(VALIDATE_FROM, &[&"corrupt", &GOOD, &None::<&str>])),
        "XX001"
    );
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "corrupt"), ["create committed", "validate abandoned"]);
    assert_intact(&mut admin);

    // Hashes of a second or so, also for who is not there: whoever is has one like that. On a server of
    // their own, whose slots nobody else waits for.
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin
        .batch_execute(&format!(
            "ALTER ROLE {app} IN DATABASE {db} SET password_verify.argon2_memory = '128MB';
         ALTER ROLE {app} IN DATABASE {db} SET password_verify.argon2_iterations = 20",
            app = site.app,
            db = site.database,
        ))
        .unwrap();
    for there in ["timed out", "terminated"] {
        site.enroll(there, GOOD);
    }
    settle(&mut admin);
    let mut app = site.login();
    app.batch_execute("SET statement_timeout = 100").unwrap();
    for user in ["timed out", "timed out, and nobody"] {
        assert_eq!(sqlstate(app.query(VALIDATE_FROM, &[&user, &GOOD, &None::<&str>])), "57014");
    }
    for user in ["terminated", "terminated, and nobody"] {
        thread::scope(|scope| {
            let mut session = site.login();
            let pid = pid(&mut session);
            let terminated = scope.spawn(move || {
                sqlstate(session.query(VALIDATE_FROM, &[&user, &GOOD, &None::<&str>]))
            });
            thread::sleep(Duration::from_millis(150));
            admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
            assert_ne!(terminated.join().unwrap(), "no error");
        });
    }
    settle(&mut admin);
    for user in ["timed out", "terminated"] {
        let events = of_user(&mut admin, user);
        let once = ["validate abandoned", "validate valid"];
        assert_eq!(events[0], "create committed", "{user}: {events:?}");
        assert!(events.len() == 2 && once.contains(&events[1].as_str()), "{user}: {events:?}");
        let events = of_user(&mut admin, &format!("{user}, and nobody"));
        let once = ["validate abandoned", "validate invalid_credentials"];
        assert!(events.len() == 1 && once.contains(&events[0].as_str()), "{user}: {events:?}");
    }
    assert_intact(&mut admin);
}

#[test]
fn the_peer_is_who_is_at_the_other_end_whatever_is_claimed() {
    // An address of its own, so that no other server is in the way.
    let pid = std::process::id();
    let address = format!("127.{}.{}.7", pid / 256 % 256, pid % 256);
    let site = Site::on(server(&[&format!("listen_addresses = '{address}'")]));
    let mut config = postgres::Config::new();
    config.host(&address).port(5432).user(&site.app).dbname(&site.database);
    let mut app = config.connect(postgres::NoTls).unwrap();
    let peer = text(&mut app, "SELECT host(inet_client_addr())");
    assert_eq!(
        ask(&mut app, VALIDATE_FROM, &[&"42", &GOOD, &"198.51.100.1"]).unwrap(),
        Answer::no("invalid_credentials")
    );
    let row = site
        .admin()
        .query_one(
            "SELECT peer_addr, host(client_addr) FROM auth.pv_events WHERE user_id = '42'",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (peer.as_str(), "198.51.100.1"));
    assert!(peer.starts_with("127."));
}

////////////////////////////////////////////////////////////////////////////////
// Changes and their transactions
////////////////////////////////////////////////////////////////////////////////

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
    let batches = stat(&mut admin, "event_batches");
    let all = timed(
        &mut manager,
        "BEGIN;
         SELECT auth.pv_disable_user('user' || i), auth.pv_enable_user('user' || i)
           FROM generate_series(1, 50) round, generate_series(1, 200) i;
         COMMIT",
    );
    settle(&mut admin);
    let at_once = stat(&mut admin, "event_batches") - batches;
    println!("single {single:?}, 20000 {all:?}, {at_once} batches");
    assert!(at_once < 18_000, "{at_once} batches");
    assert!(all < single * 20_000, "{all:?} for all, {single:?} for one");
    let found = counts(&mut admin);
    assert_eq!((found["disable committed"], found["enable committed"]), (10_050, 10_050));
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

////////////////////////////////////////////////////////////////////////////////
// The numbers
////////////////////////////////////////////////////////////////////////////////

/// What one client did: how often each "action outcome" must be on record, and hashes.
#[derive(Default)]
struct Ledger {
    counts: BTreeMap<String, i64>,
    calls: i64,
    hashes: i64,
}

impl Ledger {
    fn note(&mut self, action: &str, outcome: &str) {
        *self.counts.entry(format!("{action} {outcome}")).or_default() += 1;
    }

    fn call(&mut self, action: &str, answer: &Answer, yes: &str) {
        self.calls += 1;
        self.note(action, answer.1.as_deref().unwrap_or(yes));
    }
}

fn mixed_load(site: &Site, thread: usize, rounds: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let client = &mut site.cluster.connect("all_kinds", &site.database);
    let mine = format!("mine{thread}");
    let long = "x".repeat(4097);
    let (mut old, mut new) = (GOOD, OTHER);
    for round in 0..rounds {
        // Refused: hashed never, or a few times over all connections.
        for victim in 0..6 {
            let answer = validate(client, &format!("victim{}", (round + victim) % 10), WRONG);
            ledger.call("validate", &answer, "valid");
            ledger.hashes += i64::from(answer == Answer::no("invalid_credentials"));
            let answer = validate(client, &format!("anybody{thread}-{round}-{victim}"), &long);
            ledger.call("validate", &answer, "valid");
            let answer = create(client, &format!("anybody{thread}-{victim}"), "short");
            ledger.call("create", &answer, "committed");
            let answer = set(client, &mine, "vzvzvzvzvzvzvzvz");
            ledger.call("set", &answer, "committed");
            let answer = change(client, &mine, WRONG, &long);
            ledger.call("change", &answer, "committed");
        }
        ledger.call("create", &create(client, &mine, OTHER), "committed");
        // Right ones.
        let answer = validate(client, &mine, old);
        assert_eq!(answer, Answer::yes());
        ledger.call("validate", &answer, "valid");
        ledger.hashes += 1;
        // Changes, of which every other one is taken back.
        let commit = round % 2 == 0;
        let outcome = if commit { "committed" } else { "rolled_back" };
        let mut open = client.transaction().unwrap();
        let sql = "SELECT auth.pv_disable_user($1::text), auth.pv_require_change($1::text), auth.pv_enable_user($1::text)";
        open.query_one(sql, &[&mine]).unwrap();
        ledger.calls += 3;
        for action in ["disable", "require_change", "enable"] {
            ledger.note(action, outcome);
        }
        if commit {
            open.commit().unwrap()
        } else {
            open.rollback().unwrap()
        }
        if round % 8 == 0 {
            let answer = change(client, &mine, old, old);
            assert_eq!(answer, Answer::no("reused"));
            ledger.note("prove", "valid");
            ledger.call("change", &answer, "");
            let answer = change(client, &mine, old, new);
            assert_eq!(answer, Answer::yes());
            ledger.note("prove", "valid");
            ledger.call("change", &answer, "committed");
            std::mem::swap(&mut old, &mut new);
            ledger.hashes += 2;
            let other = format!("other{thread}");
            ledger.call("set", &set(client, &other, GOOD), "committed");
            assert!(manage(client, "pv_delete_user", &other));
            ledger.calls += 1;
            ledger.note("delete", "committed");
        }
        // After a change is required, logging in needs one.
        if commit && round % 8 != 0 {
            let answer = validate(client, &mine, old);
            assert_eq!(answer, Answer::no("change_required"));
            ledger.call("validate", &answer, "valid");
            ledger.hashes += 1;
        }
        if commit {
            let answer = set(client, &mine, old);
            assert_eq!(answer, Answer::yes());
            ledger.call("set", &answer, "committed");
        }
    }
    ledger
}

#[test]
fn after_a_mixed_load_clients_events_and_statistics_agree() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin
        .batch_execute("CREATE ROLE all_kinds LOGIN; GRANT USAGE ON SCHEMA auth TO all_kinds")
        .unwrap();
    for kind in ALL_KINDS {
        admin.execute("SELECT auth.pv_grant('all_kinds', $1)", &[&kind]).unwrap();
    }
    let mut total = Ledger::default();
    for thread in 0..16 {
        ledger_create(&mut total, &mut admin, &format!("mine{thread}"));
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|thread| {
                let site = &site;
                scope.spawn(move || mixed_load(site, thread, 36))
            })
            .collect();
        for thread in threads {
            let ledger = thread.join().unwrap();
            total.calls += ledger.calls;
            total.hashes += ledger.hashes;
            ledger
                .counts
                .into_iter()
                .for_each(|(what, count)| *total.counts.entry(what).or_default() += count);
        }
    });
    settle(&mut admin);
    println!("{} calls in {:?}", total.calls, start.elapsed());
    assert!(total.calls >= 20_000, "{}", total.calls);
    assert!(total.hashes >= 500, "{}", total.hashes);
    // What was too busy to be recorded is only counted; there should be none of it.
    assert_eq!(stat(&mut admin, "busy_unrecorded"), 0);
    assert_eq!(counts(&mut admin), total.counts);
    // A change is counted before it is known what becomes of it.
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    for (what, count) in &total.counts {
        let what = what.replace("committed", "pending").replace("rolled_back", "pending");
        *counted.entry(what.replace(' ', "_")).or_default() += count;
    }
    for (statistic, count) in counted {
        assert_eq!(stat(&mut admin, &statistic), count, "{statistic}");
    }
    assert_eq!(stat(&mut admin, "hashes"), total.hashes);
    attack(
        "calls of a mixed load that clients, pv_events and pv_stats count differently",
        total.calls as usize,
        0,
    );
    let rows = assert_intact(&mut admin);
    assert_eq!(rows, number(&mut admin, "SELECT count(*) FROM password_verify.event"));
    epochs(&mut admin);
}

/// Somebody verifies and is in the middle of rows that are not committed yet, and then they are.
#[test]
fn verifying_while_others_write_finds_nothing_wrong() {
    let (mut verified, mut wrong) = (0, Vec::new());
    for _ in 0..4 {
        let site = Site::new();
        site.configure(&[
            "audit_durability = async",
            "audit_timeout = '1s'",
            "queue_timeout = '1s'",
        ]);
        let (mut app, mut index, mut row) = (site.login(), site.admin(), site.admin());
        validate(&mut app, "42", WRONG);
        settle(&mut index);
        let mut auditors: Vec<_> = (0..8).map(|_| site.admin()).collect();
        let pid = |auditor: &mut Client| pid(auditor).to_string();
        let pids: Vec<String> = auditors.iter_mut().map(pid).collect();
        let signal = |name: &str| run(Command::new("kill").arg(name).args(&pids));
        // The worker, which is there, cannot write this budget, and for now nothing at all.
        recovers(&mut app);
        row.batch_execute("BEGIN; SELECT FROM password_verify.throttle FOR UPDATE").unwrap();
        index.batch_execute(&hold_index("open_change_pkey")).unwrap();
        let many = "SELECT count(auth.pv_create_password(i::text, 'short')) \
                    FROM generate_series(1, 450) i";
        let _ = app.query(many, &[]);
        let _ = ask(&mut app, VALIDATE, &[&"42", &WRONG]);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = AtEnd(&stop);
            let threads: Vec<_> = auditors
                .into_iter()
                .map(|mut auditor| {
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut verdicts = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            verdicts.push(verify(&mut auditor));
                        }
                        verdicts
                    })
                })
                .collect();
            // Now it can, and does when it has written hundreds of rows: all but that one.
            index.batch_execute("COMMIT").unwrap();
            thread::sleep(Duration::from_millis(200));
            signal("-STOP");
            // Should one of them hold what the commit needs, it goes on anyway.
            let wake = scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                signal("-CONT");
            });
            row.batch_execute("COMMIT").unwrap();
            wake.join().unwrap();
            thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                let verdicts = thread.join().unwrap();
                verified += verdicts.len();
                wrong.extend(verdicts.into_iter().filter(|verdict| !verdict.intact));
            }
        });
        recovers(&mut app);
        settle(&mut index);
        assert_intact(&mut index);
        // They had something to be in the middle of.
        let written = "SELECT count(*) FROM auth.pv_events WHERE outcome = 'too_short'";
        assert!(number(&mut index, written) > 400);
    }
    println!("verified {verified} times, {} false alarms", wrong.len());
    assert!(wrong.is_empty(), "{} of {verified}: {:?}", wrong.len(), wrong[0]);
}

fn ledger_create(ledger: &mut Ledger, client: &mut Client, user: &str) {
    let answer = create(client, user, GOOD);
    assert_eq!(answer, Answer::yes());
    ledger.call("create", &answer, "committed");
}

#[test]
fn a_flood_becomes_a_counted_row() {
    let site = Site::new();
    site.configure(&[
        "throttle_free_failures = 1",
        "throttle_first_wait = '1h'",
        "throttle_lock_after = 100",
    ]);
    let (mut admin, mut app) = (site.admin(), site.login());
    assert_eq!(validate(&mut app, "42", WRONG), Answer::no("invalid_credentials"));
    let sql = "SELECT count(*) FROM generate_series(1, 1000) i, auth.pv_validate_password('42', 'guess' || i, '192.0.2.1') v
                WHERE v.reason = 'throttled'";
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut app = site.login();
            scope.spawn(move || assert_eq!(number(&mut app, sql), 1000));
        }
    });
    settle(&mut admin);
    let rows = |admin: &mut Client| -> Vec<(Option<i64>, i64, Option<i32>, bool)> {
        let sql = "SELECT seq, count, pid, since < at AND login_role IS NOT NULL AND host(client_addr) = '192.0.2.1'
                     FROM auth.pv_events WHERE user_id = '42' AND outcome = 'throttled' ORDER BY seq NULLS LAST";
        admin
            .query(sql, &[])
            .unwrap()
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
            .collect()
    };
    let found = rows(&mut admin);
    assert_eq!(found.len(), 2, "the first, and the others in one: {found:?}");
    assert!(found[0].0.is_some() && found[0].1 == 1 && found[0].2.is_some());
    assert_eq!((found[1].0, found[1].1, found[1].2, found[1].3), (None, 2999, None, true));
    assert_intact(&mut admin);
    // The worker leaves and another comes, and goes on counting where the first has stopped.
    await_no_worker(&mut admin);
    let one_more = "SELECT reason FROM auth.pv_validate_password('42', 'guess', '192.0.2.1')";
    assert_eq!(text(&mut app, one_more), "throttled");
    assert_eq!(rows(&mut admin)[1].1, 3000);
    // When its minute is over it is a row of the chain. Not by itself if nothing happens: by and by.
    thread::sleep(Duration::from_secs(60));
    validate(&mut app, "somebody else", WRONG);
    wait_until("the fold is closed", || rows(&mut admin).iter().all(|row| row.0.is_some()));
    let found = rows(&mut admin);
    assert_eq!((found.len(), found[1].1), (2, 3000), "{found:?}");
    assert_eq!(text(&mut app, one_more), "throttled");
    assert_eq!(
        number(
            &mut admin,
            "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = '42' AND outcome = 'throttled'"
        ),
        3002
    );
    assert_eq!(stat(&mut admin, "validate_throttled"), 3002);
    assert_intact(&mut admin);
}

////////////////////////////////////////////////////////////////////////////////
// What stands in the way of the worker
////////////////////////////////////////////////////////////////////////////////

/// Sessions look whether the worker could have its tables. They do not look at what only it needs: an index.
/// (To the tablespace where it is already nothing is moved, but it is locked against everybody.)
fn hold_index(index: &str) -> String {
    format!("BEGIN; ALTER INDEX password_verify.{index} SET TABLESPACE pg_default")
}

const HOLD_TABLE: &str = "BEGIN; LOCK TABLE password_verify.event IN ACCESS EXCLUSIVE MODE";
const HIDE: &str = "ALTER TABLE password_verify.event RENAME TO hidden";
const SHOW: &str = "ALTER TABLE password_verify.hidden RENAME TO event";

/// The worker of a database, stopped while it waits for something to write.
fn stop_worker(site: &Site) -> Stopped {
    let (mut admin, mut app) = (site.admin(), site.login());
    let mut stopped = None;
    wait_until("the worker is stopped", || {
        recovers(&mut app);
        if let Some(pid) = worker(&mut admin) {
            // It has let go of every lock, and does not leave yet.
            thread::sleep(Duration::from_millis(100));
            let held = Stopped::new(pid);
            stopped = (worker(&mut admin) == Some(pid)).then_some(held);
        }
        stopped.is_some()
    });
    stopped.unwrap()
}

/// What a call came to, and how long it took.
type Timed = (Result<Answer, String>, Duration);

/// The calls at the same time, each in a session of its own that has begun before what is done `first`.
fn at_once(site: &Site, first: impl FnOnce()) -> Vec<Timed> {
    let sessions: Vec<_> = CALLS.iter().map(|_| site.login_with(&ALL_KINDS)).collect();
    first();
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .into_iter()
            .zip(CALLS)
            .map(|(mut session, (sql, args))| {
                scope.spawn(move || {
                    let args: Vec<_> = args
                        .iter()
                        .map(|arg| arg as &(dyn postgres::types::ToSql + Sync))
                        .collect();
                    let start = Instant::now();
                    let answer = ask(&mut session, sql, &args);
                    (answer.map_err(|error| sqlstate::<()>(Err(error))), start.elapsed())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

const CHANGED: &str = "SELECT * FROM auth.pv_change_password($1::text, $2, $3)";

/// Is it neither yes nor no?
fn is_no_answer(answer: &Result<Answer, String>) -> bool {
    match answer {
        Ok(answer) => *answer == Answer::no("busy"),
        Err(state) => ["58030", "53400"].contains(&state.as_str()),
    }
}

/// Waits until calls are answered again.
fn recovers(client: &mut Client) {
    wait_until("it recovers", || {
        let answer = ask(client, CREATE, &[&"after", &"short"]);
        let answer = answer.map_err(|error| sqlstate::<()>(Err(error)));
        assert!(is_no_answer(&answer) || answer == Ok(Answer::no("too_short")), "{answer:?}");
        answer == Ok(Answer::no("too_short"))
    });
}

/// What calls come to while their events cannot be written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Nothing could tell them: they wait for their events for as long as they may.
    NotWritten,
    /// A table is locked: nothing is charged, hashed or recorded.
    Busy,
    /// A table is missing: neither.
    NotInstalled,
}

const CALLS: [(&str, &[&str]); 7] = [
    (VALIDATE, &["42", GOOD]),
    (VALIDATE, &["42", WRONG]),
    (VALIDATE, &["nobody", WRONG]),
    (CREATE, &["new", GOOD]),
    (CREATE, &["refused", "short"]),
    (SET, &["setting", OTHER]),
    (CHANGED, &["changing", GOOD, OTHER]),
];

/// Every call at once, and later again.
fn meets_its_fate(site: &Site, fate: Fate, block: impl FnOnce()) -> Vec<Result<Answer, String>> {
    let (mut admin, mut app) = (site.admin(), site.login());
    let figures = |admin: &mut Client| {
        ["hashes", "busy_unrecorded", "changes_unrecorded"].map(|name| stat(admin, name))
    };
    let before = figures(&mut admin);
    let results = at_once(site, || {
        if fate == Fate::NotWritten {
            // The worker is there when it happens: one without work leaves.
            recovers(&mut app);
            settle(&mut admin);
        }
        block();
    });
    let as_expected = |answer: &Result<Answer, String>| match fate {
        Fate::NotWritten => *answer == Err("58030".into()),
        Fate::Busy => *answer == Ok(Answer::no("busy")),
        Fate::NotInstalled => *answer == Err("55000".into()),
    };
    for ((sql, args), (answer, took)) in CALLS.iter().zip(&results) {
        assert!(as_expected(answer), "{sql} {}: {answer:?} {took:?}", args[0]);
        // What is missing is not waited for.
        let waits = fate != Fate::NotInstalled;
        assert!(!waits || *took >= Duration::from_millis(450), "{sql} {}: {took:?}", args[0]);
        assert!(*took < Duration::from_secs(5), "{sql} {}: {took:?}", args[0]);
    }
    // Later there may be no worker at all: still no answer that is one, and no endless wait.
    for _ in 0..3 {
        for (answer, took) in at_once(site, || ()) {
            let later = fate == Fate::NotWritten && is_no_answer(&answer);
            assert!(later || as_expected(&answer), "{answer:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
    let call = "SELECT auth.pv_disable_user('42')";
    let (state, _, hint) = refused(site.login_with(&["manager"]).query(call, &[]));
    let states: &[&str] = match fate {
        Fate::NotWritten => &["58030", "53400"],
        Fate::Busy => &["55P03"],
        Fate::NotInstalled => &["55000"],
    };
    assert!(states.contains(&state.as_str()) && !hint.is_empty(), "{state} {hint}");
    let [hashes, busy, changes] = before;
    match fate {
        Fate::NotWritten => {}
        // Counted in sessions that have not done anything before.
        Fate::Busy => {
            let all = 4 * CALLS.len() as i64;
            assert_eq!(figures(&mut admin), [hashes, busy + all, changes + 1]);
        }
        Fate::NotInstalled => assert_eq!(figures(&mut admin), before),
    }
    results.into_iter().map(|(answer, _)| answer).collect()
}

type Step<'a> = &'a mut dyn FnMut(&mut Client);

/// What every function does while events cannot be written, for one reason after the other, and after that. On
/// a server of its own: the queue is everybody's.
fn fails_closed(site: &Site, blocks: &mut [(Fate, Step<'_>)], unblock: Step<'_>) {
    site.configure(&["audit_timeout = '500ms'", "queue_timeout = '500ms'"]);
    let mut admin = site.admin();
    for user in ["42", "changing", "setting"] {
        site.enroll(user, GOOD);
    }
    let events = [
        "validate valid",
        "validate invalid_credentials",
        "validate invalid_credentials",
        "create rolled_back",
        "create too_short",
        "set rolled_back",
        "prove valid",
    ];
    let (mut app, mut blocker) = (site.login(), site.admin());
    settle(&mut admin);
    let mut results = Vec::new();
    let mut unseen = true;
    for (fate, block) in blocks {
        let answers = meets_its_fate(site, *fate, || block(&mut blocker));
        results.extend(CALLS.iter().zip(events).zip(answers));
        unseen &= *fate != Fate::NotWritten;
    }

    unblock(&mut blocker);
    recovers(&mut app);
    settle(&mut admin);
    // Whoever had a place in the queue has an event.
    for (((_, args), event), answer) in &results {
        let there = of_user(&mut admin, args[0]).iter().any(|found| found == event);
        assert!(there || *answer != Err("58030".into()), "{}: {event}", args[0]);
    }
    // And nothing was changed by what was not recorded.
    for ((_, args), _) in results.iter().map(|(call, _)| call).filter(|_| unseen) {
        let user = args[0];
        let there = ["42", "changing", "setting"].contains(&user);
        let only: &[&str] = if there { &["create committed"] } else { &[] };
        assert_eq!(of_user(&mut admin, user), only, "{user}");
    }
    for user in ["42", "setting", "changing"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
    assert_eq!(number(&mut admin, "SELECT count(*) FROM auth.pv_users"), 3);
    for user in ["new", "setting", "changing"] {
        let events = of_user(&mut admin, user);
        let later = events.iter().skip(usize::from(user != "new"));
        assert!(!later.clone().any(|event| event.ends_with("committed")), "{user}: {events:?}");
    }
    // Nor charged.
    for user in ["42", "nobody"].iter().filter(|_| unseen) {
        assert_eq!(validate(&mut app, user, WRONG), Answer::no("invalid_credentials"), "{user}");
        assert_eq!(validate(&mut app, user, WRONG), Answer::no("throttled"), "{user}");
    }
    assert_eq!(stat(&mut admin, "queue_used"), 0);
    assert_intact(&mut admin);
    epochs(&mut admin);
}

/// So that one failure that was charged would be seen.
const ONE_FAILURE: [&str; 2] = ["throttle_free_failures = 1", "throttle_first_wait = 60"];

#[test]
fn a_locked_event_table_fails_every_call_and_recovers() {
    let site = Site::on(server(&[]));
    site.configure(&ONE_FAILURE);
    fails_closed(
        &site,
        &mut [(Fate::Busy, &mut |admin| admin.batch_execute(HOLD_TABLE).unwrap())],
        &mut |admin| admin.batch_execute("COMMIT").unwrap(),
    );
}

/// The worker waits for it, at first. Then there is none until it comes through.
#[test]
fn a_locked_index_of_the_event_table_fails_every_call_and_recovers() {
    fails_closed(
        &Site::on(server(&[])),
        &mut [(Fate::NotWritten, &mut |admin| {
            admin.batch_execute(&hold_index("event_pkey")).unwrap()
        })],
        &mut |admin| admin.batch_execute("COMMIT").unwrap(),
    );
}

#[test]
fn a_missing_event_table_fails_every_call_and_recovers() {
    let site = Site::on(server(&[]));
    site.configure(&ONE_FAILURE);
    fails_closed(
        &site,
        &mut [(Fate::NotInstalled, &mut |admin| admin.batch_execute(HIDE).unwrap())],
        &mut |admin| admin.batch_execute(SHOW).unwrap(),
    );
}

#[test]
fn an_event_table_that_goes_missing_loses_nothing_that_was_on_its_way() {
    let site = Site::on(server(&[]));
    let stopped = RefCell::new(None);
    fails_closed(
        &site,
        &mut [
            (Fate::NotWritten, &mut |_| drop(stopped.replace(Some(stop_worker(&site))))),
            (Fate::NotInstalled, &mut |admin| {
                admin.batch_execute(HIDE).unwrap();
                // It finds out, and rests.
                drop(stopped.take());
            }),
        ],
        &mut |admin| admin.batch_execute(SHOW).unwrap(),
    );
}

#[test]
fn a_password_in_a_statement_that_is_not_recorded_is_not_logged() {
    let site = Site::new();
    site.configure(&["audit_timeout = '200ms'", "queue_timeout = '200ms'"]);
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login_with(&ALL_KINDS));
    let calls = [
        "SELECT auth.pv_validate_password('42'::text, 'literal secret number one')",
        "SELECT auth.pv_set_password('42'::text, 'literal secret number two')",
        "DO $$ BEGIN PERFORM auth.pv_set_password('42'::text, 'literal secret number three'); END $$",
        "SELECT auth.pv_validate_password('42'::text, 'literal secret number four'), auth.pv_disable_user('42'::text)",
    ];
    let index = hold_index("event_pkey");
    for (block, unblock, states, certain) in [
        (index.as_str(), "COMMIT", &["58030", "53400", "no error"][..], &[0, 1, 2][..0]),
        (HOLD_TABLE, "COMMIT", &["no error", "55P03"], &[3]),
        (HIDE, SHOW, &["55000"], &[0, 1, 2, 3]),
    ] {
        recovers(&mut app);
        settle(&mut admin);
        admin.batch_execute(block).unwrap();
        for (i, sql) in calls.into_iter().enumerate() {
            let state = sqlstate(app.batch_execute(sql));
            assert!(states.contains(&state.as_str()), "{state}: {sql}");
            assert!(!certain.contains(&i) || state != "no error", "{block}: {sql}");
        }
        admin.batch_execute(unblock).unwrap();
    }
    recovers(&mut app);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    let log = site.cluster.log();
    for error in [
        "the audit event of this call was not written in time",
        "a table of password_verify is locked by another session",
        "the tables of password_verify are missing or incomplete",
    ] {
        assert!(log.contains(error), "{error}");
    }
    assert!(!log.contains("literal secret"));
}

#[test]
fn a_full_queue_is_busy_and_stalls_no_other_database() {
    let cluster = server(&["password_verify.audit_queue = 64"]);
    let (stuck, other) = (Site::on(Arc::clone(&cluster)), Site::on(cluster));
    // The slots are everybody's: sixteen hashes may be before one's own.
    for (site, patience) in [(&stuck, "500ms"), (&other, "4s")] {
        site.configure(&["audit_timeout = '1s'", &format!("queue_timeout = '{patience}'")]);
        site.enroll("42", GOOD);
    }
    let mut admin = stuck.admin();
    let (mut blocker, mut somebody) = (stuck.admin(), stuck.login());
    let (barrier, stop) = (Barrier::new(41), AtomicBool::new(false));
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let threads: Vec<_> = (0..40)
            .map(|i| {
                let (stuck, barrier) = (&stuck, &barrier);
                scope.spawn(move || {
                    let mut app = stuck.login();
                    barrier.wait();
                    barrier.wait();
                    let start = Instant::now();
                    let answer = ask(&mut app, VALIDATE, &[&format!("user{i}"), &WRONG]);
                    (answer.map_err(|error| sqlstate::<()>(Err(error))), start.elapsed())
                })
            })
            .collect();
        let neighbour = scope.spawn(|| {
            let mut app = other.login();
            while !stop.load(Ordering::Relaxed) || answered.load(Ordering::Relaxed) <= 20 {
                let start = Instant::now();
                assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
                assert!(start.elapsed() < Duration::from_secs(5));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        // When everybody is connected. The worker is there: one without work leaves.
        barrier.wait();
        validate(&mut somebody, "somebody", WRONG);
        blocker.batch_execute(&hold_index("event_pkey")).unwrap();
        barrier.wait();
        let mut busy = 0;
        for thread in threads {
            let (answer, took) = thread.join().unwrap();
            match answer {
                Ok(answer) => {
                    assert_eq!(answer, Answer::no("busy"));
                    busy += 1;
                }
                Err(state) => assert_eq!(state, "58030"),
            }
            assert!(took < Duration::from_secs(8), "{took:?}");
        }
        // A quarter of the queue, less what is taken already.
        assert!(busy >= 40 - 16, "{busy}");
        let used = stat(&mut admin, "queue_used");
        assert!((1..=32).contains(&used), "{used}");
        stop.store(true, Ordering::Relaxed);
        neighbour.join().unwrap();
    });
    assert!(answered.into_inner() > 20, "the other database goes on");
    let (unrecorded, busy) =
        (stat(&mut admin, "busy_unrecorded"), stat(&mut admin, "validate_busy"));
    assert!(unrecorded + busy >= 24, "{unrecorded} + {busy}");

    // Answers that do not wait for their events: as many as there is room for, and no more.
    blocker.batch_execute("COMMIT").unwrap();
    stuck.configure(&["audit_durability = async"]);
    let mut app = stuck.login();
    recovers(&mut app);
    settle(&mut admin);
    blocker.batch_execute(&hold_index("event_pkey")).unwrap();
    let answers: Vec<_> =
        (0..20).map(|i| validate(&mut app, &format!("async{i}"), WRONG)).collect();
    let room =
        answers.iter().take_while(|answer| **answer == Answer::no("invalid_credentials")).count();
    assert!((1..=16).contains(&room), "{room}");
    assert!(answers[room..].iter().all(|answer| *answer == Answer::no("busy")), "{answers:?}");
    blocker.batch_execute("COMMIT").unwrap();
    recovers(&mut app);
    settle(&mut admin);
    for i in 0..room {
        assert_eq!(of_user(&mut admin, &format!("async{i}")), ["validate invalid_credentials"]);
    }
    // Where the table itself is locked not even that many: nothing is put in the queue, and nobody else is
    // stalled.
    blocker.batch_execute(HOLD_TABLE).unwrap();
    for i in 0..3 {
        assert_eq!(validate(&mut app, &format!("locked{i}"), WRONG), Answer::no("busy"));
    }
    assert_eq!(stat(&mut admin, "queue_used"), 0);
    assert_eq!(validate(&mut other.login(), "42", GOOD), Answer::yes());
    blocker.batch_execute("COMMIT").unwrap();
    assert_intact(&mut admin);
}

#[test]
fn parallel_queries_do_not_take_the_workers_places() {
    let site = Site::on(server(&[
        "max_worker_processes = 8",
        "password_verify.workers = 2",
        "max_parallel_workers = 8",
        "max_parallel_workers_per_gather = 8",
    ]));
    let parallel = "SET force_parallel_mode = on";
    let parallel = |client: &mut Client| {
        client
            .batch_execute(parallel)
            .or_else(|_| client.batch_execute("SET debug_parallel_query = on"))
            .unwrap();
    };
    let mut admin = site.admin();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&stop);
        for _ in 0..8 {
            let mut sleeper = site.login();
            let stop = &stop;
            scope.spawn(move || {
                parallel(&mut sleeper);
                while !stop.load(Ordering::Relaxed) {
                    sleeper.batch_execute("SELECT pg_sleep(5)").unwrap();
                }
            });
        }
        let mut another = site.login();
        parallel(&mut another);
        wait_until("all places are taken", || {
            let plan = another.query("EXPLAIN (ANALYZE) SELECT pg_sleep(0)", &[]).unwrap();
            plan.iter().any(|row| row.get::<_, &str>(0).contains("Workers Launched: 0"))
        });
        let workers =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'";
        assert!(number(&mut admin, workers) >= 4);
        // The first call of all.
        site.enroll("42", GOOD);
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
        assert!(number(&mut admin, workers) >= 4, "they are still taken");
        stop.store(true, Ordering::Relaxed);
    });
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "42"), ["create committed", "validate valid"]);
}

#[test]
fn settings_of_databases_and_roles_do_not_stop_the_worker() {
    let site = Site::on(server(&["track_commit_timestamp = on"]));
    let (db, app) = (site.database.clone(), site.app.clone());
    let mut admin = site.admin();
    admin.batch_execute("CREATE ROLE watcher LOGIN SUPERUSER; CREATE ROLE powerless; CREATE SCHEMA hostile; CREATE TABLE hostile.event (i int)").unwrap();
    let settings = [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "statement_timeout = 1",
        "lock_timeout = 1",
        "idle_in_transaction_session_timeout = 1",
        "idle_session_timeout = 1",
        "search_path = hostile, password_verify, pg_catalog",
        "row_security = off",
        "role = powerless",
        "session_replication_role = replica",
        "check_function_bodies = off",
        "enable_indexscan = off",
        "default_table_access_method = heap",
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Kathmandu'",
        "client_encoding = 'LATIN1'",
        "lc_messages = 'C'",
        "log_min_messages = 'panic'",
        "xmloption = document",
        "bytea_output = escape",
        "temp_buffers = 100",
        "work_mem = 64",
        "force_parallel_mode = on",
    ];
    let mut applied = 0;
    for setting in settings {
        for target in [
            format!("DATABASE {db}"),
            "ROLE postgres".into(),
            "ROLE pv_owner".into(),
            format!("ROLE postgres IN DATABASE {db}"),
            format!("ROLE pv_owner IN DATABASE {db}"),
        ] {
            // Some exist on some majors only.
            applied +=
                usize::from(admin.batch_execute(&format!("ALTER {target} SET {setting}")).is_ok());
        }
    }
    assert!(applied >= 5 * 20, "{applied}");
    // People who work there are not subject to them.
    for role in [app.as_str(), "watcher"] {
        for setting in settings.iter().take(11).chain(&["client_encoding = ''"]) {
            let (name, _) = setting.split_once(' ').unwrap();
            let value = match name {
                "default_transaction_read_only" | "default_transaction_deferrable" => "off",
                "default_transaction_isolation" => "'read committed'",
                "synchronous_commit" | "row_security" => "on",
                "search_path" => "pg_catalog",
                "client_encoding" => "'UTF8'",
                "role" => "none",
                _ => "0",
            };
            admin
                .batch_execute(&format!("ALTER ROLE {role} IN DATABASE {db} SET {name} = {value}"))
                .unwrap();
        }
    }
    admin.batch_execute("ALTER ROLE postgres NOLOGIN CONNECTION LIMIT 0; ALTER ROLE pv_owner CONNECTION LIMIT 0").unwrap();
    let mut watcher = site.cluster.connect("watcher", &db);
    let app = &mut site.login();
    drop(admin);
    site.cluster
        .connect("watcher", "postgres")
        .batch_execute(&format!("ALTER DATABASE {db} ALLOW_CONNECTIONS false CONNECTION LIMIT 0"))
        .unwrap();
    let is_set = "SELECT count(*) FROM pg_db_role_setting WHERE array_to_string(setconfig, ',') LIKE '%read_only=on%'";
    assert_eq!(number(&mut watcher, is_set), 5);

    // Twice, with another worker the second time.
    for round in 0..2 {
        let user = format!("user{round}");
        assert_eq!(create(app, &user, GOOD), Answer::yes());
        assert_eq!(validate(app, &user, GOOD), Answer::yes());
        assert_eq!(validate(app, &user, WRONG), Answer::no("invalid_credentials"));
        settle(&mut watcher);
        let expected = ["create committed", "validate valid", "validate invalid_credentials"];
        assert_eq!(of_user(&mut watcher, &user), expected);
        await_no_worker(&mut watcher);
    }
    assert_eq!(epochs(&mut watcher), ["start"]);
    assert_intact(&mut watcher);
}

#[test]
fn three_databases_share_two_workers() {
    let cluster = server(&["password_verify.workers = 2"]);
    let sites: Vec<Site> = (0..3).map(|_| Site::on(Arc::clone(&cluster))).collect();
    for site in &sites {
        site.enroll("42", GOOD);
    }
    let stop = AtomicBool::new(false);
    let done: Vec<(usize, Duration)> = thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let threads: Vec<_> = (0..12)
            .map(|i| {
                let (site, stop) = (&sites[i % 3], &stop);
                scope.spawn(move || {
                    let (mut done, mut longest) = (0, Duration::ZERO);
                    let mut app = site.login();
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        if done % 5 == 0 {
                            assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
                        } else {
                            let answer = create(&mut app, &format!("{i}-{done}"), "short");
                            assert_eq!(answer, Answer::no("too_short"));
                        }
                        longest = longest.max(start.elapsed());
                        done += 1;
                    }
                    (done, longest)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(6));
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    println!("{done:?}");
    for (i, site) in sites.iter().enumerate() {
        let calls: usize = done.iter().skip(i).step_by(3).map(|(calls, _)| calls).sum();
        assert!(calls > 50, "{calls}: nobody is starved");
        let mut admin = site.admin();
        settle(&mut admin);
        let found = counts(&mut admin);
        assert_eq!(found["create too_short"] + found["validate valid"], calls as i64);
        assert_intact(&mut admin);
        epochs(&mut admin);
    }
}

////////////////////////////////////////////////////////////////////////////////
// Databases and extensions that come and go
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_database_can_be_dropped_and_copied_right_after_use() {
    let site = Site::new();
    let mut dba = site.cluster.admin("postgres");
    // A bystander whose events are nobody else's.
    let other = Site::new();
    other.enroll("42", GOOD);
    let mut bystander = other.login();
    assert_eq!(validate(&mut bystander, "42", GOOD), Answer::yes());

    site.enroll("42", GOOD);
    let mut admin = site.admin();
    settle(&mut admin);
    drop(admin);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    let copy = format!("{}_copy", site.database);
    dba.batch_execute(&format!("CREATE DATABASE {copy} TEMPLATE {}", site.database)).unwrap();
    let mut app = site.cluster.connect(&site.app, &copy);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    let mut admin = site.cluster.admin(&copy);
    assert_eq!(epochs(&mut admin).last().unwrap(), "restore");
    assert_intact(&mut admin);
    drop((admin, app));

    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    dba.batch_execute(&format!("DROP DATABASE {}", site.database)).unwrap();
    let mut app = site.cluster.connect(&site.app, &copy);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    dba.batch_execute(&format!("DROP DATABASE {copy} WITH (FORCE)")).unwrap();
    assert!(app.query(VALIDATE, &[&"42", &GOOD]).is_err());
    assert_eq!(validate(&mut bystander, "42", GOOD), Answer::yes());
    let mut admin = other.admin();
    settle(&mut admin);
    assert_intact(&mut admin);
    let found = counts(&mut admin);
    assert_eq!((found.len(), found["validate valid"]), (2, 2), "nobody else's: {found:?}");
}

#[test]
fn a_forced_drop_in_mid_call_disturbs_nobody_else() {
    let cluster = server(&["password_verify.workers = 2"]);
    let other = Site::on(Arc::clone(&cluster));
    other.enroll("42", GOOD);
    let mut dba = cluster.admin("postgres");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let bystander = scope.spawn(|| {
            let (mut app, mut calls) = (other.login(), 0);
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
                calls += 1;
            }
            calls
        });
        for round in 0..5 {
            let site = Site::on(Arc::clone(&cluster));
            site.enroll("42", GOOD);
            thread::scope(|scope| {
                for i in 0..6 {
                    let mut app = site.login_with(&ALL_KINDS);
                    scope.spawn(move || {
                        loop {
                            let call = app.query(
                                if i % 2 == 0 { VALIDATE } else { SET },
                                &[&format!("user{i}"), &GOOD],
                            );
                            let Err(error) = call else { continue };
                            // 57P01, or the connection was closed before it could be said.
                            let state = sqlstate::<()>(Err(error));
                            assert!(
                                state == "57P01" || state.starts_with("not an error"),
                                "{state}"
                            );
                            break;
                        }
                    });
                }
                thread::sleep(Duration::from_millis(100 + 70 * round));
                dba.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", site.database))
                    .unwrap();
            });
        }
        stop.store(true, Ordering::Relaxed);
        assert!(bystander.join().unwrap() > 20);
    });
    let mut admin = other.admin();
    settle(&mut admin);
    assert_eq!(stat(&mut admin, "queue_used"), 0);
    assert_eq!(counts(&mut admin).len(), 2);
    assert_intact(&mut admin);
    assert!(!cluster.log().contains("PANIC") && !cluster.log().contains("terminated by signal"));
}

#[test]
fn what_was_on_its_way_to_a_dropped_database_is_discarded_and_counted() {
    let cluster = server(&[]);
    let (site, other) = (Site::on(Arc::clone(&cluster)), Site::on(Arc::clone(&cluster)));
    site.configure(&["audit_durability = async", "queue_timeout = '200ms'"]);
    other.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login());
    validate(&mut app, "somebody", WRONG);
    settle(&mut admin);
    let stopped = stop_worker(&site);
    let answered = (0..5)
        .filter(|i| {
            validate(&mut app, &format!("user{i}"), "x".repeat(4097).as_str()) != Answer::no("busy")
        })
        .count();
    assert!(answered > 0);
    let mut elsewhere = other.admin();
    assert!(stat(&mut elsewhere, "queue_used") >= answered as i64);
    // When it goes on, it cannot write them.
    admin.batch_execute(HIDE).unwrap();
    drop(stopped);
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"somebody", &WRONG])), "55000");
    drop((admin, app));
    cluster
        .admin("postgres")
        .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", site.database))
        .unwrap();
    wait_until("they are discarded", || stat(&mut elsewhere, "queue_used") == 0);
    assert!(stat(&mut elsewhere, "queue_discarded") >= answered as i64);
    assert_eq!(validate(&mut other.login(), "42", GOOD), Answer::yes());
    assert_intact(&mut elsewhere);
}

#[test]
fn an_extension_that_was_dropped_and_created_again_begins_anew() {
    let site = Site::new();
    let mut admin = site.admin();
    let recreate = format!(
        "DROP EXTENSION password_verify; CREATE EXTENSION password_verify SCHEMA auth;
         SELECT auth.pv_grant('{app}', 'verifier'); SELECT auth.pv_grant('{app}', 'enroller')",
        app = site.app
    );
    // While the worker is still there, and when it has left; in one transaction, and in several.
    for (round, pause) in [0, 0, 0, 3000].into_iter().enumerate() {
        let mut app = site.login();
        assert_eq!(create(&mut app, "42", GOOD), Answer::yes(), "round {round}");
        assert_eq!(validate(&mut app, "42", GOOD), Answer::yes(), "round {round}");
        assert_eq!(
            validate(&mut app, "42", WRONG),
            Answer::no("invalid_credentials"),
            "round {round}"
        );
        settle(&mut admin);
        thread::sleep(Duration::from_millis(pause));
        if round == 1 {
            recreate.split(';').for_each(|sql| admin.batch_execute(sql).unwrap());
        } else {
            admin.batch_execute(&recreate).unwrap();
        }
        let mut app = site.login();
        assert_eq!(
            validate(&mut app, "42", GOOD),
            Answer::no("invalid_credentials"),
            "round {round}"
        );
        assert_eq!(of_user(&mut admin, "42"), ["validate invalid_credentials"], "round {round}");
        let verdict = verify(&mut admin);
        assert!(verdict.intact, "round {round}: {verdict:?}");
        assert_eq!(epochs(&mut admin), ["start"], "round {round}");
    }
    // Gone for a while: whoever calls by an old plan gets an error, and nothing hangs.
    let mut app = site.login();
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    admin.batch_execute("DROP EXTENSION password_verify").unwrap();
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"42", &GOOD])), "42883");
    thread::sleep(Duration::from_millis(300));
    admin.batch_execute(recreate.split_once(';').unwrap().1).unwrap();
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    assert_intact(&mut admin);
}

#[test]
fn in_the_transaction_that_created_the_extension_calls_fail_at_once() {
    let site = Site::bare(Cluster::shared(), "");
    let mut admin = site.admin();
    let calls = [
        "SELECT auth.pv_validate_password('42'::text, 'correct horse battery staple')",
        "SELECT auth.pv_create_password('42'::text, 'correct horse battery staple')",
        "SELECT auth.pv_set_password('42'::text, 'correct horse battery staple')",
        "SELECT auth.pv_change_password('42'::text, 'correct horse battery staple', 'velvet anvil under monsoon')",
        "SELECT auth.pv_disable_user('42'::text)",
        "SELECT auth.pv_unlock_user('42'::text)",
    ];
    let refused_in = |admin: &mut Client, begin: &str, schema: &str| {
        for call in calls {
            admin.batch_execute(begin).unwrap();
            let start = Instant::now();
            let call = call.replace("auth.", &format!("{schema}."));
            assert_eq!(sqlstate(admin.batch_execute(&call)), "55000", "{begin}: {call}");
            assert!(start.elapsed() < Duration::from_secs(1), "at once");
            admin.batch_execute("ROLLBACK").unwrap();
        }
    };
    refused_in(
        &mut admin,
        "BEGIN; CREATE SCHEMA auth; CREATE EXTENSION password_verify SCHEMA auth",
        "auth",
    );
    refused_in(
        &mut admin,
        "BEGIN; CREATE SCHEMA auth; SAVEPOINT s; CREATE EXTENSION password_verify SCHEMA auth; RELEASE s",
        "auth",
    );
    admin.batch_execute("BEGIN; CREATE SCHEMA auth; CREATE SCHEMA elsewhere; CREATE EXTENSION password_verify SCHEMA auth; COMMIT").unwrap();
    assert_eq!(create(&mut admin, "42", GOOD), Answer::yes());
    refused_in(
        &mut admin,
        "BEGIN; DROP EXTENSION password_verify; CREATE EXTENSION password_verify SCHEMA auth",
        "auth",
    );
    // Taken back, nothing has happened to it.
    admin
        .batch_execute("BEGIN; SAVEPOINT s; DROP EXTENSION password_verify; ROLLBACK TO s")
        .unwrap();
    assert_eq!(validate(&mut admin, "42", GOOD), Answer::yes());
    admin.batch_execute("COMMIT").unwrap();
    // It cannot be moved, neither with its worker nor without.
    let moved = "CREATE SCHEMA third; ALTER EXTENSION password_verify SET SCHEMA third";
    assert_eq!(sqlstate(admin.batch_execute(moved)), "0A000");
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "42"), ["create committed", "validate valid"]);
    assert_intact(&mut admin);
}

#[test]
fn in_binary_upgrade_mode_there_is_no_worker() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    let workers = || {
        let postmaster = cluster.postmaster().to_string();
        let output =
            Command::new("ps").args(["--ppid", &postmaster, "-o", "args="]).output().unwrap();
        let all = String::from_utf8(output.stdout).unwrap();
        assert!(all.contains("checkpointer"), "the test looks: {all}");
        all.matches("password_verify").count()
    };
    let mut start = cluster.command("pg_ctl");
    start.arg("-D").arg(cluster.data()).args(["-l", "log", "-w", "-o", "-b", "start"]);
    run(&mut start);
    assert_eq!(workers(), 0);
    cluster.down();
    cluster.up();
    wait_until("the workers are there", || workers() == 6);
}

////////////////////////////////////////////////////////////////////////////////
// Tampering
////////////////////////////////////////////////////////////////////////////////

const MISSING: &str = "rows before this one are missing";

/// A database with three epochs of events, and nobody who writes.
fn with_history(cluster: Arc<Cluster>) -> Site {
    let site = Site::on(cluster);
    for epoch in 0..3 {
        let mut app = site.login();
        for i in 0..5 {
            let user = format!("user{epoch}-{i}");
            ask(&mut app, VALIDATE_FROM, &[&user, &WRONG, &"192.0.2.1"]).unwrap();
        }
        site.enroll(&format!("user{epoch}"), GOOD);
        settle(&mut site.admin());
        if epoch < 2 {
            site.cluster.down();
            site.cluster.up();
        }
    }
    let mut admin = site.admin();
    await_no_worker(&mut admin);
    assert_eq!(epochs(&mut admin), ["start"; 3]);
    assert_intact(&mut admin);
    site
}

/// Where verifying stops after this was done to the table. It is undone.
fn after(admin: &mut Client, tampering: &str) -> (Option<(i64, i64)>, Option<String>) {
    let mut open = admin.transaction().unwrap();
    open.batch_execute(tampering).unwrap();
    let verdict = verify(&mut open);
    assert_eq!(verdict.intact, verdict.problem.is_none());
    open.rollback().unwrap();
    (verdict.at, verdict.problem)
}

fn tampering_is_named(site: &Site) {
    let mut admin = site.admin();
    let changed = |epoch, seq| (Some((epoch, seq)), Some("changed".to_owned()));
    let missing = |epoch, seq| (Some((epoch, seq)), Some(MISSING.to_owned()));
    let column_changes = [
        "at = at + interval '1 microsecond'",
        "since = since - interval '1 microsecond'",
        "count = count + 1",
        "action = 'prove'",
        "action = 'nonsense'",
        "outcome = 'valid'",
        "outcome = ''",
        "user_id = 'somebody'",
        "user_id = NULL",
        "client_addr = '192.0.2.2'",
        "client_addr = NULL",
        "login_role = 'somebody'",
        "login_role = NULL",
        "acting_role = 'somebody'",
        "acting_role = login_role || ' '",
        "peer_addr = '192.0.2.1'",
        "peer_addr = NULL",
        "application_name = 'psql'",
        "application_name = ''",
        "pid = pid + 1",
        "pid = NULL",
        "xid = 1",
        "alert = 1",
        "alert = 256",
        "detail = ''",
        "detail = '{}'",
        "mac = set_byte(mac, 31, get_byte(mac, 31) # 1)",
        "mac = ''",
        "mac = mac || '\\x00'",
        // Two columns that could be one, told apart by nothing but where one ends.
        "user_id = user_id || client_addr, client_addr = NULL",
        "user_id = client_addr, client_addr = user_id",
    ];
    for set in column_changes {
        let sql = format!("UPDATE password_verify.event SET {set} WHERE epoch = 2 AND seq = 2");
        assert_eq!(after(&mut admin, &sql), changed(2, 2), "{set}");
    }
    // A pending change, its end, and an epoch's first row.
    let place = |admin: &mut Client, what: &str| {
        let row = admin.query_one(&format!("SELECT epoch, seq FROM password_verify.event WHERE {what} ORDER BY epoch, seq LIMIT 1"), &[]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    for (what, set) in [
        ("outcome = 'pending'", "outcome = 'committed'"),
        ("outcome = 'pending'", "xid = xid + 1"),
        ("outcome = 'pending'", "xid = NULL"),
        ("action = 'end'", "outcome = 'rolled_back'"),
        ("action = 'end'", "xid = xid + 1"),
        ("action = 'epoch' AND epoch = 3", "detail = replace(detail, 'start', 'restore')"),
        ("action = 'epoch' AND epoch = 3", "at = at + interval '1 s'"),
    ] {
        let (epoch, seq) = place(&mut admin, what);
        let sql =
            format!("UPDATE password_verify.event SET {set} WHERE epoch = {epoch} AND seq = {seq}");
        assert_eq!(after(&mut admin, &sql), changed(epoch, seq), "{what}: {set}");
    }
    let last_of = |admin: &mut Client, epoch: i64| {
        number(admin, &format!("SELECT max(seq) FROM password_verify.event WHERE epoch = {epoch}"))
    };
    let last = last_of(&mut admin, 2);
    for (tampering, expected) in [
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = 3".to_owned(), missing(2, 4)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq BETWEEN 2 AND 4".into(), missing(2, 5)),
        ("DELETE FROM password_verify.event WHERE epoch = 1 AND seq = 0".into(), missing(1, 1)),
        ("DELETE FROM password_verify.event WHERE epoch = 1 AND seq < 3".into(), missing(1, 3)),
        ("DELETE FROM password_verify.event WHERE epoch = 1".into(), missing(2, 0)),
        ("DELETE FROM password_verify.event WHERE epoch = 2".into(), missing(3, 0)),
        ("DELETE FROM password_verify.event WHERE epoch < 3".into(), missing(3, 0)),
        (format!("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = {last}"), missing(3, 0)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq > 0".into(), missing(3, 0)),
        // Inserted: at an end, between two, before the first, and as an epoch of its own.
        (insert("2", &(last + 1).to_string(), "epoch = 2 AND seq = 3"), changed(2, last + 1)),
        (insert("2", "-1", "epoch = 2 AND seq = 3"), missing(2, -1)),
        (insert("2", "3", "epoch = 1 AND seq = 3").replace("INSERT", "UPDATE password_verify.event SET seq = -seq WHERE epoch = 2 AND seq > 2; UPDATE password_verify.event SET seq = 1 - seq WHERE epoch = 2 AND seq < 0; INSERT"), changed(2, 3)),
        // Swapped, and moved to another epoch.
        ("UPDATE password_verify.event SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE epoch = 2 AND seq IN (2, 3);
          UPDATE password_verify.event SET seq = -seq WHERE epoch = 2 AND seq < 0".into(), changed(2, 2)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = 3;
          UPDATE password_verify.event SET epoch = 2 WHERE epoch = 1 AND seq = 3".into(), missing(1, 4)),
        // Two whole epochs swapped.
        ("UPDATE password_verify.event SET epoch = -epoch WHERE epoch IN (1, 2);
          UPDATE password_verify.event SET epoch = 3 + epoch WHERE epoch < 0".into(), changed(1, 0)),
        // It says that retention was here.
        (format!("DELETE FROM password_verify.event WHERE epoch = 1;
          INSERT INTO password_verify.event SELECT epoch, {}, at, since, 1, 'prune', 'recorded', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, '{{\"epochs_before\":2}}', mac
            FROM password_verify.event WHERE epoch = 2 AND seq = {last}", last + 1), changed(2, last + 1)),
    ] {
        assert_eq!(after(&mut admin, &tampering), expected, "{tampering}");
    }
    // The tail: nothing is left that could name it. The head in the server log does.
    let whole = verify(&mut admin).head.unwrap();
    let line = format!(
        r#"password_verify: {{"audit":"head","database":"{}","epoch":{},"seq":{},"mac":"{}","server":"#,
        site.database, whole.0, whole.1, whole.2
    );
    wait_until("the head is in the log", || site.cluster.log().contains(&line));
    let mut open = admin.transaction().unwrap();
    open.execute(
        "DELETE FROM password_verify.event WHERE epoch = $1 AND seq >= $2",
        &[&whole.0, &(whole.1 - 1)],
    )
    .unwrap();
    let verdict = verify(&mut open);
    let left = verdict.head.unwrap();
    assert!((left.0, left.1) == (whole.0, whole.1 - 2) && left.2 != whole.2);
    open.rollback().unwrap();
    assert_eq!(verify(&mut admin).head.unwrap(), whole);
    assert_intact(&mut admin);
}

/// A copy of a row, at another place.
fn insert(epoch: &str, seq: &str, of: &str) -> String {
    format!(
        "INSERT INTO password_verify.event SELECT {epoch}, {seq}, at, since, count, action, outcome, user_id, client_addr, login_role, acting_role,
         peer_addr, application_name, pid, xid, alert, detail, mac FROM password_verify.event WHERE {of}"
    )
}

#[test]
fn what_was_changed_removed_or_inserted_is_named() {
    tampering_is_named(&with_history(server(&[])));
}

#[test]
fn a_row_before_the_first_epoch_is_named() {
    let site = with_history(server(&[]));
    let mut admin = site.admin();
    for (epoch, of) in [("0", "seq = 0"), ("0", "seq = 2"), ("-5", "seq = 0")] {
        let (at, problem) = after(&mut admin, &insert(epoch, "0", &format!("epoch = 1 AND {of}")));
        assert_eq!(at, Some((epoch.parse().unwrap(), 0)), "{epoch} {of}");
        assert_eq!(problem.as_deref(), Some(MISSING));
    }
}

#[test]
fn a_tail_cut_off_while_the_worker_is_there_is_named_by_its_next_row() {
    let site = Site::new();
    let (mut admin, mut app) = (site.admin(), site.login());
    (0..5).for_each(|i| drop(validate(&mut app, &format!("user{i}"), WRONG)));
    admin.execute("DELETE FROM password_verify.event WHERE seq > 3", &[]).unwrap();
    validate(&mut app, "next", WRONG);
    let verdict = verify(&mut admin);
    assert_eq!((verdict.at, verdict.problem.as_deref()), (Some((1, 6)), Some(MISSING)));
}

////////////////////////////////////////////////////////////////////////////////
// With a keyring
////////////////////////////////////////////////////////////////////////////////

#[test]
fn with_a_keyring_tampering_is_named_too() {
    let cluster = Cluster::init();
    let path = keyring(&cluster, "keys", &format!("# ours\na:{}\n", fresh_key()), 0o600);
    cluster.configure(&[PRELOADED, &[&setting(&path)]].concat());
    cluster.up();
    let site = with_history(Arc::new(cluster));
    let opening = text(
        &mut site.admin(),
        "SELECT detail FROM password_verify.event WHERE epoch = 1 AND seq = 0",
    );
    assert!(opening.contains(r#""key":"a""#), "{opening}");
    tampering_is_named(&site);
}

#[test]
fn a_chain_without_a_key_does_not_pass_for_one_with_a_key() {
    let cluster = Cluster::init();
    let path = keyring(&cluster, "keys", &format!("a:{}\n", fresh_key()), 0o600);
    cluster.configure(&[PRELOADED, &[&setting(&path)]].concat());
    cluster.up();
    let site = with_history(Arc::new(cluster));
    // Somebody who can write the table but not read the keys has a server of their own, without a
    // keyring, go on from the first epoch as they would like it to have been.
    let forge = Site::new();
    let mut forger = forge.admin();
    let mut admin = site.admin();
    let copy = |from: &Site, to: &mut Client, rows: &str| {
        let mut psql = from.cluster.command("psql");
        let sql = format!(
            "COPY (SELECT * FROM password_verify.event WHERE {rows} ORDER BY epoch, seq) TO STDOUT"
        );
        let output = run(psql.args(["-X", "-d", &from.database, "-c", &sql]));
        let mut writer = to.copy_in("COPY password_verify.event FROM STDIN").unwrap();
        std::io::Write::write_all(&mut writer, &output.stdout).unwrap();
        writer.finish().unwrap();
    };
    await_no_worker(&mut forger);
    for (what, kept) in [("all but the first epoch", "epoch = 1"), ("everything", "false")] {
        forger.batch_execute("TRUNCATE password_verify.event").unwrap();
        copy(&site, &mut forger, kept);
        validate(&mut forge.login(), "forged", WRONG);
        settle(&mut forger);
        await_no_worker(&mut forger);
        assert_intact(&mut site.admin());
        // (A transaction of the victim's server, which is taken back.)
        let mut open = admin.transaction().unwrap();
        open.execute("DELETE FROM password_verify.event", &[]).unwrap();
        open.batch_execute("CREATE TEMP TABLE forged (LIKE password_verify.event) ON COMMIT DROP")
            .unwrap();
        let mut psql = forge.cluster.command("psql");
        let output = run(psql.args([
            "-X",
            "-d",
            &forge.database,
            "-c",
            "COPY password_verify.event TO STDOUT",
        ]));
        let mut writer = open.copy_in("COPY password_verify.event FROM STDIN").unwrap();
        // The first epoch of the victim has a key that the forger's server does not have, so its rows
        // are what was copied to it.
        std::io::Write::write_all(&mut writer, &output.stdout).unwrap();
        writer.finish().unwrap();
        let forged: i64 = open
            .query_one("SELECT count(*) FROM auth.pv_events WHERE user_id = 'forged'", &[])
            .unwrap()
            .get(0);
        assert_eq!(forged, 1, "{what}");
        let verdict = verify(&mut open);
        open.rollback().unwrap();
        assert!(!verdict.intact, "{what} was replaced by plain hashes: {verdict:?}");
    }
}

#[test]
fn another_active_key_begins_another_epoch_and_the_old_one_is_needed_to_verify() {
    let cluster = Cluster::init();
    let (a, b, c) = (fresh_key(), fresh_key(), fresh_key());
    let path = keyring(&cluster, "keys", "", 0o600);
    cluster.configure(&[PRELOADED, &[&setting(&path)]].concat());
    let restart = |cluster: &Cluster, keys: &str| {
        if cluster.data().join("postmaster.pid").exists() {
            cluster.down();
        }
        keyring(cluster, "keys", keys, 0o600);
        cluster.up();
    };
    restart(&cluster, &format!("a:{a}\n"));
    let site = Site::on(Arc::new(cluster));
    let attempt = |user: &str| drop(validate(&mut site.login(), user, WRONG));
    attempt("one");
    restart(&site.cluster, &format!("a:{a}\n\nb:{b}\n"));
    attempt("two");
    restart(&site.cluster, &format!("a:{a}\nb:{b}\n"));
    attempt("three");
    let mut admin = site.admin();
    assert_eq!(epochs(&mut admin), ["start", "key", "start"]);
    let keys = "SELECT string_agg(detail::json->>'key', ' ' ORDER BY epoch) FROM auth.pv_events WHERE action = 'epoch'";
    assert_eq!(text(&mut admin, keys), "a b b");
    assert_intact(&mut admin);
    drop(admin);

    // Without the old key nobody can tell, and it says so.
    restart(&site.cluster, &format!("b:{b}\n"));
    let verdict = verify(&mut site.admin());
    assert_eq!((verdict.intact, verdict.at), (false, Some((1, 0))));
    assert_eq!(verdict.problem.unwrap(), "the keyring does not have the key of this epoch");
    // Another key by the name of the old one is not it.
    restart(&site.cluster, &format!("a:{c}\nb:{b}\n"));
    let verdict = verify(&mut site.admin());
    assert_eq!((verdict.at, verdict.problem.as_deref()), (Some((1, 0)), Some("changed")));
    // And with it, everything is as before. No key is anywhere in the database or the log.
    restart(&site.cluster, &format!("a:{a}\nb:{b}\n"));
    attempt("four");
    let mut admin = site.admin();
    assert_intact(&mut admin);
    let all = text(&mut admin, "SELECT string_agg(e::text, '') FROM password_verify.event e");
    for key in [a, b, c] {
        assert!(!all.contains(&key) && !site.cluster.log().contains(&key));
    }
}

#[test]
fn a_keyring_that_is_not_private_or_not_one_keeps_the_server_from_starting() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    let (a, b) = (fresh_key(), fresh_key());
    let good = format!("a:{a}\nb:{b}\n");
    let conf = cluster.data().join("postgresql.conf");
    let original = fs::read_to_string(&conf).unwrap();
    let starts = |value: &str| -> (bool, String) {
        fs::write(&conf, format!("{original}\npassword_verify.keyring_file = '{value}'\n"))
            .unwrap();
        let before = cluster.log().len();
        let mut pg_ctl = cluster.command("pg_ctl");
        pg_ctl.arg("-D").arg(cluster.data()).args(["-l", "log", "-w", "start"]);
        let started = pg_ctl.output().unwrap().status.success();
        if started {
            cluster.down();
        }
        (started, cluster.log()[before..].to_owned())
    };
    let file =
        |name: &str, text: &str, mode| keyring(&cluster, name, text, mode).display().to_string();
    let unpadded = a.trim_end_matches('=');
    let cases = [
        ("readable by the group", file("group", &good, 0o640), "private"),
        ("readable by all", file("all", &good, 0o604), "private"),
        ("writable by the group", file("writable", &good, 0o620), "private"),
        ("in the data directory", file("data/keys", &good, 0o600), "outside the data directory"),
        ("missing", cluster.folder().join("missing").display().to_string(), "No such file"),
        ("relative", "../group".into(), "absolute"),
        ("a folder", cluster.folder().display().to_string(), "private"),
        (
            "no colon",
            file("no colon", &format!("a:{a}\n{b}\n"), 0o600),
            "line 2: not of the form id:base64",
        ),
        ("short", file("short", &format!("a:{}\n", &a[..40]), 0o600), "line 1: a key is 32 bytes"),
        (
            "unpadded",
            file("unpadded", &format!("# x\na:{unpadded}\n"), 0o600),
            "line 2: a key is 32 bytes",
        ),
        ("bad id", file("bad id", &format!("a b:{a}\n"), 0o600), "line 1: an id"),
        (
            "repeated",
            file("repeated", &format!("a:{a}\nb:{b}\na:{b}\n"), 0o600),
            "line 3: the id is there already",
        ),
        ("empty", file("empty", "# no key yet\n", 0o600), "no keys"),
        ("not text", file("not text", "", 0o600), "not a text"),
    ];
    fs::write(cluster.folder().join("not text"), [b'a', b':', 0xff, 0xfe]).unwrap();
    symlink(cluster.data().join("keys"), cluster.folder().join("link")).unwrap();
    let link = cluster.folder().join("link").display().to_string();
    for (what, path, why) in cases.into_iter().chain([(
        "a link into the data directory",
        link,
        "outside the data directory",
    )]) {
        let (started, log) = starts(&path);
        assert!(!started, "{what}");
        assert!(
            log.contains("FATAL")
                && log.contains("password_verify.keyring_file")
                && log.contains(why),
            "{what}: {log}"
        );
        for key in [&a, &b] {
            assert!(!log.contains(&key[..40]), "{what}: {log}");
        }
    }
    assert!(starts(&file("good", &good, 0o600)).0);
    assert!(starts(&file("read only", &good, 0o400)).0);
    assert!(starts("").0);
    // As for an SSL key: root's, and readable by the server's group.
    let owned = file("root", &good, 0o640);
    if chown(&owned, Some(0), None).is_ok() {
        assert!(starts(&owned).0);
        chown(&owned, Some(12345), None).unwrap();
        let (started, log) = starts(&owned);
        assert!(!started && log.contains("password_verify.keyring_file"), "{log}");
    }
}
