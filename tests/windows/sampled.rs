//! What somebody sees who samples `pg_stat_activity` as fast as it can, while somebody else sends passwords.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::hunt::canary;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::wire::{Batch, Value, Wire};

/// How the password is sent.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Literal,
    Bound,
    Prepared,
}

/// How often a session called, how often another one looked, and how often it saw the password.
struct Sampled {
    calls: usize,
    samples: usize,
    shown: usize,
    seconds: f64,
}

/// `settings`: of the login that calls.
fn sampled(room: &Room, how: How, settings: &[&str]) -> Sampled {
    let user = &room.quiet;
    room.admin(|admin| {
        admin.batch_execute(&format!("ALTER ROLE {user} RESET password_verify.redact; ALTER ROLE {user} RESET track_activities")).unwrap();
        for setting in settings {
            admin.batch_execute(&format!("ALTER ROLE {user} SET {setting}")).unwrap();
        }
    });
    let mut session = room.session(user);
    let (pid, secret) = (session.pid, canary());
    let long = if env::var_os("PV_WINDOWS_WRITE").is_some() { 10 } else { 2 };
    let (begin, end) = (Instant::now(), Duration::from_secs(long));
    let calls = AtomicUsize::new(0);
    let (samples, shown) = thread::scope(|scope| {
        let caller = scope.spawn(|| {
            while begin.elapsed() < end {
                call(&mut session, how, &secret);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut samples, mut shown) = (0, 0);
        room.admin(|admin| {
            let sql = "SELECT query FROM pg_stat_activity WHERE pid = $1";
            let statement = admin.prepare(sql).unwrap();
            while !caller.is_finished() {
                let text: String = admin.query_one(&statement, &[&pid]).unwrap().get(0);
                samples += 1;
                shown += usize::from(text.contains(&secret));
            }
        });
        (samples, shown)
    });
    let seconds = begin.elapsed().as_secs_f64();
    Sampled { calls: calls.into_inner(), samples, shown, seconds }
}

fn call(session: &mut Wire, how: How, secret: &str) {
    let bound = "SELECT * FROM auth.pv_check_password('42'::text, $1)";
    let reply = match how {
        How::Literal => session.simple(&bound.replace("$1", &format!("'{secret}'"))),
        How::Bound => session.extended(bound, &[Value::Text(secret)]),
        How::Prepared => {
            let batch = Batch::default().parse("s", bound).bind("", "s", &[Value::Text(secret)]);
            session.ask(&batch.execute("", 0).close(b'S', "s").sync())
        }
    };
    assert_eq!(reply.state(), "00000", "{:?}", session.told);
}

#[test]
fn a_sampler_sees_literals_by_luck_and_parameters_never() {
    let room = Room::new(&Plan::default());
    let measured = |what: &str, how: How, settings: &[&str]| {
        let it = sampled(&room, how, settings);
        let per_second = |count: usize| (count as f64 / it.seconds).round();
        let percent = 100.0 * it.shown as f64 / it.samples as f64;
        println!(
            "sampled: | {what} | {} | {} | {} | {} | {percent:.2} % |",
            per_second(it.calls),
            per_second(it.samples),
            it.samples,
            it.shown
        );
        assert!(it.calls > 100 && it.samples > 100, "{what}: {} {}", it.calls, it.samples);
        it
    };
    let without =
        measured("literals, without redaction", How::Literal, &["password_verify.redact = off"]);
    let with = measured("literals", How::Literal, &[]);
    let untracked =
        measured("literals, `track_activities = off`", How::Literal, &["track_activities = off"]);
    let bound = measured("parameters", How::Bound, &[]);
    let prepared = measured("parameters, with a name", How::Prepared, &[]);
    assert!(without.shown * 10 > without.samples * 9, "the sampler sees what there is");
    assert!(with.shown * 4 < with.samples, "more than by luck: {} of {}", with.shown, with.samples);
    assert_eq!([untracked.shown, bound.shown, prepared.shown], [0, 0, 0]);
}
