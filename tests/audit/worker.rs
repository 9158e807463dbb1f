//! The workers: what they leave to each other, what they tell, and what must not hold them up.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::server;
use password_verify_tests::query::number;
use password_verify_tests::trail::{
    await_no_worker, await_statistics, settle, wait_for, wait_until, worker,
};
use password_verify_tests::{Answer, GOOD, Site};
use postgres::Client;

/// Longer than a worker stays without work.
const UNTIL_IT_HAS_LEFT: Duration = Duration::from_millis(3500);

fn end_workers(site: &Site) {
    let mut admin = site.admin();
    let pid = wait_for("a worker is there", || worker(&mut admin));
    admin.query("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    // It stays a little for what is expected of open transactions.
    while worker(&mut admin) == Some(pid) {
        thread::sleep(Duration::from_millis(50));
    }
}

/// An attempt from an address while the account waits. Everybody can see in the statistics what was
/// inserted and what was updated, and in the WAL how much was written.
#[test]
fn what_is_written_does_not_tell_who_is_known() {
    let site = Site::on(server(&["autovacuum = off", "track_counts = on"]));
    let mut app = site.login();
    let ask = "SELECT valid FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
    let mut attempt = |user: &str, password: &str, addr: Option<&str>| -> bool {
        app.query_one(ask, &[&user, &password, &addr]).unwrap().get(0)
    };
    site.enroll("alice", GOOD);
    assert!(attempt("alice", GOOD, Some("10.0.0.1")));
    for user in ["alice", "nobody"] {
        (0..5).for_each(|_| assert!(!attempt(user, "guess", None)));
    }
    // So that the budgets of the addresses themselves are there already.
    for addr in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert!(!attempt("somebody", "guess", Some(addr)));
    }
    let mut watcher = site.admin();
    let mut written = || -> [i64; 4] {
        await_statistics(&mut watcher);
        let sql = "SELECT sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint, sum(n_tup_hot_upd)::bigint
                     FROM pg_stat_all_tables WHERE schemaname = 'password_verify'";
        let row = watcher.query_one(sql, &[]).unwrap();
        std::array::from_fn(|i| row.get(i))
    };
    let mut before = written();
    let mut probes = Vec::new();
    for (user, addr) in [("alice", "10.0.0.1"), ("alice", "10.0.0.2"), ("nobody", "10.0.0.3")] {
        assert!(!attempt(user, "guess", Some(addr)));
        let after = written();
        probes.push(std::array::from_fn::<i64, 4, _>(|i| after[i] - before[i]));
        before = after;
    }
    assert!(probes[0].iter().sum::<i64>() > 0, "the test sees something: {probes:?}");
    assert_eq!(probes[0], probes[1], "known and unknown address");
    assert_eq!(probes[0], probes[2], "and a user who does not exist");
}

/// Being quiet for two seconds, so that the worker leaves, buys no new rows.
#[test]
fn the_allowance_of_rows_outlives_the_worker() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    let sql =
        format!("ALTER DATABASE {} SET password_verify.audit_durability = async", site.database);
    admin.batch_execute(&sql).unwrap();
    for round in 0..3 {
        let mut app = site.login();
        let sql = "SELECT count(auth.pv_validate_password($1 || n, repeat('x', 5000))) FROM generate_series(1, 6000) n";
        let asked: i64 = app.query_one(sql, &[&format!("{round}-")]).unwrap().get(0);
        assert_eq!(asked, 6000);
        settle(&mut admin);
        await_no_worker(&mut admin);
    }
    let rows = number(&mut admin, "SELECT count(*) FROM password_verify.event");
    let events = "SELECT sum(count)::bigint FROM auth.pv_events WHERE action = 'validate'";
    assert_eq!(number(&mut admin, events), 18_000);
    assert!(rows < 10_200, "{rows} rows of their own");
}

/// More databases in use than workers: they take turns, and a turn leaves no trace in the audit.
#[test]
fn taking_turns_costs_no_epochs() {
    let cluster = server(&["password_verify.workers = 2"]);
    let sites: Vec<Site> = (0..3).map(|_| Site::on(Arc::clone(&cluster))).collect();
    let end = Instant::now() + Duration::from_secs(6);
    let answers: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|i| {
                let site = &sites[i % 3];
                scope.spawn(move || {
                    let (mut app, mut answers) = (site.login(), 0);
                    while Instant::now() < end {
                        let answer = validate(&mut app, "nobody", "guess");
                        assert_ne!(answer, Answer::no("busy"));
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(answers > 60, "{answers} answers");
    for site in &sites {
        let mut admin = site.admin();
        let epochs = "SELECT count(*) FROM auth.pv_events WHERE action = 'epoch'";
        assert_eq!(number(&mut admin, epochs), 1);
        assert!(
            admin
                .query_one("SELECT intact FROM auth.pv_verify_events()", &[])
                .unwrap()
                .get::<_, bool>(0)
        );
    }
}

/// A worker that ends while a long transaction is open leaves the rest to the next one.
#[test]
fn a_change_of_workers_in_a_long_transaction_loses_nothing() {
    let site = Site::on(server(&[]));
    let users: Vec<String> = (0..7).map(|i| format!("user{i}")).collect();
    let mut app = site.login();
    for user in &users {
        site.enroll(user, GOOD);
        (0..5).for_each(|_| assert!(!validate(&mut app, user, "guess").0));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("throttled"));
    }
    let mut manager = site.login_with(&["manager"]);
    let mut open = manager.transaction().unwrap();
    for user in &users {
        assert!(
            open.query_one("SELECT auth.pv_unlock_user($1::text)", &[user])
                .unwrap()
                .get::<_, bool>(0)
        );
    }
    end_workers(&site);
    assert_eq!(validate(&mut app, "nobody", "guess"), Answer::no("invalid_credentials"));
    open.commit().unwrap();
    for user in &users {
        let start = Instant::now();
        while validate(&mut app, user, GOOD) != Answer::yes() {
            assert!(start.elapsed() < Duration::from_secs(5), "{user}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    // As an import does: many parts that could be rolled back one by one. No worker is there when the
    // transaction ends.
    let mut open = manager.transaction().unwrap();
    open.batch_execute(
        "DO $$ BEGIN
            FOR n IN 1..10000 LOOP
                BEGIN PERFORM auth.pv_disable_user('user' || n % 7); PERFORM auth.pv_enable_user('user' || n % 7);
                EXCEPTION WHEN division_by_zero THEN NULL; END;
            END LOOP; END $$",
    )
    .unwrap();
    end_workers(&site);
    open.commit().unwrap();
    let start = Instant::now();
    while validate(&mut app, "nobody", "guess") == Answer::no("busy") {}
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // The rest of its end comes a little at a time: nobody waits for it.
    let mut admin = site.admin();
    wait_until("it has ended", || {
        number(&mut admin, "SELECT count(*) FROM password_verify.open_change") == 0
    });
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'"),
        0
    );
}

/// Commits of the worker wait for synchronous standbys. The shutdown of the server does not.
#[test]
fn a_missing_standby_does_not_keep_the_server_up() {
    let site = Site::on(server(&[]));
    let mut app = site.login();
    assert_eq!(validate(&mut app, "nobody", "guess"), Answer::no("invalid_credentials"));
    // From its start: nobody tells when a reload has come to everybody. Other sessions do not wait.
    site.cluster.down();
    site.cluster.configure(&["synchronous_standby_names = 'gone'", "synchronous_commit = local"]);
    site.cluster.up();
    let mut app = site.login();
    let waiting = thread::spawn(move || {
        let sql = "SELECT valid FROM auth.pv_validate_password('nobody', 'guess')";
        app.query_one(sql, &[]).map(|row| row.get::<_, bool>(0))
    });
    thread::sleep(Duration::from_millis(700));
    assert!(!waiting.is_finished(), "the answer waits for the standby");
    let mut stop = site.cluster.command("pg_ctl");
    stop.arg("-D").arg(site.cluster.data()).args(["-m", "fast", "-w", "-t", "20", "stop"]);
    let output = stop.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(waiting.join().unwrap().is_err(), "and never came");
}

/// After a reset of the transaction log, or a dump without its events, nobody can tell how a transaction
/// has ended, and nobody has to.
#[test]
fn a_transaction_that_is_yet_to_come_is_no_obstacle() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin
        .batch_execute(
            "INSERT INTO password_verify.open_change
             VALUES ('00000000-05f5-e0ff-8000-000005f5e0ff', 99999999, 99999999, 1, 1, now(), NULL, false, NULL, '')",
        )
        .unwrap();
    let mut app = site.login();
    assert_eq!(validate(&mut app, "nobody", "guess"), Answer::no("invalid_credentials"));
    let unknown =
        "SELECT count(*) FROM auth.pv_events WHERE action = 'end' AND outcome = 'unknown'";
    assert_eq!(number(&mut admin, unknown), 1);
}

/// On a server where somebody logs in now and then, no worker is there for long.
#[test]
fn retention_works_on_a_quiet_server() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    let sql = format!("ALTER DATABASE {} SET password_verify.audit_retention = 1", site.database);
    admin.batch_execute(&sql).unwrap();
    let mut app = site.login();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(95) {
        validate(&mut app, "nobody", "guess");
        thread::sleep(UNTIL_IT_HAS_LEFT);
    }
    let oldest = "SELECT extract(epoch FROM now() - min(at))::bigint FROM auth.pv_events";
    let oldest = number(&mut admin, oldest);
    // A quarter more, and the visit that finds it.
    assert!(oldest < 90, "{oldest} seconds");
    let first = number(&mut admin, "SELECT min(epoch) FROM auth.pv_events");
    let prunes = number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE action = 'prune'");
    assert!(first > 1 && prunes <= first, "{prunes} prunes, first epoch {first}");
    let sql = "SELECT intact FROM auth.pv_verify_events()";
    assert!(admin.query_one(sql, &[]).unwrap().get::<_, bool>(0));
}

/// A flood of refusals that cost no hash, and wrong passwords in its shade.
#[test]
fn a_flood_hides_no_guess() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    let sql =
        format!("ALTER DATABASE {} SET password_verify.audit_durability = async", site.database);
    admin.batch_execute(&sql).unwrap();
    let mut app = site.login();
    let flood = "SELECT count(auth.pv_create_password('flood' || n, 'short')) FROM generate_series(1, 15000) n";
    let asked: i64 = app.query_one(flood, &[]).unwrap().get(0);
    assert_eq!(asked, 15_000);
    for user in ["one", "two", "three"] {
        (0..4).for_each(|_| {
            assert_eq!(validate(&mut app, user, "guess"), Answer::no("invalid_credentials"))
        });
    }
    settle(&mut admin);
    let named =
        "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id IN ('one', 'two', 'three')";
    assert_eq!(number(&mut admin, named), 12);
    let all = "SELECT sum(count)::bigint FROM auth.pv_events WHERE action = 'create'";
    assert_eq!(number(&mut admin, all), 15_000);
    assert!(number(&mut admin, "SELECT count(*) FROM password_verify.event") < 10_200);
}

/// While the name is another, nobody can call a function, and what waits to be written waits.
#[test]
fn renaming_the_schema_or_the_owner_loses_no_event() {
    let site = Site::on(server(&[]));
    site.configure(&["audit_durability = async"]);
    let (mut app, mut admin) = (site.login(), site.admin());
    let mut asked = 0;
    let mut ask = |app: &mut Client, times: u32| {
        for _ in 0..times {
            asked += i64::from(validate(app, "nobody", "guess") != Answer::no("busy"));
        }
        asked
    };
    ask(&mut app, 3);
    admin.batch_execute("ALTER ROLE pv_owner RENAME TO somebody").unwrap();
    end_workers(&site);
    ask(&mut app, 3);
    // As much as goes in before the worker comes to its next batch.
    for _ in 0..20 {
        ask(&mut app, 2);
        let rename = "ALTER SCHEMA password_verify RENAME TO other";
        admin.batch_execute(rename).unwrap();
        thread::sleep(Duration::from_millis(100));
        admin.batch_execute("ALTER SCHEMA other RENAME TO password_verify").unwrap();
    }
    admin.batch_execute("ALTER SCHEMA password_verify RENAME TO other").unwrap();
    wait_until("the log says what is wrong", || {
        let log = site.cluster.log();
        log.contains("schema password_verify has been renamed") || {
            admin.batch_execute("ALTER SCHEMA other RENAME TO password_verify").unwrap();
            ask(&mut app, 1);
            admin.batch_execute("ALTER SCHEMA password_verify RENAME TO other").unwrap();
            false
        }
    });
    admin.batch_execute("ALTER SCHEMA other RENAME TO password_verify").unwrap();
    let asked = ask(&mut app, 1);
    wait_until("everything is written", || {
        let events = "SELECT sum(count)::bigint FROM auth.pv_events WHERE action = 'validate'";
        number(&mut admin, events) == asked
    });
    let discarded = "SELECT value FROM auth.pv_stats WHERE statistic = 'queue_discarded'";
    assert_eq!(number(&mut admin, discarded), 0);
    admin.batch_execute("ALTER ROLE somebody RENAME TO pv_owner").unwrap();
}

/// What tells nothing about a password leaves no event. How often it is asked can be seen.
#[test]
fn calls_without_an_event_are_counted() {
    let site = Site::new();
    let mut client = site.login_with(&["verifier", "registrar", "auditor"]);
    for _ in 0..3 {
        client.query("SELECT auth.pv_has_password('42'::text)", &[]).unwrap();
        client.query("SELECT auth.pv_check_password('42'::text, 'short')", &[]).unwrap();
    }
    let counted = |client: &mut Client, name: &str| {
        number(client, &format!("SELECT value FROM auth.pv_stats WHERE statistic = '{name}'"))
    };
    assert_eq!(counted(&mut client, "has_password"), 3);
    // And the one that CREATE EXTENSION makes.
    assert_eq!(counted(&mut client, "check_password"), 4);
}
