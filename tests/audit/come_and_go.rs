//! Databases and extensions that come and go, beside a worker that writes.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use password_verify_tests::calls::{SET, VALIDATE, create, validate};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::in_the_way::{HIDE, stop_worker};
use password_verify_tests::stall::Clock;
use password_verify_tests::trail::{
    assert_intact, counts, epochs, of_user, settle, stat, verify, wait_until,
};
use password_verify_tests::{ALL_KINDS, Answer, Cluster, GOOD, Site, WRONG, sqlstate};
use postgres::Client;

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
            let clock = Clock::start();
            let call = call.replace("auth.", &format!("{schema}."));
            assert_eq!(sqlstate(admin.batch_execute(&call)), "55000", "{begin}: {call}");
            assert!(clock.time() < Duration::from_secs(1), "at once");
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
