//! Many users imported at once, and imports as parts of transactions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{manage, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::imports::{BCRYPT, IMPORT, SHA1, import, shown, users};
use password_verify_tests::trail::{assert_intact, of_user, settle, stat, wait_until};
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::NoTls;

#[test]
fn an_import_is_worth_what_its_transaction_comes_to() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    for (hash, label) in [(BCRYPT, "bcrypt -"), (SHA1, "argon2id+ldap-sha1 m=7168,t=5,p=1")] {
        let mut transaction = manager.transaction().unwrap();
        transaction.execute(IMPORT, &[&label, &hash]).unwrap();
        wait_until("it is on record", || of_user(&mut admin, label) == ["import pending"]);
        assert_eq!(users(&mut admin), 0);
        assert_eq!(validate(&mut app, label, GOOD), Answer::wrong());
        transaction.rollback().unwrap();
        settle(&mut admin);
        assert_eq!(of_user(&mut admin, label)[0], "import rolled_back");
        assert_eq!(validate(&mut app, label, GOOD), Answer::wrong());
        assert!(!manage(&mut admin, "pv_has_password", label));

        let mut transaction = manager.transaction().unwrap();
        let mut savepoint = transaction.savepoint("s").unwrap();
        savepoint.execute(IMPORT, &[&"undone", &hash]).unwrap();
        savepoint.rollback().unwrap();
        transaction.execute(IMPORT, &[&label, &hash]).unwrap();
        transaction.commit().unwrap();
        settle(&mut admin);
        let mut events = of_user(&mut admin, label);
        events.retain(|event| event.starts_with("import"));
        assert_eq!(events, ["import rolled_back", "import committed"]);
        assert_eq!(of_user(&mut admin, "undone").last().unwrap(), "import rolled_back");
        assert_eq!(shown(&mut admin, label), label);
        assert_eq!(validate(&mut app, label, GOOD), Answer::yes());
        assert!(manage(&mut manager, "pv_delete_user", label));
    }
    assert_intact(&mut admin);
}

#[test]
fn one_statement_imports_a_table_and_keeps_what_was_rejected() {
    let site = Site::new();
    let mut admin = site.admin();
    site.enroll("4", OTHER);
    let sql = format!(
        "CREATE TABLE users (id bigint, password_hash text);
         INSERT INTO users VALUES (1, '{BCRYPT}'), (2, '{SHA1}'), (3, 'plain'), (4, '{SHA1}'), (5, '{SHA1} ');
         CREATE TABLE rejected AS
         SELECT id, (answer).reason
           FROM (SELECT id, auth.pv_import_hash(id, password_hash) AS answer FROM users OFFSET 0) AS imported
          WHERE NOT (answer).success;"
    );
    admin.batch_execute(&sql).unwrap();
    let rows = admin.query("SELECT id, reason FROM rejected ORDER BY id", &[]).unwrap();
    let rejected: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rejected, [(3, "unsupported_format"), (4, "already_set"), (5, "malformed")]);
    let again = "SELECT (auth.pv_import_hash(u.id, btrim(u.password_hash))).success
                   FROM rejected r JOIN users u USING (id) WHERE r.reason = 'malformed'";
    assert!(admin.query_one(again, &[]).unwrap().get::<_, bool>(0));
    let mut app = site.login();
    for user in ["1", "2", "5"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    settle(&mut admin);
    for (user, event) in [("1", "committed"), ("3", "unsupported_format"), ("4", "already_set")] {
        let events = of_user(&mut admin, user);
        assert!(events.contains(&format!("import {event}")), "{user}: {events:?}");
    }
}

/// A table of the application's, as it was: so many users with bcrypt hashes of their own.
fn old_table(site: &Site, rows: i64) {
    let sql = format!(
        "CREATE TABLE old_users AS
         SELECT id, '$2b$12$' || left(translate(encode(sha256(id::text::bytea), 'base64'), '+=', './'), 21) || 'u'
                    || left(translate(encode(sha256((-id)::text::bytea), 'base64'), '+=', './'), 30) || '.' AS password_hash
           FROM generate_series(1, {rows}) AS id;
         GRANT SELECT ON old_users TO PUBLIC"
    );
    site.admin().batch_execute(&sql).unwrap();
}

const BULK: &str = "SELECT count(*), count(*) FILTER (WHERE (pv_import_hash).success)
                      FROM (SELECT auth.pv_import_hash(id, password_hash) FROM old_users OFFSET 0) AS done";

#[test]
fn many_slow_hashes_are_imported_without_hashing_and_seen_to_be() {
    let rows = 20_000;
    let site = Site::on(server(&[]));
    old_table(&site, rows);
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    let done = AtomicBool::new(false);
    let (time, seen) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut auditor, mut seen) = (site.login_with(&["auditor"]), BTreeSet::new());
            while !done.load(Ordering::Relaxed) {
                seen.insert(stat(&mut auditor, "import_pending"));
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let start = Instant::now();
        let row = manager.query_one(BULK, &[]);
        let time = start.elapsed();
        done.store(true, Ordering::Relaxed);
        let row = row.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (rows, rows));
        (time, watcher.join().unwrap())
    });
    println!("{rows} hashes of bcrypt in {time:?}; {} counts seen meanwhile", seen.len());
    assert!(seen.iter().filter(|count| **count > 0 && **count < rows).count() >= 3, "{seen:?}");
    assert_eq!(users(&mut admin), rows);
    for unused in ["hashes", "hash_slots_used_at_most", "hash_slots_used"] {
        assert_eq!(stat(&mut admin, unused), 0, "{unused}");
    }
    settle(&mut admin);
    let sql =
        "SELECT count(*) FROM auth.pv_events WHERE action = 'import' AND outcome = 'committed'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), rows);

    // Fast ones have to be hashed: 20,000 slow ones take less than 200 of those, twenty times.
    let fast = 50;
    let start = Instant::now();
    for i in 0..fast {
        assert_eq!(import(&mut manager, &format!("fast {i}"), SHA1), Answer::yes());
    }
    let of_fast = start.elapsed();
    println!("{fast} fast ones in {of_fast:?}");
    assert!(time < of_fast * (200 / fast) * 20, "{time:?} {of_fast:?}");
    assert_eq!(stat(&mut admin, "hash_slots_used_at_most"), 1);
}

#[test]
fn a_bulk_import_that_is_cancelled_imports_nobody() {
    let site = Site::new();
    old_table(&site, 100_000);
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    let cancel = manager.cancel_token();
    thread::scope(|scope| {
        let run = scope.spawn(|| sqlstate(manager.query_one(BULK, &[])));
        wait_until("some are imported", || stat(&mut admin, "import_pending") > 2000);
        cancel.cancel_query(NoTls).unwrap();
        assert_eq!(run.join().unwrap(), "57014");
    });
    assert_eq!(users(&mut admin), 0);
    let imported = stat(&mut admin, "import_pending");
    println!("cancelled after {imported}");
    assert!((2000..100_000).contains(&imported));
    settle(&mut admin);
    let sql =
        "SELECT count(*) FROM auth.pv_events WHERE action = 'import' AND outcome = 'rolled_back'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), imported);
    assert_intact(&mut admin);
    // As if nothing had been.
    assert_eq!(import(&mut manager, "1", BCRYPT), Answer::yes());
    assert_eq!(validate(&mut site.login(), "1", GOOD), Answer::yes());
}
