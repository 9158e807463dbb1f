//! One queue and a few workers for all databases: nobody takes from others what they need, and no setting stops a
//! worker.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, create, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::LATE;
use password_verify_tests::in_the_way::{HOLD_TABLE, hold_index, recovers};
use password_verify_tests::query::number;
use password_verify_tests::trail::{
    assert_intact, await_no_worker, counts, epochs, of_user, settle, stat, wait_until,
};
use password_verify_tests::{Answer, GOOD, Site, WRONG, sqlstate};
use postgres::Client;

#[test]
fn a_full_queue_is_busy_and_stalls_no_other_database() {
    let cluster = server(&["password_verify.audit_queue = 64"]);
    let (stuck, other) = (Site::on(Arc::clone(&cluster)), Site::on(cluster));
    for site in [&stuck, &other] {
        site.enroll("42", GOOD);
    }
    // In sessions that begin later, and not at the neighbour's.
    let mut somebody = stuck.login();
    stuck.configure(&["audit_timeout = '1s'", "queue_timeout = '500ms'"]);
    other.configure(&[LATE, "audit_timeout = '60s'"]);
    let (mut admin, mut blocker) = (stuck.admin(), stuck.admin());
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
