//! Right, wrong and unknown take the same time, and a stranger's id takes as long as somebody's.
//!
//! Ratios within one run, measured in turn; alone in its file, so that nothing else runs meanwhile.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use password_verify_tests::calls::{create, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::imports::await_counted;
use password_verify_tests::stall::Clock;
use password_verify_tests::work::Session;
use password_verify_tests::{Answer, GOOD, Site};
use postgres::Client;

fn timed(app: &mut Client, user: &str, password: &str, expected: &Answer) -> Duration {
    let clock = Clock::start();
    let answer = validate(app, user, password);
    let time = clock.time();
    assert_eq!(answer, *expected);
    time
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn time_tells_nothing() {
    let site = Site::on(server(&[]));
    right_wrong_and_unknown(&site);
    strangers_look_like_somebody(&site);
}

/// At the default parameters: medians of 40 calls each within 15 % of each other.
fn right_wrong_and_unknown(site: &Site) {
    site.admin().batch_execute(&format!("ALTER DATABASE {} RESET ALL", site.database)).unwrap();
    site.allow_failures();
    let mut app = site.login();
    let parameters = app.query_one("SHOW password_verify.argon2_memory", &[]).unwrap();
    assert_eq!(parameters.get::<_, &str>(0), "64MB");
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    let (yes, no) = (Answer::yes(), Answer::no("invalid_credentials"));
    let mut times: [Vec<Duration>; 3] = Default::default();
    for i in 0..40 {
        times[0].push(timed(&mut app, "42", GOOD, &yes));
        times[1].push(timed(&mut app, "42", "wrong horse battery staple", &no));
        times[2].push(timed(&mut app, &format!("unknown{i}"), GOOD, &no));
    }
    let medians = times.each_mut().map(|times| median(times));
    println!("medians of right, wrong, unknown at 64 MiB, 3, 4: {medians:?}");
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(most.as_secs_f64() <= least.as_secs_f64() * 1.15, "{medians:?}");
}

/// Half of the users were enrolled under cheaper parameters. A wrong password takes one of two times;
/// so does any stranger's id, always the same one, and both times occur among strangers.
fn strangers_look_like_somebody(site: &Site) {
    let mut app = Session::of(site.login());
    let mut admin = site.admin();
    let mut enroll = |prefix: &str, settings: &str| {
        admin.batch_execute(settings).unwrap();
        for i in 0..24 {
            let sql = "SELECT success FROM auth.pv_create_password($1::text, $2)";
            let user = format!("{prefix}{i}");
            assert!(admin.query_one(sql, &[&user, &GOOD]).unwrap().get::<_, bool>(0));
        }
    };
    // Work of 7 MiB · 5 against 20 MiB · 14: eight times as much.
    enroll(
        "old",
        "SET password_verify.argon2_memory = '7MB'; SET password_verify.argon2_iterations = 5; SET password_verify.argon2_parallelism = 1",
    );
    enroll(
        "new",
        "SET password_verify.argon2_memory = '20MB'; SET password_verify.argon2_iterations = 14",
    );
    await_counted(&mut admin);
    let no = Answer::no("invalid_credentials");
    let mut least = |user: &str, calls: usize| {
        app.least(calls, |client| assert_eq!(validate(client, user, "guess"), no))
    };
    let (old, new) = (least("old3", 5), least("new3", 5));
    assert!(new > old * 4, "two kinds of users: {old:?} {new:?}");
    // Halfway on a scale of ratios: nobody is there.
    let halfway = Duration::from_secs_f64((old.as_secs_f64() * new.as_secs_f64()).sqrt());
    let slow: Vec<bool> = (0..60).map(|i| least(&format!("stranger{i}"), 3) > halfway).collect();
    let count = slow.iter().filter(|slow| **slow).count();
    println!("strangers that look like new users: {count} of 60");
    assert!((10..=50).contains(&count), "strangers look like both kinds: {count} of 60");
    for (i, slow) in slow.iter().enumerate().take(12) {
        assert_eq!(least(&format!("stranger{i}"), 3) > halfway, *slow, "and stay as they are");
    }
}
