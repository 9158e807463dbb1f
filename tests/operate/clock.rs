//! Clocks that are set, and what is left in indexes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::server;
use password_verify_tests::imports::BCRYPT;
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::query::number;
use password_verify_tests::trail::{await_statistics, settle, stat, wait_until};
use password_verify_tests::{Answer, GOOD, Site};
use postgres::Client;

const FIRST_EPOCH: &str = "SELECT min(epoch) FROM password_verify.event";

/// Rows of so many epochs: every start of the server begins one.
fn epochs(site: &Site, count: u32, mut in_the_first: impl FnMut(&Site)) {
    assert!(!validate(&mut site.login(), "nobody", "guess").0);
    in_the_first(site);
    settle(&mut site.admin());
    for _ in 1..count {
        site.cluster.down();
        site.cluster.up();
        assert!(!validate(&mut site.login(), "nobody", "guess").0);
    }
}

/// As the clock is set forward by an hour, everything before is an hour older.
fn age(site: &Site, which: &str) {
    let sql = format!("UPDATE password_verify.event SET at = at - interval '1 hour' WHERE {which}");
    assert!(site.admin().execute(&sql, &[]).unwrap() > 0);
}

/// A gap in the times of the audit, as a clock that is set forward leaves it, makes everything before it look
/// old. Nothing is removed until the clock has gone on for as long as an epoch lasts: time to notice it.
#[test]
fn a_clock_that_jumps_forward_removes_nothing_at_once() {
    let site = Site::on(server(&[]));
    // A minute: an epoch lasts a quarter of it.
    site.configure(&["audit_retention = 1"]);
    epochs(&site, 3, |_| {});
    age(&site, "true");
    site.cluster.down();
    site.cluster.up();
    let (mut app, mut admin) = (site.login(), site.admin());
    let told = "nothing is removed from the audit for now";
    assert!(!validate(&mut app, "nobody", "guess").0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(11) {
        assert!(!validate(&mut app, "nobody", "guess").0);
        assert_eq!(number(&mut admin, FIRST_EPOCH), 1, "after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(site.cluster.log().matches(told).count(), 1, "the log says why, once");
    // It has gone on: what is old goes.
    wait_until("it is removed", || {
        assert!(!validate(&mut app, "nobody", "guess").0);
        thread::sleep(Duration::from_millis(300));
        number(&mut admin, FIRST_EPOCH) > 1
    });
}

/// Somebody's old transaction keeps every row that was removed: retention goes on from where it was.
#[test]
fn retention_passes_nothing_twice_beside_an_old_transaction() {
    const ROWS: i64 = 6000;
    let site = Site::on(server(&["autovacuum = off"]));
    site.configure(&["audit_retention = 1"]);
    epochs(&site, 3, |site| {
        let sql = format!(
            "SELECT count(auth.pv_import_hash('user' || n, '{BCRYPT}')) FROM generate_series(1, {ROWS}) n"
        );
        assert_eq!(number(&mut site.login_with(&["manager"]), &sql), ROWS);
    });
    let (mut app, mut admin, mut old) = (site.login(), site.admin(), site.admin());
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").unwrap();
    // The first of them ends with the beginning of the second.
    age(&site, "epoch < 3");
    let mut for_a_while = |seconds: u64, enough: &mut dyn FnMut() -> bool| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) && !enough() {
            assert!(!validate(&mut app, "nobody", "guess").0);
            thread::sleep(Duration::from_millis(300));
        }
    };
    for_a_while(60, &mut || number(&mut admin, FIRST_EPOCH) > 1);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.event WHERE epoch = 1"), 0);
    // Every entry of the index that was passed, also of what is gone.
    let passed = |admin: &mut Client| {
        await_statistics(admin);
        let sql = "SELECT idx_tup_read FROM pg_stat_all_indexes
                    WHERE indexrelid = 'password_verify.event_pkey'::regclass";
        number(admin, sql)
    };
    let before = passed(&mut admin);
    for_a_while(8, &mut || false);
    let passed = passed(&mut admin) - before;
    assert!(passed < ROWS, "{passed} entries were passed");
    old.batch_execute("COMMIT").unwrap();
}

/// What was rolled back stays in the index until VACUUM. Passing it takes the longer the more there is, but
/// only for whoever has no row: by that anybody could tell.
#[test]
fn an_import_that_was_rolled_back_does_not_tell_who_exists() {
    let site = Site::on(server(&["autovacuum = off"]));
    site.allow_failures();
    site.enroll("alice", GOOD);
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    let mut fastest = |user: &str| {
        (0..15)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(validate(&mut app, user, "guess"), Answer::no("invalid_credentials"));
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    let import =
        "SELECT count(auth.pv_import_hash('user' || n, $1)) FROM generate_series(1, 40000) n";
    manager.batch_execute("BEGIN").unwrap();
    manager.query(import, &[&BCRYPT]).unwrap();
    // While it is open, and when it is gone.
    for end in ["SELECT 1", "ROLLBACK"] {
        manager.batch_execute(end).unwrap();
        let known = fastest("alice");
        // 40 000 entries between two users: some of these have all of them before them.
        let unknown = (0..6).map(|n| fastest(&format!("nobody{n}"))).max().unwrap();
        // Each of them would take a microsecond or more, twice, for the credential and for the budget.
        let limit = 2 * known + Duration::from_millis(30);
        assert!(unknown < limit, "{end}: {unknown:?} for nobody, {known:?} for alice");
    }
}

/// It says nothing in the log, but the worker has to notice all the same.
#[test]
fn a_database_that_is_gone_is_noticed_by_a_silent_server() {
    let site = Site::on(server(&["log_min_messages = panic"]));
    site.configure(&["audit_durability = async"]);
    let beside = Site::on(Arc::clone(&site.cluster));
    let (mut app, mut admin) = (site.login(), site.admin());
    // Something that the worker cannot write, and so tries again every second. It is stopped until that is there.
    let stopped = stop_worker(&site);
    let answer = validate(&mut app, "somebody", "guess");
    let alter =
        "SET lock_timeout = '1s'; ALTER TABLE password_verify.event ADD COLUMN theirs integer";
    let altered = admin.batch_execute(alter);
    drop(stopped);
    assert_eq!(answer, Answer::no("invalid_credentials"));
    altered.unwrap();
    let mut other = beside.admin();
    let waits = |other: &mut Client| stat(other, "queue_used") - stat(other, "queue_discarded");
    thread::sleep(Duration::from_secs(2));
    assert!(waits(&mut other) > 0, "it waits to be written");
    // A worker may be connected at this moment.
    wait_until("it is gone", || {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", site.database);
        site.cluster.admin("postgres").batch_execute(&drop).is_ok()
    });
    wait_until("what was to be written for it is discarded", || {
        stat(&mut other, "queue_discarded") > 0
    });
    assert_eq!(stat(&mut other, "queue_used"), 0);
}
