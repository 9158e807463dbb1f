//! Attempts that are cut off, fail, or meet one that is under way: what was hashed is charged, and nothing else is.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::manage;
use password_verify_tests::cluster::server;
use password_verify_tests::hold::{Stopped, pid, signal, slots};
use password_verify_tests::throttle::{
    BUSY, INVALID, THROTTLED, Tried, VALID, attempt, guess, hashes, login, report, site_with,
    statistic,
};
use password_verify_tests::trail::{SOON, wait_for};
use password_verify_tests::{GOOD, Site, sqlstate};
use postgres::Client;

/// How many events of a user there are, by outcome.
fn events(site: &Site, user: &str) -> BTreeMap<String, i64> {
    let sql = "SELECT outcome, sum(count)::bigint FROM auth.pv_events
                WHERE user_id = $1 AND action = 'validate' GROUP BY outcome";
    let rows = site.admin().query(sql, &[&user]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A server where nothing else happens, with hashes that take a while.
fn slow_site(memory: &str, settings: &[&str]) -> Site {
    let site = Site::on(server(&[]));
    let slow = [&format!("argon2_memory = '{memory}'"), "argon2_iterations = 20"];
    site.configure(&slow);
    site.configure(settings);
    site
}

/// Waits until a session is hashing, and stops it there: what is done next is done in mid-hash.
fn await_hash(admin: &mut Client, pid: i32) -> Option<Stopped> {
    until("it hashes", || slots(admin).0 > 0);
    Some(Stopped::with_a_slot(pid))
}

/// Waits until a session waits for others.
fn await_waiting(admin: &mut Client, pid: i32) -> Option<Stopped> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'
                  AND wait_event_type = 'Extension' AND query LIKE '%pv_validate_password%'";
    until("it waits", || admin.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) > 0);
    None
}

/// Nothing is held any more: no session is about to do anything, no entry of the queue is taken.
fn await_nothing_held(site: &Site) {
    until("the queue is empty", || statistic(site, "queue_used") == 0);
}

/// What an attacker's statement looks like.
fn guess_sql(user: &str, password: &str) -> String {
    format!("SELECT valid FROM auth.pv_validate_password('{user}'::text, '{password}')")
}

/// Waits for a moment, and may keep a session there. Who looks has logged in before: a hash is soon over.
type When = fn(&mut Client, i32) -> Option<Stopped>;

/// A client program that is killed in the middle of it.
fn psql_killed(site: &Site, sql: &str, when: When) {
    let mut admin = site.admin();
    let mut psql = site.cluster.command("psql");
    psql.args(["-X", "-U", &site.app, "-d", &site.database, "-c", sql]);
    let mut psql = psql.spawn().unwrap();
    let find = "SELECT pid FROM pg_stat_activity WHERE application_name = 'psql' AND usename = $1";
    let look = || admin.query_opt(find, &[&site.app]).unwrap().map(|row| row.get(0));
    let pid = wait_for("psql is there", look);
    let stopped = when(&mut admin, pid);
    psql.kill().unwrap();
    psql.wait().unwrap();
    drop(stopped);
    until("its session ends", || admin.query_opt(find, &[&site.app]).unwrap().is_none());
}

/// A statement of a session that is cancelled or terminated in the middle of it.
fn signalled(site: &Site, sql: &str, function: &str, when: When) {
    let (mut client, mut admin) = (site.login(), site.admin());
    let pid = pid(&mut client);
    thread::scope(|scope| {
        let statement = scope.spawn(move || sqlstate(client.batch_execute(sql)));
        let stopped = when(&mut admin, pid);
        signal(site, function, pid);
        drop(stopped);
        let ended = statement.join().unwrap();
        if function == "pg_cancel_backend" {
            assert_eq!(ended, "57014");
        } else {
            // The client may see the end of the connection before it has read why.
            let closed = "not an error of the server: connection closed";
            assert!(["57P01", closed].contains(&ended.as_str()), "{ended}");
        }
    });
}

#[test]
fn a_hash_that_is_cut_off_stays_charged() {
    // About 0.2 s each.
    let site = slow_site("32MB", &["throttle_free_failures = 2", "throttle_first_wait = 600"]);
    type Attack = fn(&Site, &str);
    let attacks: [(&str, Attack); 4] = [
        ("statement_timeout", |site, sql| {
            let mut client = site.login();
            client.batch_execute("SET statement_timeout = '100 ms'").unwrap();
            assert_eq!(sqlstate(client.batch_execute(sql)), "57014");
        }),
        ("pg_cancel_backend", |site, sql| signalled(site, sql, "pg_cancel_backend", await_hash)),
        ("pg_terminate_backend", |site, sql| {
            signalled(site, sql, "pg_terminate_backend", await_hash);
        }),
        ("disconnected", |site, sql| psql_killed(site, sql, await_hash)),
    ];
    let mut manager = site.login_with(&["manager"]);
    for (name, attack) in attacks {
        site.enroll(name, GOOD);
        // Now and then one is cut off before it has begun.
        let hash_twice = |password: &str| {
            let before = statistic(&site, "hashes");
            let mut tried = 0;
            while statistic(&site, "hashes") < before + 2 {
                assert!(tried < 10, "{name}: two of {tried} should have been hashed");
                attack(&site, &guess_sql(name, password));
                tried += 1;
            }
            await_nothing_held(&site);
            assert_eq!(statistic(&site, "hashes"), before + 2, "{name}");
            report(&format!("cut off in mid-hash by {name}"), tried, 2, 2);
        };
        hash_twice("guess");
        let recorded = events(&site, name);
        assert_eq!(recorded.get(INVALID), Some(&2), "{name}: {recorded:?}");
        let mut app = site.login();
        let (hashed, answer) = hashes(&site, || login(&mut app, name, GOOD, None));
        assert_eq!((answer.as_str(), hashed), (THROTTLED, 0), "{name}");
        assert!(manage(&mut manager, "pv_unlock_user", name));
        assert_eq!(login(&mut app, name, GOOD, None), VALID, "{name}: nothing is in flight");
        await_nothing_held(&site);
        // And what is right is not held against anybody.
        hash_twice(GOOD);
        assert_eq!(events(&site, name).get(VALID), Some(&3), "{name}");
        assert_eq!(guess(&mut app, name, None), INVALID);
        assert_eq!(login(&mut app, name, GOOD, None), VALID, "{name}");
    }
}

/// Nothing was hashed and nothing of anybody was told. (An error that comes from a record tells something:
/// record_errors.rs.)
#[test]
fn an_attempt_that_fails_before_its_hash_is_recorded_and_costs_nothing() {
    let site = site_with(&["throttle_free_failures = 2"]);
    site.enroll("42", GOOD);
    site.configure(&["argon2_iterations = 1"]);
    let mut app = site.login();
    for _ in 0..4 {
        assert_eq!(sqlstate(app.batch_execute(&guess_sql("42", GOOD))), "55000");
    }
    site.configure(&["argon2_iterations = 5"]);
    let mut app = site.login();
    assert_eq!(guess(&mut app, "42", None), INVALID);
    assert_eq!(login(&mut app, "42", GOOD, None), VALID);
    let expected = [("abandoned".to_owned(), 4), (VALID.to_owned(), 1), (INVALID.to_owned(), 1)];
    assert_eq!(events(&site, "42"), expected.into());
}

#[test]
fn waiting_for_others_costs_nothing_when_it_is_cut_off() {
    // About 0.8 s a hash.
    let site = slow_site("128MB", &["throttle_free_failures = 1", "queue_timeout = 30000"]);
    site.enroll("42", GOOD);
    let (hashed, ()) = hashes(&site, || {
        thread::scope(|scope| {
            let (mut first, mut admin) = (site.login(), site.admin());
            let first_pid = pid(&mut first);
            let first = scope.spawn(move || login(&mut first, "42", GOOD, None));
            let stopped = await_hash(&mut admin, first_pid);
            let sql = guess_sql("42", "guess");
            signalled(&site, &sql, "pg_cancel_backend", await_waiting);
            signalled(&site, &sql, "pg_terminate_backend", await_waiting);
            let mut impatient = site.login();
            impatient.batch_execute("SET statement_timeout = '50 ms'").unwrap();
            assert_eq!(sqlstate(impatient.batch_execute(&sql)), "57014");
            assert!(!first.is_finished(), "they were cut off while it was hashed");
            drop(stopped);
            assert_eq!(first.join().unwrap(), VALID);
        });
    });
    assert_eq!(hashed, 1);
    await_nothing_held(&site);
    let expected = [("abandoned".to_owned(), 3), (VALID.to_owned(), 1)];
    assert_eq!(events(&site, "42"), expected.into());
    assert_eq!(login(&mut site.login(), "42", GOOD, None), VALID, "nobody was charged");
}

#[test]
fn what_is_only_in_flight_is_waited_for_and_then_busy() {
    // About 0.8 s a hash.
    let site = slow_site("128MB", &["throttle_free_failures = 1", "queue_timeout = 30000"]);
    site.enroll("42", GOOD);
    let patient = || site.login();
    let impatient = || {
        let mut admin = site.admin();
        admin.batch_execute("SET password_verify.queue_timeout = '200 ms'").unwrap();
        admin
    };
    for (first, others) in [(GOOD, VALID), ("guess", THROTTLED)] {
        let (mut one, mut two, mut three) = (patient(), patient(), impatient());
        let mut admin = site.admin();
        thread::scope(|scope| {
            let pid = pid(&mut one);
            let one = scope.spawn(move || login(&mut one, "42", first, None));
            let stopped = await_hash(&mut admin, pid);
            let two = scope.spawn(move || login(&mut two, "42", GOOD, None));
            let (start, before) = (Instant::now(), statistic(&site, "hashes"));
            let busy = attempt(&mut three, "42", GOOD, None);
            assert!(start.elapsed() >= Duration::from_millis(200), "it waits");
            assert_eq!(busy, Tried { answer: BUSY.into(), retry_after: None });
            assert!(!one.is_finished() && statistic(&site, "hashes") == before, "not for the hash");
            drop(stopped);
            one.join().unwrap();
            assert_eq!(two.join().unwrap(), others);
        });
        await_nothing_held(&site);
    }
    assert_eq!(events(&site, "42").get(BUSY), Some(&2));
}
