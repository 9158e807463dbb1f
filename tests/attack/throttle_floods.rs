//! Floods of ids, of refusals and of databases make nothing forgotten.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use password_verify_tests::cluster::{PRELOADED, server};
use password_verify_tests::crowd::at_once;
use password_verify_tests::site::CHEAP;
use password_verify_tests::throttle::{
    AWAY, BUSY, HOME, INVALID, THROTTLED, VALID, counts, guess, login, statistic, tally,
};
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Cluster, GOOD, Site, sqlstate};
use postgres::Client;

#[test]
fn a_flood_of_ids_makes_nothing_forgotten() {
    let small = "password_verify.throttle_entries = 1024";
    let site = Site::on(server(&[small]));
    site.configure(&[
        "throttle_first_wait = 3600",
        "throttle_client_failures = 5",
        "throttle_client_refill = 1",
    ]);
    site.enroll("victim", GOOD);
    let mut app = site.login();
    assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID);
    // A transaction that is as old as that: to its snapshot nobody has ever failed.
    let mut old = site.login();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class").unwrap();
    // One is looked at all the time, of the other nobody thinks.
    for user in ["victim", "quiet"] {
        (0..5).for_each(|_| assert_eq!(guess(&mut app, user, None), INVALID));
    }
    let since = Instant::now();
    (0..5).for_each(|i| assert_eq!(guess(&mut app, &format!("first{i}"), AWAY), INVALID));
    // A slow machine takes so long that the client gets an attempt back: one a minute, no more.
    let again = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let came_back = || again.iter().map(|again| again.load(Ordering::Relaxed)).sum::<usize>();

    let size = statistic(&site, "throttle_entries_size");
    assert!((1024..2048).contains(&size), "{size}");
    let over = AtomicBool::new(false);
    let watched = AtomicUsize::new(0);
    let watch = || {
        let (mut app, mut admin) = (site.login(), site.admin());
        while !over.load(Ordering::Relaxed) {
            assert_eq!(login(&mut app, "victim", GOOD, None), THROTTLED);
            assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID, "a known client");
            let answer = login(&mut app, "first0", GOOD, AWAY);
            if answer != THROTTLED {
                assert_eq!(answer, INVALID, "a client");
                again[0].fetch_add(1, Ordering::Relaxed);
            }
            let sql = "SELECT value FROM auth.pv_stats WHERE statistic = 'throttle_entries_used'";
            let used: i64 = admin.query_one(sql, &[]).unwrap().get(0);
            assert!(used <= size, "{used}");
            watched.fetch_add(1, Ordering::Relaxed);
        }
    };
    let flood = |prefix: &str, ids: usize, address: &str, expected: &str| {
        let answers = at_once(
            4,
            |_| site.login(),
            |i, client| {
                let sql = format!(
                "SELECT reason, count(*) FROM generate_series(1, {}) n, LATERAL
                     auth.pv_validate_password('{prefix} {i} ' || n, 'guess', {address}) GROUP BY reason",
                ids / 4
            );
                let rows = client.query(&sql, &[]).unwrap();
                rows.iter()
                    .map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1)))
                    .collect::<Vec<_>>()
            },
        );
        for answers in answers {
            let mut left = ids / 4;
            for (reason, count) in answers {
                left -= count as usize;
                if reason != expected {
                    assert_eq!(reason, INVALID);
                    again[1].fetch_add(count as usize, Ordering::Relaxed);
                }
            }
            assert_eq!(left, 0);
        }
    };
    thread::scope(|scope| {
        let watching = scope.spawn(watch);
        // Each is hashed and charged.
        let start = Instant::now();
        flood("hashed", 1200, "NULL", INVALID);
        println!("1200 ids hashed in {:?}", start.elapsed());
        // None is hashed, but each is looked at: its client has nothing left.
        let start = Instant::now();
        let before = statistic(&site, "validate_invalid_credentials");
        flood("refused", 20_000, "'10.5.5.5'", THROTTLED);
        println!("20,000 ids refused in {:?}", start.elapsed());
        over.store(true, Ordering::Relaxed);
        watching.join().unwrap();
        let hashed = statistic(&site, "validate_invalid_credentials") - before;
        assert!((0..=came_back() as i64).contains(&hashed), "{hashed}");
        let minutes = since.elapsed().as_secs() / 60;
        assert!(came_back() as u64 <= minutes, "{again:?} in {minutes} min");
    });
    println!("looked at {} times meanwhile", watched.load(Ordering::Relaxed));
    assert!(watched.load(Ordering::Relaxed) > 10);

    let sql = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 1),
                      count(*) FILTER (WHERE kind = 2), count(*) FILTER (WHERE kind > 2),
                      pg_total_relation_size('password_verify.throttle')
                 FROM password_verify.throttle";
    let row = site.admin().query_one(sql, &[]).unwrap();
    let kinds: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
    println!("rows by kind {kinds:?}, {} bytes", row.get::<_, i64>(4));
    // The victims, five from one address, and the flood; one known client; one client.
    let flooded = 1200 + again[1].load(Ordering::Relaxed) as i64;
    assert_eq!(kinds, [2 + 5 + flooded, 1, 1, 0]);
    assert!(statistic(&site, "throttle_entries_used") <= size);
    wait_until("all is written", || statistic(&site, "throttle_entries_unwritten") == 0);
    let sql = "SELECT reason FROM auth.pv_validate_password('quiet'::text, 'guess')";
    let reason: String = old.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(reason, THROTTLED, "to an old snapshot too");
    assert_eq!(guess(&mut app, "quiet", None), THROTTLED);
    assert_eq!(guess(&mut app, "victim", None), THROTTLED);
    // Each of the flood has had one, and four more are free.
    let left: Vec<String> = (0..5).map(|_| guess(&mut app, "hashed 0 1", None)).collect();
    assert_eq!(tally(left), counts([(INVALID, 4), (THROTTLED, 1)]));
}

#[test]
fn a_flood_of_refusals_loses_no_charge() {
    // Where answers do not wait for their events many of these are under way, and the places in the
    // cache that they speak of belong to somebody else by the time they are written.
    let slow_disk = ["fsync = on", "commit_siblings = 0", "commit_delay = 20000"];
    let small = [PRELOADED[0], "password_verify.throttle_entries = 1024"];
    let cluster = Cluster::start(&[&small[..], &slow_disk[..]].concat());
    let site = Site::on(Arc::new(cluster));
    site.configure(&[
        "audit_durability = async",
        "throttle_free_failures = 1",
        "throttle_first_wait = 3600",
        "throttle_client_failures = 3",
        "throttle_client_refill = 1",
    ]);
    let mut app = site.login();
    (0..3).for_each(|i| assert_eq!(guess(&mut app, &format!("first{i}"), AWAY), INVALID));
    let over = AtomicBool::new(false);
    let flood = |i: usize| {
        let mut client = site.login();
        let mut tried = 0;
        while !over.load(Ordering::Relaxed) {
            tried += 500;
            let sql = format!(
                "SELECT count(*) FROM generate_series(1, 500) n, LATERAL
                     auth.pv_validate_password('flood {i} {tried} ' || n, 'guess', '10.5.5.5')
                  WHERE reason = 'throttled'"
            );
            assert_eq!(client.query_one(&sql, &[]).unwrap().get::<_, i64>(0), 500);
        }
        tried
    };
    const ACCOUNTS: usize = 240;
    let tried: usize = thread::scope(|scope| {
        let flood = &flood;
        let floods: Vec<_> = (0..3).map(|i| scope.spawn(move || flood(i))).collect();
        // Guesses at accounts, each from an address of its own.
        let answers = at_once(
            3,
            |_| site.login(),
            |i, client| {
                let guesses = (i..ACCOUNTS).step_by(3).map(|n| {
                    let address = format!("10.6.{i}.{n}");
                    guess(client, &format!("account{n}"), Some(&address))
                });
                guesses.collect::<Vec<_>>()
            },
        );
        over.store(true, Ordering::Relaxed);
        assert_eq!(tally(answers.concat()), counts([(INVALID, ACCOUNTS)]));
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    println!("{tried} refusals beside {ACCOUNTS} guesses");
    wait_until("all is written", || {
        statistic(&site, "throttle_entries_unwritten") + statistic(&site, "queue_used") == 0
    });
    let sql = "SELECT kind, count(*) FROM password_verify.throttle WHERE kind >= 0
                GROUP BY kind ORDER BY kind";
    let rows = site.admin().query(sql, &[]).unwrap();
    let kinds: Vec<(i16, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let accounts = ACCOUNTS as i64;
    assert_eq!(kinds, [(0, 3 + accounts), (2, 1 + accounts)]);
    let still = (0..ACCOUNTS).map(|n| guess(&mut app, &format!("account{n}"), None));
    assert_eq!(tally(still.collect::<Vec<_>>()), counts([(THROTTLED, ACCOUNTS)]));
}

#[test]
fn more_databases_than_there_is_room_for_are_kept_apart() {
    const DATABASES: usize = 68;
    let prefix = |setting: &(&str, u32)| format!("password_verify.{} = {}", setting.0, setting.1);
    let mut settings: Vec<String> = CHEAP.iter().map(prefix).collect();
    settings.extend([
        PRELOADED[0].into(),
        "password_verify.workers = 2".into(),
        "password_verify.queue_timeout = 8000".into(),
        "password_verify.audit_timeout = 8000".into(),
        "password_verify.throttle_free_failures = 1".into(),
        "password_verify.throttle_first_wait = 3600".into(),
    ]);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let site = Site::on(Arc::new(Cluster::start(&settings)));
    let mut admin = site.cluster.admin("postgres");
    for i in 0..DATABASES {
        let sql = format!("CREATE DATABASE many{i} TEMPLATE {}", site.database);
        admin.batch_execute(&sql).unwrap();
    }
    let everywhere = |act: &(dyn Fn(usize, &mut Client) -> String + Sync)| -> Vec<String> {
        let database = AtomicUsize::new(0);
        let connect = |_| {
            let database = database.fetch_add(1, Ordering::Relaxed);
            site.cluster.admin(&format!("many{database}"))
        };
        at_once(DATABASES, connect, |_, client| {
            let name: String =
                client.query_one("SELECT current_database()::text", &[]).unwrap().get(0);
            act(name.trim_start_matches("many").parse().unwrap(), client)
        })
    };
    // There is room for 64; it is no fault to say so.
    let answers = everywhere(&|i, client| {
        let sql = format!("SELECT reason FROM auth.pv_validate_password('user{i}'::text, 'guess')");
        match client.query_one(&sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => sqlstate::<()>(Err(error)),
        }
    });
    let answers = tally(answers);
    println!("{DATABASES} databases: {answers:?}");
    let expected = [INVALID, BUSY, "53400"];
    assert!(answers.keys().all(|answer| expected.contains(&answer.as_str())), "{answers:?}");
    let mut seen = 0;
    for i in 0..DATABASES {
        let sql = "SELECT coalesce(array_agg(user_id), '{}'),
                          count(*) FILTER (WHERE outcome = 'invalid_credentials'),
                          (SELECT count(*) FROM password_verify.throttle WHERE kind = 0)
                     FROM auth.pv_events WHERE user_id IS NOT NULL";
        let mut client = site.cluster.admin(&format!("many{i}"));
        let row = client.query_one(sql, &[]).unwrap();
        let (users, events, budgets): (Vec<String>, i64, i64) =
            (row.get(0), row.get(1), row.get(2));
        assert!(users.iter().all(|user| *user == format!("user{i}")), "{users:?} in many{i}");
        assert_eq!(events, budgets, "in many{i}");
        seen += events as usize;
    }
    assert_eq!(seen, answers[INVALID]);
}
