//! Hash slots when sessions are cut off and killed.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, validate};
use password_verify_tests::hold::{Held, ONE_SLOT, TWO_SLOTS, await_idle, slots};
use password_verify_tests::kill::crash_by;
use password_verify_tests::trail::{stat, wait_until};
use password_verify_tests::{Answer, GOOD, Site, attack, sqlstate};
use postgres::Client;

/// Moments that nobody has chosen, the same in every run.
struct Moments(u64);

impl Moments {
    /// Some number from 1 to `most`.
    fn next(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most + 1
    }
}

/// Forty clients for some seconds, and until there is something to see, whose sessions are terminated now and
/// then. `one` is one attempt, by the client's connection if it has one, for that user; it tells whether it was
/// answered.
fn churn(site: &Site, one: impl Fn(&mut Option<Client>, &mut Moments, &str) -> bool + Sync) {
    site.configure(&["queue_timeout = '60s'"]);
    site.enroll("42", GOOD);
    let (answered, cut_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut admin = site.admin();
    let start = Instant::now();
    let enough = || {
        let seen = answered.load(Ordering::Relaxed) > 5 && cut_off.load(Ordering::Relaxed) > 100;
        let time = start.elapsed();
        time > Duration::from_secs(4) && seen || time > Duration::from_secs(60)
    };
    thread::scope(|scope| {
        for i in 0..40 {
            let (one, answered, cut_off, enough) = (&one, &answered, &cut_off, &enough);
            scope.spawn(move || {
                let (mut client, mut moments) = (None, Moments(i));
                for round in 0.. {
                    if enough() {
                        break;
                    }
                    let yes = one(&mut client, &mut moments, &format!("nobody{i}-{round}"));
                    if yes { answered } else { cut_off }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = $1 AND state = 'active' ORDER BY random() LIMIT 1";
        while !enough() {
            admin.query(sql, &[&site.app]).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    wait_until("all sessions end", || {
        admin.query_one(sql, &[&site.app]).unwrap().get::<_, i64>(0) == 0
    });
    let (answered, cut_off) = (answered.into_inner(), cut_off.into_inner());
    println!("{answered} answered, {cut_off} cut off");
    assert!(answered > 5 && cut_off > 100, "{answered} {cut_off}");
    assert_eq!(slots(&mut admin), (0, 0));
    assert!(stat(&mut admin, "hash_slots_used_at_most") <= 2);
    for _ in 0..3 {
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    }
}

/// Some milliseconds. Now and then long enough for an answer.
fn patience(moments: &mut Moments) -> u64 {
    if moments.next(8) == 1 { 5000 } else { moments.next(50) }
}

#[test]
fn timeouts_and_terminations_lose_no_slot() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    churn(site, |client, moments, user| {
        let app = client.get_or_insert_with(|| site.login());
        let timeout = format!("SET statement_timeout = {}", patience(moments));
        let asked = app.batch_execute(&timeout).and_then(|()| ask(app, VALIDATE, &[&user, &GOOD]));
        match asked {
            Ok(answer) => {
                assert_eq!(answer, Answer::no("invalid_credentials"));
                return true;
            }
            Err(_) if app.is_closed() => *client = None,
            Err(error) => {
                let expected = ["57014", "57P01", "not an error of the server: connection closed"];
                let state = sqlstate::<()>(Err(error));
                assert!(expected.contains(&state.as_str()), "{state}");
            }
        }
        false
    });
}

#[test]
fn clients_that_hang_up_lose_no_slot() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    churn(site, |_, moments, user| {
        // Half of the sessions look now and then whether their client is still there.
        let look = if moments.next(2) == 1 { "0" } else { "10" };
        let settings = [("client_connection_check_interval", look)];
        let Some(mut raw) = Raw::connect(site, &settings) else { return false };
        raw.send(b'Q', &format!("SELECT auth.pv_validate_password('{user}'::text, 'guess')\0"));
        raw.0.set_read_timeout(Some(Duration::from_millis(patience(moments)))).unwrap();
        // Whether it was or not: this is the end of the connection, without a farewell.
        raw.until_ready()
    });
}

/// A connection that can be dropped in the middle of a query.
struct Raw(UnixStream);

impl Raw {
    fn connect(site: &Site, settings: &[(&str, &str)]) -> Option<Self> {
        let socket = site.cluster.folder().join(".s.PGSQL.5432");
        let mut raw = Self(UnixStream::connect(socket).ok()?);
        let mut startup = 196_608u32.to_be_bytes().to_vec();
        let who = [("user", site.app.as_str()), ("database", &site.database)];
        for (name, value) in who.iter().chain(settings) {
            startup.extend(format!("{name}\0{value}\0").bytes());
        }
        startup.push(0);
        let length = (startup.len() as u32 + 4).to_be_bytes();
        raw.0.write_all(&[&length, startup.as_slice()].concat()).ok()?;
        raw.until_ready().then_some(raw)
    }

    fn send(&mut self, kind: u8, body: &str) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        // It may have been terminated before it was asked for anything.
        let _ = self.0.write_all(&[&[kind], &length[..], body.as_bytes()].concat());
    }

    /// Reads until the server waits for the next query; false when that was in vain, or it was an error.
    fn until_ready(&mut self) -> bool {
        loop {
            let mut head = [0; 5];
            if self.0.read_exact(&mut head).is_err() {
                return false;
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; length as usize - 4];
            if self.0.read_exact(&mut body).is_err() || head[0] == b'E' {
                return false;
            }
            if head[0] == b'Z' {
                return true;
            }
        }
    }
}

#[test]
fn a_slot_comes_back_from_whoever_is_cut_off_in_mid_hash() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    for _ in 0..4 {
        for function in ["pg_cancel_backend", "pg_terminate_backend"] {
            let ended = Held::slot(site).cut_off(site, function);
            assert_ne!(sqlstate(ended), "no error", "{function}");
            await_idle(&mut admin);
            assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes(), "{function}");
        }
    }
}

/// PostgreSQL then sends everybody away and makes shared memory anew.
#[test]
fn after_a_kill_in_mid_hash_all_slots_are_free() {
    const ROUNDS: usize = 20;
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut lost = 0;
    for _ in 0..ROUNDS {
        let mut admin = site.admin();
        thread::scope(|scope| {
            let held = Held::slot(site);
            let waiting = [(); 2].map(|()| {
                let mut app = site.login();
                scope.spawn(move || ask(&mut app, VALIDATE, &[&"42", &GOOD]))
            });
            wait_until("they wait", || slots(&mut admin) == (1, 2));
            crash_by(&site.cluster, held.pid());
            for waiting in waiting {
                assert_ne!(sqlstate(waiting.join().unwrap()), "no error");
            }
        });
        let free = slots(&mut site.admin()) == (0, 0);
        let answer = validate(&mut site.login(), "42", GOOD);
        lost += usize::from(!free || answer != Answer::yes());
    }
    attack("a session is killed in mid-hash and takes its slot along", ROUNDS, lost);
}
