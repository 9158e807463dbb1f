//! Where records of many systems lie side by side, times tell neither who has one nor whether a password
//! was right.
//!
//! Ratios within one run, measured in turn; alone in its file, so that nothing else runs meanwhile.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_tests::calls::{create, manage, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::imports::{BCRYPT, SHA1, SLOW_BCRYPT, await_counted, import, vectors};
use password_verify_tests::work::Session;
use password_verify_tests::{Answer, GOOD, OTHER, Site, WRONG};
use postgres::Client;

/// How long an answer took.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    /// What of it the session itself has worked: all of it that differs where nothing else runs. Exact,
    /// and the same on a busy machine.
    work: Duration,
}

fn timed(session: &mut Session, user: &str, password: &str, expected: &Answer) -> Took {
    let ((answer, time), work) = session.work(|client| {
        let start = Instant::now();
        (validate(client, user, password), start.elapsed())
    });
    assert_eq!(answer, *expected, "{user}");
    Took { time, work }
}

/// The time that this part of them is under.
fn quantile(times: impl Iterator<Item = Duration>, part: f64) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[(times.len() as f64 * part) as usize].as_secs_f64()
}

fn least_and_most(times: &[f64]) -> (f64, f64) {
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    (least, times.iter().copied().fold(0.0, f64::max))
}

#[test]
fn time_tells_nothing_of_what_was_imported() {
    let site = Site::on(server(&[]));
    site.allow_failures();
    strangers_take_the_times_of_somebody(&site);
    right_and_wrong_take_the_same(&site);
}

/// Users of each format.
const USERS: usize = 30;
const STRANGERS: usize = 200;

/// The first vector that begins so: how it is written, whatever its password.
fn like(begins: &str) -> String {
    vectors().iter().find(|vector| vector.hash.starts_with(begins)).unwrap().hash.to_owned()
}

/// Eleven formats, in three classes of cost that lie well apart.
fn strangers_take_the_times_of_somebody(site: &Site) {
    site.configure(&["argon2_memory = '46MB'", "argon2_iterations = 2", "argon2_parallelism = 1"]);
    let tag = "MTIzNDU2Nzg5MDEyMzQ1NjEyMzQ1Njc4OTAxMjM0NTY";
    let classes: [&[(&str, String)]; 3] = [
        &[
            ("bcrypt 5", BCRYPT.into()),
            ("yescrypt", like("$y$j75$")),
            ("scrypt, little", like("$scrypt$ln=6,")),
            ("argon2id of others", like("$argon2id$v=19$m=64,")),
        ],
        &[
            ("bcrypt 7", BCRYPT.replace("$05$", "$07$")),
            ("scrypt", format!("$scrypt$ln=12,r=8,p=1$c2FsdHNhbHRzYWx0${tag}")),
        ],
        &[
            ("argon2id", String::new()),
            ("{SHA}", SHA1.into()),
            ("MD5-crypt", like("$1$")),
            ("SHA-512-crypt", like("$6$rounds=1")),
            ("PBKDF2", like("$pbkdf2-sha256$1000$")),
        ],
    ];
    let (mut app, mut manager) = (Session::of(site.login()), site.login_with(&["manager"]));
    for (format, hash) in classes.iter().copied().flatten() {
        for i in 0..USERS {
            let user = format!("{format} {i}");
            let made = match hash.as_str() {
                "" => create(&mut app.client, &user, GOOD),
                hash => import(&mut manager, &user, hash),
            };
            assert_eq!(made, Answer::yes(), "{user}");
        }
    }
    await_counted(&mut site.admin());

    let no = Answer::no("invalid_credentials");
    let mut least_work = |user: &str, calls: usize| {
        let guess = |client: &mut Client| assert_eq!(validate(client, user, WRONG), no, "{user}");
        app.least(calls, guess).as_secs_f64()
    };
    let bounds = classes.map(|class| {
        let works = class.iter().map(|(format, _)| {
            let work = least_work(&format!("{format} 7"), 5);
            println!("{format}: {:.1} ms", work * 1e3);
            work
        });
        least_and_most(&works.collect::<Vec<f64>>())
    });
    let halfway: Vec<f64> = bounds
        .windows(2)
        .map(|two| {
            assert!(two[1].0 > two[0].1 * 1.8, "classes lie apart: {bounds:?}");
            // On a scale of ratios: nobody is there.
            (two[0].1 * two[1].0).sqrt()
        })
        .collect();
    let mut class_of = |stranger: usize| {
        let work = least_work(&format!("stranger {stranger}"), 2);
        halfway.iter().filter(|halfway| work > **halfway).count()
    };

    let seen: Vec<usize> = (0..STRANGERS).map(&mut class_of).collect();
    let imported = classes.iter().map(|class| class.len()).sum::<usize>() as f64 - 1.0;
    for (class, formats) in classes.iter().enumerate() {
        let count = seen.iter().filter(|seen| **seen == class).count() as f64;
        // Half of the strangers are kept for what is made today, and the imported formats share the others: each
        // as many as it has users, to a quarter. Five deviations more are less than one in a million.
        let todays = formats.iter().filter(|(_, hash)| hash.is_empty()).count() as f64;
        let share = todays / 2.0 + (formats.len() as f64 - todays) / imported / 2.0;
        let strangers = STRANGERS as f64;
        let (mean, deviation) = (strangers * share, (strangers * share * (1.0 - share)).sqrt());
        let off = mean / 4.0 + 5.0 * deviation;
        println!("class {class}: {count} of {STRANGERS} strangers, {mean:.0} ± {off:.0} expected");
        assert!(
            count > 0.0 && (count - mean).abs() <= off,
            "class {class}: {count}, {mean} ± {off}"
        );
    }
    for (stranger, class) in seen.iter().enumerate().take(30) {
        assert_eq!(class_of(stranger), *class, "stranger {stranger} stays as they are");
    }
}

/// At the default parameters, 18 calls each: medians of the work, and the times of the quickest quarter (the
/// others have waited for other programs), are within 15 % of each other.
fn right_and_wrong_take_the_same(site: &Site) {
    site.admin().batch_execute(&format!("ALTER DATABASE {} RESET ALL", site.database)).unwrap();
    site.allow_failures();
    let (mut app, mut manager) = (Session::of(site.login()), site.login_with(&["manager"]));
    for (user, hash) in [("wrapped", SHA1), ("off, wrapped", SHA1), ("off, bcrypt", SLOW_BCRYPT)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
    }
    assert_eq!(create(&mut app.client, "native", OTHER), Answer::yes());
    for user in ["off, wrapped", "off, bcrypt"] {
        assert!(manage(&mut manager, "pv_disable_user", user));
    }
    let (wrong, disabled) = (Answer::no("invalid_credentials"), Answer::no("disabled"));
    let calls = [
        ("native", WRONG, &wrong),
        ("wrapped", WRONG, &wrong),
        ("off, wrapped", WRONG, &wrong),
        ("off, wrapped", GOOD, &disabled),
        ("off, bcrypt", WRONG, &wrong),
        ("off, bcrypt", GOOD, &disabled),
    ];
    // On a busy machine one run may be unlucky; what differs differs in every one.
    let alike = (0..4).any(|_| {
        let mut took: Vec<Vec<Took>> = vec![Vec::new(); calls.len()];
        for turn in 0..18 {
            // Each comes after every other one in turn.
            for i in (0..calls.len()).map(|i| (i * (1 + turn % 2 * 4) + turn) % calls.len()) {
                let (user, password, expected) = calls[i];
                took[i].push(timed(&mut app, user, password, expected));
            }
        }
        let times = took.iter().map(|took| quantile(took.iter().map(|it| it.time), 0.25));
        let works = took.iter().map(|took| quantile(took.iter().map(|it| it.work), 0.5));
        let (times, works): (Vec<f64>, Vec<f64>) = (times.collect(), works.collect());
        for (i, (user, password, _)) in calls.iter().enumerate() {
            println!(
                "{user}, {password}: {:.1} ms, {:.1} ms of work",
                times[i] * 1e3,
                works[i] * 1e3
            );
        }
        [&times[..4], &times[4..], &works[..4], &works[4..]].into_iter().all(|alike| {
            let (least, most) = least_and_most(alike);
            most <= least * 1.15
        })
    });
    assert!(alike, "within 15 % of each other");
}
