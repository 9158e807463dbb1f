//! Attacks on the throttle, with many connections and real kills. What got through is counted as hashes
//! in `pv_stats`, whatever the answers say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{manage, set};
use password_verify_tests::cluster::{PRELOADED, server};
use password_verify_tests::crowd::at_once;
use password_verify_tests::kill::kill_9;
use password_verify_tests::site::CHEAP;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack, sqlstate};
use postgres::{Client, SimpleQueryMessage};

const VALID: &str = "valid";
const WRONG: &str = "invalid_credentials";
const THROTTLED: &str = "throttled";
const LOCKED: &str = "locked";
const BUSY: &str = "busy";

/// The address of the owner, and of somebody else.
const HOME: Option<&str> = Some("10.1.2.3");
const AWAY: Option<&str> = Some("10.5.5.5");

/// A wait ends on its own; the machine may be slow, but it is not for ever.
const SOON: Duration = Duration::from_secs(30);

/// An answer, with `retry_after` in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Tried {
    answer: String,
    retry_after: Option<f64>,
}

/// One attempt to log in.
fn attempt(client: &mut Client, user: &str, password: &str, address: Option<&str>) -> Tried {
    let sql = "SELECT valid, reason, extract(epoch FROM retry_after)::float8
                 FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
    let row = client.query_one(sql, &[&user, &password, &address]).unwrap();
    let (valid, reason): (bool, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(valid, reason.is_none(), "{reason:?}");
    Tried { answer: reason.unwrap_or_else(|| VALID.into()), retry_after: row.get(2) }
}

/// The same, without the wait.
fn login(client: &mut Client, user: &str, password: &str, address: Option<&str>) -> String {
    attempt(client, user, password, address).answer
}

/// A wrong password.
fn guess(client: &mut Client, user: &str, address: Option<&str>) -> String {
    login(client, user, "guess", address)
}

/// A database with these settings.
fn site_with(settings: &[&str]) -> Site {
    let site = Site::new();
    site.configure(settings);
    site
}

/// A number of `pv_stats`, 0 where it is not shown.
fn statistic(site: &Site, name: &str) -> i64 {
    let sql = "SELECT coalesce(sum(value), 0)::bigint FROM auth.pv_stats WHERE statistic = $1";
    site.admin().query_one(sql, &[&name]).unwrap().get(0)
}

/// How many passwords were hashed while something happened.
fn hashes<T>(site: &Site, attack: impl FnOnce() -> T) -> (i64, T) {
    let before = statistic(site, "hashes");
    let result = attack();
    (statistic(site, "hashes") - before, result)
}

/// How many events of a user there are, by outcome.
fn events(site: &Site, user: &str) -> BTreeMap<String, i64> {
    let sql = "SELECT outcome, sum(count)::bigint FROM auth.pv_events
                WHERE user_id = $1 AND action = 'validate' GROUP BY outcome";
    let rows = site.admin().query(sql, &[&user]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How many there are of each.
fn tally<T: Into<String>>(answers: impl IntoIterator<Item = T>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    answers.into_iter().for_each(|answer| *tally.entry(answer.into()).or_default() += 1);
    tally
}

fn counts<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.into_iter().map(|(answer, count)| (answer.to_owned(), count)).collect()
}

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sleeps until a wait is over.
fn wait_out(refusal: &Tried) {
    assert_eq!(refusal.answer, THROTTLED);
    thread::sleep(Duration::from_secs_f64(refusal.retry_after.unwrap() + 0.02));
}

/// More hashes than the budget allows have got through.
fn report(what: &str, tried: usize, hashed: i64, allowed: i64) {
    attack(&format!("{what}: {allowed} hashes allowed"), tried, (hashed - allowed).max(0) as usize);
}

#[test]
fn sixty_four_connections_get_as_many_guesses_as_one() {
    let site = Site::new();
    site.enroll("known", GOOD);
    for user in ["known", "unknown"] {
        let attack = |i: usize, client: &mut Client| -> Vec<Tried> {
            (0..3).map(|j| attempt(client, user, &format!("guess {i} {j}"), None)).collect()
        };
        let (hashed, tried) = hashes(&site, || at_once(64, |_| site.login(), attack).concat());
        report("64 connections guess at one account", tried.len(), hashed, 5);
        assert_eq!(hashed, 5, "{user}");
        for tried in &tried {
            match tried.retry_after {
                None => assert_eq!(tried.answer, WRONG),
                Some(wait) => {
                    assert_eq!(tried.answer, THROTTLED);
                    assert!(0.0 < wait && wait <= 30.0, "{wait}");
                }
            }
        }
        let answers = tally(tried.into_iter().map(|tried| tried.answer));
        assert_eq!(answers, counts([(WRONG, 5), (THROTTLED, 187)]), "{user}");
        assert_eq!(login(&mut site.login(), user, GOOD, None), THROTTLED);
        assert_eq!(statistic(&site, "validate_abandoned"), 0);
    }
    assert_eq!(statistic(&site, "validate_invalid_credentials"), 10);
    assert_eq!(statistic(&site, "validate_throttled"), 2 * 187 + 2);
}

#[test]
fn whatever_transaction_is_around_it_a_guess_stays_charged() {
    type Attack = fn(&mut Client, &str);
    fn sql(client: &mut Client, sql: &str, user: &str) {
        // Some of them end in an error, as they should.
        let _ = client.batch_execute(&sql.replace("USER", user));
    }
    const GUESS: &str = "SELECT valid FROM auth.pv_validate_password('USER'::text, 'guess')";
    /// Guesses in the transaction that the connection has begun.
    fn here(client: &mut Client, user: &str) {
        (0..5).for_each(|_| sql(client, GUESS, user));
        client.batch_execute("ROLLBACK").unwrap();
    }
    let attacks: [(&str, &str, Attack); 14] = [
        ("rolled back", "", |client, user| {
            (0..5).for_each(|_| sql(client, &format!("BEGIN; {GUESS}; ROLLBACK"), user));
        }),
        ("savepoints", "BEGIN", |client, user| {
            let guess = format!("SAVEPOINT s; {GUESS}; ROLLBACK TO s");
            (0..5).for_each(|_| sql(client, &guess, user));
            client.batch_execute("ROLLBACK").unwrap();
        }),
        ("exceptions", "", |client, user| {
            let block = "DO $$ BEGIN FOR i IN 1 .. 20 LOOP BEGIN
                             PERFORM auth.pv_validate_password('USER'::text, 'guess' || i);
                             RAISE 'undo';
                         EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$";
            sql(client, block, user);
        }),
        ("a row each", "", |client, user| {
            let all = "SELECT valid FROM generate_series(1, 50) i, LATERAL
                           auth.pv_validate_password('USER'::text, 'guess' || i)";
            sql(client, all, user);
        }),
        ("a cursor", "", |client, user| {
            let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT valid FROM generate_series(1, 50) i,
                              LATERAL auth.pv_validate_password('USER'::text, 'guess' || i);
                          FETCH 20 FROM c; CLOSE c; ROLLBACK";
            sql(client, cursor, user);
        }),
        ("errors", "", |client, user| {
            let guess = "SELECT CASE WHEN valid THEN 1 ELSE 1 / length(left(reason, 0)) END
                           FROM auth.pv_validate_password('USER'::text, 'guess')";
            (0..5).for_each(|_| sql(client, guess, user));
        }),
        ("an error afterwards", "", |client, user| {
            sql(client, &format!("{GUESS}; {GUESS}; {GUESS}; SELECT 1 / 0"), user);
        }),
        ("read committed", "BEGIN; SELECT FROM pg_class", here),
        ("an old snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class", here),
        ("serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM pg_class", here),
        ("read only", "BEGIN READ ONLY", here),
        (
            "read only, old",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM pg_class",
            here,
        ),
        (
            "deferrable",
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT FROM pg_class",
            here,
        ),
        ("changes", "", |client, user| {
            let both = format!(
                "BEGIN; {GUESS};
                 SELECT success FROM auth.pv_change_password('USER'::text, 'guess', '{OTHER}'); ROLLBACK"
            );
            (0..4).for_each(|_| sql(client, &both, user));
        }),
    ];
    let site = Site::new();
    for (number, (name, begin, attack)) in attacks.into_iter().enumerate() {
        let user = format!("user{number}");
        site.enroll(&user, GOOD);
        let connect = |_| {
            let mut client = site.login();
            client.batch_execute(begin).unwrap();
            client
        };
        let before = statistic(&site, "validate_throttled") + statistic(&site, "prove_throttled");
        let (hashed, _) = hashes(&site, || at_once(8, connect, |_, client| attack(client, &user)));
        let refused = statistic(&site, "validate_throttled") + statistic(&site, "prove_throttled");
        report(name, (hashed + refused - before) as usize, hashed, 5);
        assert_eq!(hashed, 5, "{name}");
        assert!(refused - before > 5, "{name}: it was tried more often");
        assert_eq!(login(&mut site.login(), &user, GOOD, None), THROTTLED, "{name}");
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

/// The process that serves a connection.
fn pid(client: &mut Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

/// Waits until a session is hashing: it has an entry of the queue and waits for nothing.
fn await_hash(site: &Site, pid: i32) {
    let mut admin = site.admin();
    let sql = "SELECT count(*) FROM pg_stat_activity a, auth.pv_stats s
                WHERE a.pid = $1 AND a.state = 'active' AND a.wait_event IS NULL
                  AND a.query LIKE '%pv_validate_password%'
                  AND s.statistic = 'queue_used' AND s.value > 0";
    until("it hashes", || admin.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) > 0);
    thread::sleep(Duration::from_millis(40));
}

/// Waits until a session waits for others.
fn await_waiting(site: &Site, pid: i32) {
    let mut admin = site.admin();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'
                  AND wait_event_type = 'Extension' AND query LIKE '%pv_validate_password%'";
    until("it waits", || admin.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) > 0);
}

/// Nothing is held any more: no session is about to do anything, no entry of the queue is taken.
fn await_nothing_held(site: &Site) {
    until("the queue is empty", || statistic(site, "queue_used") == 0);
}

fn signal(site: &Site, function: &str, pid: i32) {
    let sql = format!("SELECT {function}($1)");
    assert!(site.admin().query_one(&sql, &[&pid]).unwrap().get::<_, bool>(0));
}

/// What an attacker's statement looks like.
fn guess_sql(user: &str, password: &str) -> String {
    format!("SELECT valid FROM auth.pv_validate_password('{user}'::text, '{password}')")
}

/// A client program that is killed in the middle of it.
fn psql_killed(site: &Site, sql: &str, when: fn(&Site, i32)) {
    let mut psql = site.cluster.command("psql");
    psql.args(["-X", "-U", &site.app, "-d", &site.database, "-c", sql]);
    let mut psql = psql.spawn().unwrap();
    let mut admin = site.admin();
    let find = "SELECT pid FROM pg_stat_activity WHERE application_name = 'psql' AND usename = $1";
    let mut found = None;
    until("psql is there", || {
        found = admin.query_opt(find, &[&site.app]).unwrap().map(|row| row.get(0));
        found.is_some()
    });
    when(site, found.unwrap());
    psql.kill().unwrap();
    psql.wait().unwrap();
    until("its session ends", || admin.query_opt(find, &[&site.app]).unwrap().is_none());
}

/// A statement of a session that is cancelled or terminated in the middle of it.
fn signalled(site: &Site, sql: &str, function: &str, when: fn(&Site, i32)) {
    let mut client = site.login();
    let pid = pid(&mut client);
    thread::scope(|scope| {
        let statement = scope.spawn(move || sqlstate(client.batch_execute(sql)));
        when(site, pid);
        signal(site, function, pid);
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
        assert_eq!(recorded.get(WRONG), Some(&2), "{name}: {recorded:?}");
        let mut app = site.login();
        let (hashed, answer) = hashes(&site, || login(&mut app, name, GOOD, None));
        assert_eq!((answer.as_str(), hashed), (THROTTLED, 0), "{name}");
        assert!(manage(&mut manager, "pv_unlock_user", name));
        assert_eq!(login(&mut app, name, GOOD, None), VALID, "{name}: nothing is in flight");
        await_nothing_held(&site);
        // And what is right is not held against anybody.
        hash_twice(GOOD);
        assert_eq!(events(&site, name).get(VALID), Some(&3), "{name}");
        assert_eq!(guess(&mut app, name, None), WRONG);
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
    assert_eq!(guess(&mut app, "42", None), WRONG);
    assert_eq!(login(&mut app, "42", GOOD, None), VALID);
    let expected = [("abandoned".to_owned(), 4), (VALID.to_owned(), 1), (WRONG.to_owned(), 1)];
    assert_eq!(events(&site, "42"), expected.into());
}

#[test]
fn waiting_for_others_costs_nothing_when_it_is_cut_off() {
    // About 0.8 s a hash.
    let site = slow_site("128MB", &["throttle_free_failures = 1", "queue_timeout = 30000"]);
    site.enroll("42", GOOD);
    let (hashed, ()) = hashes(&site, || {
        thread::scope(|scope| {
            let mut first = site.login();
            let first_pid = pid(&mut first);
            let first = scope.spawn(move || login(&mut first, "42", GOOD, None));
            await_hash(&site, first_pid);
            let sql = guess_sql("42", "guess");
            signalled(&site, &sql, "pg_cancel_backend", await_waiting);
            signalled(&site, &sql, "pg_terminate_backend", await_waiting);
            let mut impatient = site.login();
            impatient.batch_execute("SET statement_timeout = '50 ms'").unwrap();
            assert_eq!(sqlstate(impatient.batch_execute(&sql)), "57014");
            assert!(!first.is_finished(), "they were cut off while it was hashed");
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
        thread::scope(|scope| {
            let pid = pid(&mut one);
            let one = scope.spawn(move || login(&mut one, "42", first, None));
            await_hash(&site, pid);
            let two = scope.spawn(move || login(&mut two, "42", GOOD, None));
            let (start, before) = (Instant::now(), statistic(&site, "hashes"));
            let busy = attempt(&mut three, "42", GOOD, None);
            assert!(start.elapsed() >= Duration::from_millis(200), "it waits");
            assert_eq!(busy, Tried { answer: BUSY.into(), retry_after: None });
            assert!(!one.is_finished() && statistic(&site, "hashes") == before, "not for the hash");
            one.join().unwrap();
            assert_eq!(two.join().unwrap(), others);
        });
        await_nothing_held(&site);
    }
    assert_eq!(events(&site, "42").get(BUSY), Some(&2));
}

#[test]
fn right_logins_of_one_account_at_once_all_succeed() {
    let site = Site::new();
    site.enroll("42", GOOD);
    for count in [6, 60] {
        let (hashed, answers) = hashes(&site, || {
            at_once(count, |_| site.login(), |_, client| login(client, "42", GOOD, None))
        });
        assert_eq!(tally(answers), counts([(VALID, count)]));
        assert_eq!(hashed, count as i64);
    }
    // From one address, and with wrong ones among them.
    for address in [None, HOME] {
        let answers = at_once(
            64,
            |_| site.login(),
            |i, client| {
                let password = if i % 16 == 0 { "guess" } else { GOOD };
                login(client, "42", password, address)
            },
        );
        assert_eq!(tally(answers), counts([(VALID, 60), (WRONG, 4)]), "{address:?}");
        assert_eq!(login(&mut site.login(), "42", GOOD, None), VALID);
    }
}

#[test]
fn after_a_wait_right_logins_at_once_all_succeed_too() {
    let site = site_with(&["throttle_free_failures = 2", "throttle_first_wait = 1"]);
    site.enroll("42", GOOD);
    let mut app = site.login();
    (0..2).for_each(|_| assert_eq!(guess(&mut app, "42", None), WRONG));
    wait_out(&attempt(&mut app, "42", GOOD, None));
    let answers = at_once(6, |_| site.login(), |_, client| login(client, "42", GOOD, None));
    assert_eq!(tally(answers), counts([(VALID, 6)]));
}

#[test]
fn a_login_of_ones_own_gives_no_guesses_back() {
    let settings = ["throttle_client_failures = 6", "throttle_client_refill = 1"];
    for alternating in [false, true] {
        // The attacker's address is the budget; the accounts are many.
        let site = site_with(&settings);
        site.enroll("attacker", GOOD);
        let mut app = site.login();
        let mut wrong = 0;
        for i in 0..12 {
            wrong += usize::from(guess(&mut app, &format!("victim{i}"), AWAY) == WRONG);
            if alternating {
                let own = login(&mut app, "attacker", GOOD, AWAY);
                assert_eq!(own == VALID, wrong < 6, "{i}");
            }
        }
        report(
            "wrong guesses alternating with a login of one's own, client address",
            12,
            wrong as i64,
            6,
        );
        assert_eq!(wrong, 6, "{alternating}");
        let refused = attempt(&mut app, "attacker", GOOD, AWAY);
        assert_eq!(refused.answer, THROTTLED);
        let wait = refused.retry_after.unwrap();
        assert!(0.0 < wait && wait <= 60.0, "{wait}");
        assert_eq!(login(&mut app, "attacker", GOOD, HOME), VALID, "another address");
    }
    // All of it at once.
    let site = site_with(&settings);
    site.enroll("attacker", GOOD);
    let answers = at_once(
        32,
        |_| site.login(),
        |i, client| {
            let answers: Vec<String> = (0..4)
                .map(|j| {
                    login(client, "attacker", GOOD, AWAY);
                    guess(client, &format!("victim{i}.{j}"), AWAY)
                })
                .collect();
            answers
        },
    );
    let answers = tally(answers.concat());
    report("the same with 32 connections", 128, answers[WRONG] as i64, 6);
    assert_eq!(answers, counts([(WRONG, 6), (THROTTLED, 122)]));
    assert_eq!(statistic(&site, "validate_invalid_credentials"), 6);
    // Nor do they give anything back to the victim's account.
    let site = Site::new();
    site.enroll("attacker", GOOD);
    site.enroll("victim", GOOD);
    let answers = at_once(
        16,
        |_| site.login(),
        |_, client| {
            (0..4)
                .map(|_| {
                    assert_eq!(login(client, "attacker", GOOD, None), VALID);
                    guess(client, "victim", None)
                })
                .collect::<Vec<_>>()
        },
    );
    let answers = tally(answers.concat());
    report(
        "wrong guesses alternating with a login of one's own, account",
        64,
        answers[WRONG] as i64,
        5,
    );
    assert_eq!(answers, counts([(WRONG, 5), (THROTTLED, 59)]));
    assert_eq!(login(&mut site.login(), "victim", GOOD, None), THROTTLED);
}

#[test]
fn waits_double_and_pass_and_end_in_a_lock() {
    let site = site_with(&[
        "throttle_free_failures = 2",
        "throttle_first_wait = 1",
        "throttle_max_wait = 3",
        "throttle_lock_after = 5",
    ]);
    site.enroll("known", GOOD);
    let mut app = site.login();
    // The clocks of both run at the same time.
    let users = ["known", "unknown"];
    let mut start = Instant::now();
    for user in users {
        assert_eq!(guess(&mut app, user, None), WRONG);
        assert_eq!(guess(&mut app, user, None), WRONG);
    }
    for wait in [1.0, 2.0, 3.0] {
        for user in users {
            let refused = attempt(&mut app, user, GOOD, None);
            let (elapsed, left) = (start.elapsed().as_secs_f64(), refused.retry_after.unwrap());
            assert_eq!(refused.answer, THROTTLED);
            assert!(left <= wait && left >= wait - elapsed, "{user}: {left} of {wait}");
        }
        wait_out(&attempt(&mut app, "unknown", GOOD, None));
        start = Instant::now();
        for user in users {
            let attack = || at_once(8, |_| site.login(), |_, client| guess(client, user, None));
            let (hashed, answers) = hashes(&site, attack);
            assert_eq!(hashed, 1, "{user}: one attempt after each wait");
            let refused = if wait < 3.0 { THROTTLED } else { LOCKED };
            assert_eq!(tally(answers), counts([(WRONG, 1), (refused, 7)]), "{user} {wait}");
        }
    }
    for user in users {
        let (hashed, locked) = hashes(&site, || attempt(&mut app, user, GOOD, None));
        assert_eq!(locked, Tried { answer: LOCKED.into(), retry_after: None }, "{user}");
        assert_eq!(hashed, 0);
    }
}

/// Locked after two.
const LOCK_SOON: [&str; 2] = ["throttle_free_failures = 2", "throttle_lock_after = 2"];

fn lock(client: &mut Client, user: &str) {
    (0..2).for_each(|_| assert_eq!(guess(client, user, None), WRONG, "{user}"));
    assert_eq!(guess(client, user, None), LOCKED, "{user}");
}

#[test]
fn a_lock_ends_when_the_transaction_that_ends_it_commits() {
    let site = site_with(&LOCK_SOON);
    let mut admin = site.login_with(&["manager", "registrar", "verifier"]);
    let mut app = site.login();
    let enders = [
        ("unlock", "SELECT auth.pv_unlock_user('USER'::text)".to_owned()),
        ("set", format!("SELECT auth.pv_set_password('USER'::text, '{GOOD}')")),
    ];
    let undone = [
        "BEGIN; END_IT; ROLLBACK",
        "BEGIN; SAVEPOINT s; END_IT; ROLLBACK TO s; COMMIT",
        "BEGIN; SAVEPOINT s; SAVEPOINT t; END_IT; RELEASE t; ROLLBACK TO s; COMMIT",
        "BEGIN; SAVEPOINT s; END_IT; RELEASE s; ROLLBACK",
        "BEGIN; SELECT 1; SAVEPOINT s; END_IT; END_IT; ROLLBACK TO s; SELECT 1; COMMIT",
    ];
    let done = [
        "END_IT",
        "BEGIN; END_IT; COMMIT",
        "BEGIN; SAVEPOINT s; END_IT; RELEASE s; COMMIT",
        "BEGIN; SAVEPOINT s; END_IT; ROLLBACK TO s; END_IT; COMMIT",
        "BEGIN; END_IT; SAVEPOINT s; END_IT; ROLLBACK TO s; COMMIT",
        "DO $$ BEGIN PERFORM 1; BEGIN RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END; END $$; END_IT",
    ];
    for (name, ender) in enders {
        let ender = ender.replace("USER", name);
        site.enroll(name, GOOD);
        lock(&mut app, name);
        for transaction in undone {
            admin.batch_execute(&transaction.replace("END_IT", &ender)).unwrap();
            assert_eq!(login(&mut app, name, GOOD, None), LOCKED, "{name}: {transaction}");
        }
        for transaction in done {
            admin.batch_execute(&transaction.replace("END_IT", &ender)).unwrap();
            assert_eq!(login(&mut app, name, GOOD, None), VALID, "{name}: {transaction}");
            lock(&mut app, name);
        }
        // While it is open it is open, for that session too.
        let mut open = admin.transaction().unwrap();
        open.batch_execute(&ender).unwrap();
        let sql = format!("SELECT reason FROM auth.pv_validate_password('{name}'::text, '{GOOD}')");
        assert_eq!(open.query_one(&sql, &[]).unwrap().get::<_, &str>(0), LOCKED);
        assert_eq!(login(&mut app, name, GOOD, None), LOCKED);
        open.commit().unwrap();
        assert_eq!(login(&mut app, name, GOOD, None), VALID);
        assert_eq!(login(&mut admin, name, GOOD, None), VALID);
    }
}

#[test]
fn there_is_nothing_to_unlock_where_nobody_has_failed() {
    let site = site_with(&LOCK_SOON);
    site.enroll("known", GOOD);
    let mut manager = site.login_with(&["manager"]);
    let mut app = site.login();
    for user in ["known", "unknown"] {
        assert!(!manage(&mut manager, "pv_unlock_user", user));
        lock(&mut app, user);
        assert!(manage(&mut manager, "pv_unlock_user", user));
        assert!(!manage(&mut manager, "pv_unlock_user", user));
        // One failure is something too.
        assert_eq!(guess(&mut app, user, None), WRONG);
        assert!(manage(&mut manager, "pv_unlock_user", user));
        lock(&mut app, user);
    }
    assert!(manage(&mut manager, "pv_unlock_user", "known"));
    assert_eq!(login(&mut app, "known", GOOD, None), VALID);
    assert!(!manage(&mut manager, "pv_unlock_user", "known"));
}

#[test]
fn a_transaction_unlocks_as_many_as_it_likes() {
    let site = site_with(&LOCK_SOON);
    (0..6).for_each(|i| site.enroll(&format!("user{i}"), GOOD));
    let mut app = site.login();
    let mut manager = site.login_with(&["manager", "verifier"]);
    // The last one first, in the same message: there is no time between COMMIT and the next statement.
    let message = format!(
        "BEGIN; SELECT auth.pv_unlock_user('user' || i) FROM generate_series(0, 5) i; COMMIT;
         SELECT coalesce(reason, 'valid') FROM generate_series(0, 5) i,
             LATERAL auth.pv_validate_password('user' || (5 - i), '{GOOD}')"
    );
    for round in 0..12 {
        (0..6).for_each(|i| lock(&mut app, &format!("user{i}")));
        let messages = manager.simple_query(&message).unwrap().into_iter();
        let answers = messages.filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert_eq!(tally(answers), counts([("t", 6), (VALID, 6)]), "round {round}");
        // Whoever is still locked would not be any more.
        (0..6).for_each(|i| assert_eq!(login(&mut app, &format!("user{i}"), GOOD, None), VALID));
    }
}

#[test]
fn spellings_of_one_user_are_one_account() {
    let site = site_with(&["throttle_free_failures = 4"]);
    let mut app = site.login();
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let spellings: [&[&str]; 2] = [
        &["42::bigint", "'42'::text"],
        &[
            &format!("'{uuid}'::uuid"),
            &format!("'{uuid}'::text"),
            &format!("'{}'::text", uuid.to_uppercase()),
            &format!("'{{{}}}'::text", uuid.replace('-', "")),
        ],
    ];
    for user in spellings {
        let (hashed, answers) = hashes(&site, || {
            let spelled = user.iter().cycle().take(12).map(|id| {
                let sql = format!("SELECT reason FROM auth.pv_validate_password({id}, 'guess')");
                app.query_one(&sql, &[]).unwrap().get::<_, String>(0)
            });
            spelled.collect::<Vec<_>>()
        });
        assert_eq!(hashed, 4);
        assert_eq!(tally(answers), counts([(WRONG, 4), (THROTTLED, 8)]));
    }
}

#[test]
fn strangers_do_not_keep_the_owner_out() {
    for lock_after in [100, 3] {
        let lock_after = format!("throttle_lock_after = {lock_after}");
        let site =
            site_with(&["throttle_free_failures = 3", "throttle_first_wait = 600", &lock_after]);
        site.enroll("owner", GOOD);
        site.enroll("homeless", GOOD);
        let mut app = site.login();
        assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
        assert_eq!(login(&mut app, "homeless", GOOD, None), VALID);
        for address in [None, Some("10.9.9.1"), Some("2001:db8::1")] {
            assert_eq!(guess(&mut app, "owner", address), WRONG);
            assert_eq!(guess(&mut app, "homeless", address), WRONG);
        }
        let refused = if lock_after.ends_with("= 3") { LOCKED } else { THROTTLED };
        for _ in 0..8 {
            assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
        }
        // Six at once.
        let answers = at_once(6, |_| site.login(), |_, client| login(client, "owner", GOOD, HOME));
        assert_eq!(tally(answers), counts([(VALID, 6)]));
        for address in [None, AWAY] {
            assert_eq!(login(&mut app, "owner", GOOD, address), refused, "{address:?}");
            assert_eq!(login(&mut app, "homeless", GOOD, address), refused, "never known");
        }
        // Known to this account only.
        assert_eq!(login(&mut app, "homeless", GOOD, HOME), refused);
        // Two slips are forgiven by a right one, each time.
        for _ in 0..3 {
            (0..2).for_each(|_| assert_eq!(guess(&mut app, "owner", HOME), refused));
            assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
        }
        // A third is not.
        (0..3).for_each(|_| assert_eq!(guess(&mut app, "owner", HOME), refused));
        let (hashed, answer) = hashes(&site, || login(&mut app, "owner", GOOD, HOME));
        assert_eq!((answer.as_str(), hashed), (refused, 0));
    }
}

#[test]
fn nobody_is_known_where_that_is_off() {
    let site = site_with(&["throttle_free_failures = 2", "known_client_for = 0"]);
    site.enroll("42", GOOD);
    let mut app = site.login();
    assert_eq!(login(&mut app, "42", GOOD, HOME), VALID);
    (0..2).for_each(|_| assert_eq!(guess(&mut app, "42", None), WRONG));
    assert_eq!(login(&mut app, "42", GOOD, HOME), THROTTLED);
}

/// What an application that lies about addresses sees of one account: the answers, whether each has a
/// `retry_after`, and after which of them a hash was counted.
fn lie(site: &Site, user: &str, address: &str, password: &str) -> Vec<(String, bool, i64)> {
    let mut app = site.login();
    (0..8)
        .map(|_| {
            let (hashed, tried) = hashes(site, || attempt(&mut app, user, password, Some(address)));
            (tried.answer, tried.retry_after.is_some(), hashed)
        })
        .collect()
}

#[test]
fn lying_about_the_address_tells_nothing_and_gains_little() {
    for lock_after in ["throttle_lock_after = 100", "throttle_lock_after = 3"] {
        let site =
            site_with(&["throttle_free_failures = 3", "throttle_first_wait = 600", lock_after]);
        let mut app = site.login();
        let users = ["known here", "known elsewhere", "never logged in", "unknown"];
        for user in users {
            if user != "unknown" {
                site.enroll(user, GOOD);
            }
        }
        assert_eq!(login(&mut app, "known here", GOOD, HOME), VALID);
        assert_eq!(login(&mut app, "known elsewhere", GOOD, Some("10.1.2.4")), VALID);
        let seen = users.map(|user| {
            // The account has nothing left.
            (0..3).for_each(|_| assert_eq!(guess(&mut app, user, None), WRONG));
            let (hashed, refused) = hashes(&site, || guess(&mut app, user, None));
            assert_eq!(hashed, 0);
            let seen = lie(&site, user, "10.1.2.3", "guess");
            assert!(seen.iter().all(|(answer, ..)| *answer == refused), "{user}: {seen:?}");
            let hashed: Vec<i64> = seen.iter().map(|(.., hashed)| *hashed).collect();
            report("lying about the address during a wait", 8, hashed.iter().sum(), 3);
            assert_eq!(hashed, [1, 1, 1, 0, 0, 0, 0, 0], "{user}");
            seen
        });
        assert!(seen.iter().all(|of| *of == seen[0]), "{seen:?}");
        // From an address that is not known a right password looks like a wrong one too.
        assert_eq!(lie(&site, "never logged in", "10.7.7.7", GOOD), seen[0]);
        // With many connections and many spellings of the address.
        let (hashed, answers) = hashes(&site, || {
            at_once(
                32,
                |_| site.login(),
                |i, client| guess(client, "known elsewhere", Some(&format!("10.1.2.4/{i}"))),
            )
        });
        assert_eq!((hashed, tally(answers)), (3, counts([(&seen[0][0].0, 32)])));
    }
}

#[test]
fn one_client_has_one_budget_however_it_is_spelled() {
    let masks = |address: &str, bits: u32| -> Vec<String> {
        (0..=bits).map(|bits| format!("{address}/{bits}")).collect()
    };
    let mut v4 = masks("10.1.2.3", 32);
    v4.extend(["10.1.2.3".into(), "::ffff:10.1.2.3".into(), "::ffff:10.1.2.3/96".into()]);
    let site = site_with(&["throttle_client_failures = 8", "throttle_client_refill = 1"]);
    let mut app = site.login();
    let v6 =
        |i: usize| format!("2001:db8:1:2:{:x}:{:x}::{i:x}/{}", i * 7919 % 65521, i, i * 3 % 129);
    let v6: Vec<String> = (0..40).map(v6).collect();
    let others = ["10.1.2.4", "::10.1.2.3", "2001:db8:1:3::1", "2001:db8:1:1:ffff::"];
    for (name, spellings) in [("v4", v4), ("v6", v6)] {
        let (hashed, answers) = hashes(&site, || {
            let guesses = spellings.iter().enumerate();
            let guesses = guesses
                .map(|(i, address)| guess(&mut app, &format!("{name} user{i}"), Some(address)));
            guesses.collect::<Vec<_>>()
        });
        report(&format!("spellings of one {name} address"), spellings.len(), hashed, 8);
        assert_eq!(tally(answers), counts([(WRONG, 8), (THROTTLED, spellings.len() - 8)]));
        assert_eq!(hashed, 8);
        for address in others {
            assert_eq!(guess(&mut app, &format!("{name} {address}"), Some(address)), WRONG);
        }
        assert_eq!(guess(&mut app, "somebody", None), WRONG, "no address is none");
    }
}

#[test]
fn a_known_client_is_known_however_it_is_spelled() {
    let site = site_with(&["throttle_free_failures = 1"]);
    let mut app = site.login();
    for (user, from, here, elsewhere) in [
        ("v4", "10.1.2.3", ["10.1.2.3/24", "::ffff:10.1.2.3", "10.1.2.3/32"], "10.1.2.4/24"),
        (
            "mapped",
            "::ffff:10.1.2.3/100",
            ["10.1.2.3/0", "::ffff:a01:203", "10.1.2.3"],
            "::10.1.2.3",
        ),
        (
            "v6",
            "2001:db8::1",
            ["2001:db8::2", "2001:db8::/32", "2001:db8::ffff:0:0:0"],
            "2001:db8:0:1::1",
        ),
    ] {
        site.enroll(user, GOOD);
        assert_eq!(login(&mut app, user, GOOD, Some(from)), VALID);
        assert_eq!(guess(&mut app, user, None), WRONG);
        for address in here {
            assert_eq!(login(&mut app, user, GOOD, Some(address)), VALID, "{address}");
        }
        assert_eq!(login(&mut app, user, GOOD, Some(elsewhere)), THROTTLED, "{elsewhere}");
    }
}

/// Hashes of one login: four, and one more in a minute.
const FOUR_HASHES: [&str; 2] = ["throttle_caller_hashes = 4", "throttle_caller_refill = 1"];

#[test]
fn a_caller_is_charged_for_right_and_wrong_alike() {
    let site = site_with(&FOUR_HASHES);
    site.enroll("42", GOOD);
    site.enroll("owner", GOOD);
    let mut other = site.login_with(&["verifier"]);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    assert_eq!(login(&mut app, "42", GOOD, None), VALID);
    assert_eq!(guess(&mut app, "42", None), WRONG);
    assert_eq!(guess(&mut app, "unknown", None), WRONG);
    let refused = |client: &mut Client| {
        let (hashed, refused) = hashes(&site, || attempt(client, "42", GOOD, None));
        assert_eq!((refused.answer.as_str(), hashed), (THROTTLED, 0));
        let wait = refused.retry_after.unwrap();
        assert!(0.0 < wait && wait <= 60.0, "{wait}");
    };
    refused(&mut app);
    refused(&mut site.login());
    // Another role to act as is not another login.
    let mut admin = site.admin();
    let acting = format!("{}_acting", site.app);
    admin
        .batch_execute(&format!(
            "CREATE ROLE {acting}; GRANT {acting} TO {}; GRANT USAGE, CREATE ON SCHEMA auth TO {acting};
             SELECT auth.pv_grant('{acting}', 'verifier');
             CREATE FUNCTION public.as_another() RETURNS text LANGUAGE sql SECURITY DEFINER
                 AS $$ SELECT reason FROM auth.pv_validate_password('42'::text, '{GOOD}') $$;
             ALTER FUNCTION public.as_another() OWNER TO {acting};",
            site.app
        ))
        .unwrap();
    app.batch_execute(&format!("SET ROLE {acting}")).unwrap();
    refused(&mut app);
    let row = app.query_one("SELECT public.as_another()", &[]).unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), Some(THROTTLED));
    app.batch_execute("RESET ROLE; SET LOCAL ROLE NONE").unwrap();
    refused(&mut app);
    // What was refused is not held against the account.
    (0..3).for_each(|_| assert_eq!(login(&mut other, "42", GOOD, None), VALID));
    for _ in 0..4 {
        assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID, "a known client passes");
    }
    assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
    assert_eq!(login(&mut app, "42", GOOD, HOME), THROTTLED);
}

#[test]
fn strangers_at_a_caller_do_not_keep_known_clients_out() {
    // A botnet behind an honest application: many addresses, none of them known.
    let site = site_with(&FOUR_HASHES);
    site.enroll("owner", GOOD);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    let (hashed, answers) = hashes(&site, || {
        let bots =
            (0..40).map(|i| guess(&mut app, &format!("user{i}"), Some(&format!("10.8.0.{i}"))));
        bots.collect::<Vec<_>>()
    });
    // What is hashed of them is thrown away: nobody learns from it which address is known.
    println!("40 bots behind one application: {hashed} hashed");
    assert_eq!(tally(answers).get(THROTTLED), Some(&37));
    for _ in 0..6 {
        assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    }
}

#[test]
fn many_connections_of_a_caller_are_one_caller() {
    let site = site_with(&["throttle_caller_hashes = 10", "throttle_caller_refill = 1"]);
    site.enroll("42", GOOD);
    let (hashed, answers) = hashes(&site, || {
        at_once(
            24,
            |_| site.login(),
            |i, client| {
                (0..3)
                    .map(|j| login(client, if j == 0 { "42" } else { "43" }, GOOD, None))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .chain([guess(client, &format!("unknown{i}"), None)])
                    .collect::<Vec<_>>()
            },
        )
    });
    report("24 connections of one login role", 96, hashed, 10);
    assert_eq!(hashed, 10);
    let answers = tally(answers.concat());
    assert_eq!(answers.get(THROTTLED), Some(&86), "{answers:?}");
}

#[test]
fn a_right_password_that_the_caller_cannot_pay_is_not_held_against_the_account() {
    // The owner is at a new address while somebody else has used up the application's hashes.
    let site = site_with(&[&FOUR_HASHES[..], &["throttle_free_failures = 2"]].concat());
    site.enroll("owner", GOOD);
    let (mut app, mut other) = (site.login(), site.login_with(&["verifier"]));
    (0..4).for_each(|i| assert_eq!(guess(&mut app, &format!("unknown{i}"), None), WRONG));
    for _ in 0..4 {
        assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
    }
    assert_eq!(login(&mut other, "owner", GOOD, None), VALID);
}

/// The sites of one server with everything that can be punished, and the logins that were.
struct Punished {
    site: Site,
    locking: Site,
    spent: String,
}

impl Punished {
    fn new() -> Self {
        let cluster = server(&[]);
        let site = Site::on(Arc::clone(&cluster));
        site.configure(&[
            "throttle_free_failures = 2",
            "throttle_first_wait = 3600",
            "throttle_client_failures = 3",
            "throttle_client_refill = 1",
            "throttle_caller_hashes = 16",
            "throttle_caller_refill = 1",
        ]);
        let locking = Site::on(cluster);
        locking.configure(&LOCK_SOON);
        for site in [&site, &locking] {
            site.enroll("victim", GOOD);
            site.enroll("other", GOOD);
        }
        let mut app = site.login();
        assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID);
        (0..2).for_each(|_| assert_eq!(guess(&mut app, "victim", None), WRONG));
        (0..2).for_each(|_| assert_eq!(guess(&mut app, "unknown", None), WRONG));
        (0..3).for_each(|i| assert_eq!(guess(&mut app, &format!("u{i}"), AWAY), WRONG));
        let mut spender = site.login_with(&["verifier"]);
        let spent = spender.query_one("SELECT session_user::text", &[]).unwrap().get(0);
        (0..16).for_each(|i| assert_eq!(guess(&mut spender, &format!("v{i}"), None), WRONG));
        let mut app = locking.login();
        for user in ["victim", "unknown"] {
            lock(&mut app, user);
        }
        Self { site, locking, spent }
    }

    fn is_still_punished(&self, after: &str) {
        let site = &self.site;
        let mut app = site.login();
        let (hashed, ()) = hashes(site, || {
            for user in ["victim", "unknown"] {
                let refused = attempt(&mut app, user, GOOD, None);
                assert_eq!(refused.answer, THROTTLED, "{user} after {after}");
                let wait = refused.retry_after.unwrap();
                assert!(3000.0 < wait && wait <= 3600.0, "{wait} after {after}");
            }
            assert_eq!(login(&mut app, "other", GOOD, AWAY), THROTTLED, "client after {after}");
            let mut spent = site.cluster.connect(&self.spent, &site.database);
            assert_eq!(login(&mut spent, "other", GOOD, None), THROTTLED, "caller after {after}");
        });
        assert_eq!(hashed, 0, "after {after}");
        assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID, "known client after {after}");
        let mut app = self.locking.login();
        for user in ["victim", "unknown"] {
            let locked = attempt(&mut app, user, GOOD, None);
            assert_eq!(locked, Tried { answer: LOCKED.into(), retry_after: None }, "after {after}");
        }
        assert_eq!(login(&mut app, "other", GOOD, None), VALID, "after {after}");
    }
}

/// SIGKILL of one session, which makes PostgreSQL reset shared memory.
fn crash_one(cluster: &Cluster) {
    let mut witness = cluster.admin("postgres");
    let mut victim = cluster.admin("postgres");
    kill_9(pid(&mut victim).try_into().unwrap());
    until("the server has noticed", || witness.batch_execute("SELECT 1").is_err());
    cluster.await_recovery();
}

#[test]
fn what_is_punished_stays_so_across_restarts_and_crashes() {
    let all = Punished::new();
    let cluster = &all.site.cluster;
    all.is_still_punished("nothing");
    cluster.down();
    cluster.up();
    all.is_still_punished("a clean restart");
    cluster.kill_postmaster();
    cluster.up();
    all.is_still_punished("kill -9 of the postmaster");
    crash_one(cluster);
    all.is_still_punished("kill -9 of a session");
    // At once after the answers, without a pause in which something could be written.
    let mut app = all.locking.login();
    lock(&mut app, "last");
    cluster.kill_postmaster();
    cluster.up();
    assert_eq!(login(&mut all.locking.login(), "last", GOOD, None), LOCKED);
    let mut app = all.locking.login();
    lock(&mut app, "very last");
    crash_one(cluster);
    assert_eq!(login(&mut all.locking.login(), "very last", GOOD, None), LOCKED);
    // And what has been ended stays ended.
    let mut manager = all.locking.login_with(&["manager"]);
    assert!(manage(&mut manager, "pv_unlock_user", "victim"));
    cluster.kill_postmaster();
    cluster.up();
    assert_eq!(login(&mut all.locking.login(), "victim", GOOD, None), VALID);
}

#[test]
fn a_budget_that_is_set_for_one_role_survives_too() {
    // The natural way to limit one application.
    let site = Site::on(server(&[]));
    site.enroll("42", GOOD);
    for setting in FOUR_HASHES {
        let sql = format!("ALTER ROLE {} SET password_verify.{setting}", site.app);
        site.admin().batch_execute(&sql).unwrap();
    }
    let mut app = site.login();
    (0..4).for_each(|_| assert_eq!(login(&mut app, "42", GOOD, None), VALID));
    assert_eq!(login(&mut app, "42", GOOD, None), THROTTLED);
    site.cluster.down();
    site.cluster.up();
    assert_eq!(login(&mut site.login(), "42", GOOD, None), THROTTLED, "after a restart");
}

#[test]
fn a_budget_that_was_set_a_moment_ago_survives_too() {
    let site = Site::on(server(&[]));
    site.configure(&["throttle_client_failures = 0"]);
    site.enroll("42", GOOD);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The worker that has begun under another policy stays as long as there is something to do.
        scope.spawn(|| {
            let mut app = site.login();
            while !over.load(Ordering::Relaxed) {
                assert_eq!(login(&mut app, "42", GOOD, None), VALID);
            }
        });
        site.configure(&["throttle_client_failures = 3", "throttle_client_refill = 1"]);
        let mut app = site.login();
        let answers = (0..4).map(|i| guess(&mut app, &format!("unknown{i}"), AWAY));
        let answers: Vec<_> = answers.collect();
        over.store(true, Ordering::Relaxed);
        assert_eq!(tally(answers), counts([(WRONG, 3), (THROTTLED, 1)]));
    });
    crash_one(&site.cluster);
    assert_eq!(login(&mut site.login(), "42", GOOD, AWAY), THROTTLED, "after a crash");
}

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
        (0..5).for_each(|_| assert_eq!(guess(&mut app, user, None), WRONG));
    }
    let since = Instant::now();
    (0..5).for_each(|i| assert_eq!(guess(&mut app, &format!("first{i}"), AWAY), WRONG));
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
                assert_eq!(answer, WRONG, "a client");
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
                    assert_eq!(reason, WRONG);
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
        flood("hashed", 1200, "NULL", WRONG);
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
    until("all is written", || statistic(&site, "throttle_entries_unwritten") == 0);
    let sql = "SELECT reason FROM auth.pv_validate_password('quiet'::text, 'guess')";
    let reason: String = old.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(reason, THROTTLED, "to an old snapshot too");
    assert_eq!(guess(&mut app, "quiet", None), THROTTLED);
    assert_eq!(guess(&mut app, "victim", None), THROTTLED);
    // Each of the flood has had one, and four more are free.
    let left: Vec<String> = (0..5).map(|_| guess(&mut app, "hashed 0 1", None)).collect();
    assert_eq!(tally(left), counts([(WRONG, 4), (THROTTLED, 1)]));
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
    (0..3).for_each(|i| assert_eq!(guess(&mut app, &format!("first{i}"), AWAY), WRONG));
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
        assert_eq!(tally(answers.concat()), counts([(WRONG, ACCOUNTS)]));
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    println!("{tried} refusals beside {ACCOUNTS} guesses");
    until("all is written", || {
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
    let expected = [WRONG, BUSY, "53400"];
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
    assert_eq!(seen, answers[WRONG]);
}

#[test]
fn an_attempt_waits_for_nobody_who_waits_for_it() {
    let site = site_with(&["throttle_free_failures = 1", "queue_timeout = 20000"]);
    site.enroll("42", GOOD);
    let all = ["verifier", "registrar", "manager"];
    let (mut a, mut b) = (site.login_with(&all), site.login_with(&all));
    for (first, second) in [
        (
            format!("SELECT auth.pv_set_password('42'::text, '{OTHER}')"),
            format!("SELECT reason FROM auth.pv_change_password('42'::text, '{GOOD}', '{OTHER}')"),
        ),
        (
            format!("SELECT auth.pv_change_password('42'::text, '{GOOD}', '{OTHER}')"),
            format!("SELECT reason FROM auth.pv_set_password('42'::text, '{GOOD}')"),
        ),
        (
            format!("SELECT auth.pv_set_password('42'::text, '{OTHER}')"),
            format!("SELECT reason FROM auth.pv_validate_password('42'::text, '{GOOD}')"),
        ),
    ] {
        set(&mut site.login_with(&all), "42", GOOD);
        let start = Instant::now();
        let mut open = a.transaction().unwrap();
        open.batch_execute(&first).unwrap();
        thread::scope(|scope| {
            let b = &mut b;
            let other =
                scope.spawn(move || b.query_one(&second, &[]).unwrap().get::<_, Option<String>>(0));
            let asked = Instant::now();
            for _ in 0..4 {
                thread::sleep(Duration::from_millis(100));
                // Its own change is what it sees.
                let sql =
                    format!("SELECT reason FROM auth.pv_validate_password('42'::text, '{OTHER}')");
                let reason = open.query_one(&sql, &[]).unwrap().get::<_, Option<String>>(0);
                assert_eq!(reason, None, "{first}");
            }
            println!("four attempts beside a waiting one: {:?}", asked.elapsed());
            open.commit().unwrap();
            let other = other.join().unwrap();
            assert!(
                [None, Some(BUSY), Some(WRONG)].contains(&other.as_deref()),
                "{other:?} beside {first}"
            );
        });
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        // The other one has come too late, perhaps, with a password that was right before.
        let _ = manage(&mut b, "pv_unlock_user", "42");
    }
    assert_eq!(set(&mut b, "42", GOOD), Answer::yes());
    assert_eq!(login(&mut a, "42", GOOD, None), VALID);
}

#[test]
fn a_thousand_accounts_have_two_guesses_each() {
    const ACCOUNTS: usize = 1000;
    let site = site_with(&["throttle_free_failures = 2", "throttle_first_wait = 600"]);
    for i in 0..20 {
        site.enroll(&format!("user{}", i * 50), GOOD);
    }
    // Guesses at one account follow each other, so that they meet.
    let next = AtomicUsize::new(0);
    let (hashed, answers) = hashes(&site, || {
        at_once(
            16,
            |_| site.login(),
            |_, client| {
                let mut answers = Vec::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= 3 * ACCOUNTS {
                        break answers;
                    }
                    answers.push((i / 3, guess(client, &format!("user{}", i / 3), None)));
                }
            },
        )
    });
    let answers = answers.concat();
    report(
        "16 connections guess at 1,000 accounts, 2 each",
        answers.len(),
        hashed,
        2 * ACCOUNTS as i64,
    );
    assert_eq!(hashed, 2 * ACCOUNTS as i64);
    let mut wrong = vec![0; ACCOUNTS];
    for (account, answer) in &answers {
        assert!([WRONG, THROTTLED].contains(&answer.as_str()), "{answer}");
        wrong[*account] += usize::from(answer == WRONG);
    }
    assert!(wrong.iter().all(|wrong| *wrong == 2), "exactly two each");
    assert_eq!(login(&mut site.login(), "user50", GOOD, None), THROTTLED);
}
