//! What is older than the retention goes, by whole epochs and announced.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::create;
use password_verify_tests::cluster::server;
use password_verify_tests::query::number;
use password_verify_tests::told::with_clients;
use password_verify_tests::trail::{assert_intact, await_no_worker, counts, verify};
use password_verify_tests::{Answer, Site};
use postgres::Client;

#[test]
fn what_is_older_than_the_retention_goes_epoch_by_epoch() {
    let site = with_clients(server(&[]));
    site.configure(&["audit_retention = '1min'"]);
    let mut admin = site.admin();
    let mut app = site.login();
    let start = Instant::now();
    let first = "SELECT min(epoch) FROM password_verify.event";
    let (mut i, mut seen) = (0, Vec::new());
    while start.elapsed() < Duration::from_secs(86) {
        assert_eq!(create(&mut app, &format!("user{i}"), "short"), Answer::no("too_short"));
        i += 1;
        if i % 10 == 0 {
            assert_intact(&mut admin);
            seen.push(number(&mut admin, first));
        }
        thread::sleep(Duration::from_millis(50));
    }
    seen.dedup();
    println!("first epochs: {seen:?}, {i} calls");
    assert!(seen.len() > 1 && seen.is_sorted(), "{seen:?}");
    let why = epochs_from_there(&mut admin);
    assert!(why.len() >= 3 && why.iter().all(|why| why == "daily"), "{why:?}");
    // Somebody says so, before it happens, in a row of the chain.
    let prunes = "SELECT (detail::json->>'epochs_before')::bigint FROM auth.pv_events WHERE action = 'prune' ORDER BY epoch, seq";
    let prunes: Vec<i64> = admin.query(prunes, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(prunes.is_sorted());
    assert_eq!(*prunes.last().unwrap(), number(&mut admin, first));
    // Nothing younger is gone.
    let sql =
        "SELECT count(*), max(substr(user_id, 5)::bigint) - min(substr(user_id, 5)::bigint) + 1
                 FROM auth.pv_events WHERE action = 'create' AND at > now() - interval '55 s'";
    let row = admin.query_one(sql, &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert!(row.get::<_, i64>(0) > 100);
    let oldest = "SELECT EXTRACT(epoch FROM now() - min(at))::bigint FROM auth.pv_events";
    assert!(number(&mut admin, oldest) >= 59);
    assert_intact(&mut admin);
    // Deleting a prefix oneself is still named.
    let mut open = admin.transaction().unwrap();
    let from = *prunes.last().unwrap();
    open.execute("DELETE FROM password_verify.event WHERE epoch = $1", &[&from]).unwrap();
    assert_eq!(verify(&mut open).at, Some((from + 1, 0)));
    open.rollback().unwrap();
    // And so is a row put where the prefix was.
    let mut open = admin.transaction().unwrap();
    open.batch_execute("INSERT INTO password_verify.event SELECT 1, 0, at, since, count, action, outcome, 'forged', client_addr, login_role, acting_role, peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, user_nonce, mac FROM password_verify.event WHERE action = 'create' LIMIT 1").unwrap();
    let at = verify(&mut open).at;
    open.rollback().unwrap();
    // An extension created anew, after the worker has left, begins with an epoch 1 that nobody has
    // announced to go.
    await_no_worker(&mut admin);
    admin
        .batch_execute(&format!(
            "DROP EXTENSION password_verify; CREATE EXTENSION password_verify SCHEMA auth;
             SELECT auth.pv_grant('{}', 'enroller')",
            site.app
        ))
        .unwrap();
    let mut app = site.login();
    for i in 0..40 {
        assert_eq!(create(&mut app, &format!("again{i}"), "short"), Answer::no("too_short"));
        thread::sleep(Duration::from_millis(50));
    }
    let again = (counts(&mut admin).get("create too_short").copied(), verify(&mut admin).intact);
    assert_eq!(
        (at, again),
        (Some((1, 0)), (Some(40), true)),
        "where it is named; what is left of 40 calls after CREATE EXTENSION, and is it intact"
    );
}

/// A worker that always finds something to write removes what is old all the same.
#[test]
fn what_is_old_goes_from_a_server_that_is_never_idle() {
    let site = with_clients(server(&[]));
    // An auditor who asked something long ago and has not gone on is no obstacle.
    let mut auditor = site.login_with(&["auditor"]);
    let question = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM auth.pv_recent_events()";
    auditor.batch_execute(question).unwrap();
    never_idle(&[site]);
}

/// Nor does it depend on how long a worker stays that another database waits for.
#[test]
fn what_is_old_goes_where_databases_take_turns() {
    let cluster = server(&["password_verify.workers = 1"]);
    never_idle(&[with_clients(Arc::clone(&cluster)), with_clients(cluster)]);
}

/// For 100 seconds there is always something to write in each of these.
fn never_idle(sites: &[Site]) {
    for site in sites {
        site.configure(&["audit_retention = '1min'", "audit_durability = async"]);
    }
    let start = Instant::now();
    thread::scope(|threads| {
        for site in sites.iter().chain(sites) {
            threads.spawn(move || {
                let mut app = site.login();
                // Refused before anything is hashed, so that each of them is an event and little else.
                let flood = "SELECT count(auth.pv_create_password('flood' || n, 'short')) FROM generate_series(1, 500) n";
                while start.elapsed() < Duration::from_secs(100) {
                    app.query_one(flood, &[]).unwrap();
                }
            });
        }
        thread::sleep(Duration::from_secs(95));
        for site in sites {
            let sql =
                "SELECT EXTRACT(epoch FROM now() - min(at))::bigint FROM password_verify.event";
            let oldest = number(&mut site.admin(), sql);
            // A quarter of the retention, which is as exact as it is, and the slices that delete.
            assert!(oldest < 85, "{oldest} seconds");
        }
    });
    for site in sites {
        assert_intact(&mut site.admin());
    }
}

/// As [`epochs`], where the first that is there is not the first that was.
fn epochs_from_there(client: &mut Client) -> Vec<String> {
    let sql =
        "SELECT detail::json->>'why' FROM auth.pv_events WHERE action = 'epoch' ORDER BY epoch";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}
