//! Transactions with very many parts, and what happens when one ends that nobody was watching.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use password_verify_tests::calls::{ask, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::Stopped;
use password_verify_tests::imports::BCRYPT;
use password_verify_tests::kill::crash_by;
use password_verify_tests::query::number;
use password_verify_tests::stall::Clock;
use password_verify_tests::trail::{assert_intact, settle, stat, wait_until, worker};
use password_verify_tests::{Answer, GOOD, OTHER, Site, crowd};
use postgres::Client;

/// As everybody imports: one row after the other, and one that fails stops nobody.
fn import(client: &mut Client, first: u32, last: u32) {
    client
        .batch_execute(&format!(
            "DO $$ BEGIN FOR n IN {first}..{last} LOOP
                BEGIN PERFORM auth.pv_import_hash('user' || n, '{BCRYPT}');
                EXCEPTION WHEN OTHERS THEN RAISE WARNING '%', SQLERRM; END;
             END LOOP; END $$"
        ))
        .unwrap();
}

/// Every change has its end, once.
fn assert_ended(admin: &mut Client, changes: i64, outcome: &str) {
    wait_until("every change has its end", || {
        number(admin, "SELECT count(*) FROM password_verify.open_change") == 0
    });
    let ends = format!("FROM password_verify.event WHERE action = 'end' AND outcome = '{outcome}'");
    assert_eq!(number(admin, &format!("SELECT count(DISTINCT xid) {ends}")), changes);
    assert_eq!(number(admin, &format!("SELECT count(*) {ends}")), changes);
    let pending = "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'";
    assert_eq!(number(admin, pending), 0);
    assert_intact(admin);
}

#[test]
fn an_import_with_a_savepoint_a_row_makes_nobody_wait() {
    const ROWS: u32 = 30_000;
    let site = Site::on(server(&[]));
    site.enroll("alice", GOOD);
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    for ending in ["COMMIT", "ROLLBACK"] {
        let first = if ending == "COMMIT" { 1 } else { ROWS + 1 };
        let over = AtomicBool::new(false);
        let slowest = thread::scope(|scope| {
            let beside = scope.spawn(|| {
                let (mut app, mut admin) = (site.login(), site.admin());
                let mut slowest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let clock = Clock::start();
                    assert_eq!(validate(&mut app, "alice", GOOD), Answer::yes());
                    slowest = slowest.max(clock.time());
                    // The import does not fill the queue, behind which others would wait.
                    let queued = stat(&mut admin, "queue_used");
                    assert!(queued < 200, "{queued} events are on their way");
                    thread::sleep(Duration::from_millis(50));
                }
                slowest
            });
            let _end = AtEnd(&over);
            manager.batch_execute("BEGIN").unwrap();
            import(&mut manager, first, first + ROWS - 1);
            let batches = stat(&mut admin, "event_batches");
            manager.batch_execute(ending).unwrap();
            let open = "SELECT count(*) FROM password_verify.open_change";
            wait_until("it has ended", || number(&mut admin, open) == 0);
            let batches = stat(&mut admin, "event_batches") - batches;
            assert!(batches >= i64::from(ROWS / 1000), "{ending}: {batches} batches");
            over.store(true, Ordering::Relaxed);
            beside.join().unwrap()
        });
        assert!(slowest < Duration::from_secs(1), "{ending}: {slowest:?}");
    }
    assert_ended(&mut admin, i64::from(ROWS), "rolled_back");
    let credentials = "SELECT count(*) FROM password_verify.credential WHERE user_id <> ''";
    assert_eq!(number(&mut admin, credentials), i64::from(ROWS) + 1);
}

/// Terminated workers and a server that is killed: what is left of the end is there for the next one.
#[test]
fn an_end_that_is_interrupted_goes_on() {
    const ROWS: u32 = 20_000;
    let site = Site::on(server(&[]));
    let mut app = site.login();
    for user in ["alice", "bob"] {
        site.enroll(user, GOOD);
        (0..5).for_each(|_| assert!(!validate(&mut app, user, "guess").0));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("throttled"));
    }
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    settle(&mut admin);
    let before = number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE action = 'end'");
    manager.batch_execute("BEGIN; SELECT auth.pv_unlock_user('alice'::text)").unwrap();
    import(&mut manager, 1, ROWS);
    manager.batch_execute("COMMIT").unwrap();
    let ended = || {
        let mut admin = site.admin();
        number(&mut admin, "SELECT count(*) FROM password_verify.event WHERE action = 'end'")
    };
    // The next worker comes although nobody asks for anything.
    for stop in 1..4 {
        wait_until("some of it is done", || ended() > before + stop * 2000);
        if let Some(pid) = worker(&mut admin) {
            admin.query("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
        }
    }
    assert!(ended() < before + i64::from(ROWS), "it was not done before it was interrupted");
    site.cluster.kill_postmaster();
    site.cluster.up();
    let (mut admin, mut app) = (site.admin(), site.login());
    assert_eq!(validate(&mut app, "alice", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "bob", GOOD), Answer::no("throttled"), "nobody unlocked bob");
    // One part for each row, one for what was outside of all savepoints, and the two that signed up.
    assert_ended(&mut admin, before + i64::from(ROWS) + 1, "committed");
}

/// The worker sees the changes and not their ends: the server is killed in between. Whoever logs in first
/// afterwards is not told to wait, however many there were.
#[test]
fn a_reset_before_a_crash_unlocks_the_account() {
    const USERS: usize = 16;
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (site.login(), site.admin());
    let mut registrar = site.login_with(&["registrar"]);
    let user = |i: usize| format!("alice{i}");
    let tokens: Vec<String> = (0..USERS)
        .map(|i| {
            site.enroll(&user(i), GOOD);
            (0..5).for_each(|_| assert!(!validate(&mut app, &user(i), "guess").0));
            assert_eq!(validate(&mut app, &user(i), GOOD), Answer::no("throttled"));
            let issue = "SELECT auth.pv_issue_reset_token($1::text)";
            registrar.query_one(issue, &[&user(i)]).unwrap().get(0)
        })
        .collect();
    settle(&mut admin);
    let mut open: Vec<_> = tokens
        .iter()
        .map(|token| {
            let mut open = site.login();
            open.batch_execute("BEGIN").unwrap();
            let reset = "SELECT * FROM auth.pv_reset_password($1, $2)";
            assert_eq!(ask(&mut open, reset, &[token, &OTHER]).unwrap(), Answer::yes());
            open
        })
        .collect();
    let seen = "SELECT count(*) FROM password_verify.open_change WHERE clears IS NOT NULL";
    wait_until("the changes are on record", || number(&mut admin, seen) == USERS as i64);
    let pid = worker(&mut admin).unwrap();
    let stopped = Stopped::new(pid);
    open.iter_mut().for_each(|open| open.batch_execute("COMMIT").unwrap());
    assert_eq!(number(&mut admin, seen), USERS as i64, "the worker has not seen the ends");
    // Sent before it: what is stopped does not see that its parent is gone.
    crash_by(&site.cluster, pid);
    drop(stopped);
    let answers =
        crowd::at_once(USERS, |_| site.login(), |i, client| validate(client, &user(i), OTHER));
    assert_eq!(answers, vec![Answer::yes(); USERS]);
}

/// Databases that take turns: a worker that comes to the end of a change that another has seen looks up what
/// it has to, and reads nothing of the audit.
#[test]
fn an_end_that_another_worker_sees_reads_no_audit() {
    let site = Site::on(server(&[]));
    let (mut manager, mut admin, mut app) =
        (site.login_with(&["manager"]), site.admin(), site.login());
    import(&mut manager, 1, 5000);
    for user in ["a", "b", "c", "d", "e", "f"] {
        site.enroll(user, GOOD);
        (0..5).for_each(|_| assert!(!validate(&mut app, user, "guess").0));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("throttled"));
    }
    settle(&mut admin);
    manager.batch_execute("BEGIN").unwrap();
    for user in ["a", "b", "c", "d", "e", "f"] {
        manager.query("SELECT auth.pv_unlock_user($1::text)", &[&user]).unwrap();
    }
    let pid = worker(&mut admin).unwrap();
    admin.query("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("it is gone", || worker(&mut admin) != Some(pid));
    assert!(!validate(&mut app, "nobody", "guess").0);
    let mut read = || {
        let sql = "SELECT pg_stat_clear_snapshot()::text,
                          (SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_all_tables
                            WHERE relid = 'password_verify.event'::regclass)";
        // Reported when the worker leaves, at the latest.
        thread::sleep(Duration::from_millis(3500));
        admin.query_one(sql, &[]).unwrap().get::<_, i64>(1)
    };
    let before = read();
    manager.batch_execute("COMMIT").unwrap();
    let after = read();
    assert!(after - before < 1000, "{} rows of the audit", after - before);
    for user in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
}
