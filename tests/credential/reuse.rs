//! `reused` is an answer about a secret: it is given a few times until the next change, whatever becomes of the
//! transaction around it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use password_verify_tests::calls::{change, create, issue, manage, reset, set, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::at_once;
use password_verify_tests::hold::{Stopped, pid, signal, slots, slots_asked_for};
use password_verify_tests::trail::{counts, of_user, settle, stat, wait_until};
use password_verify_tests::{Answer, GOOD, OTHER, Site, attack};
use postgres::Client;

/// Comparisons until the next change.
const FEW: usize = 5;

/// A site that remembers so many passwords, with a user.
fn site(history: u32) -> Site {
    let site = Site::new();
    site.configure(&[&format!("history = {history}")]);
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    site
}

fn word(i: usize) -> String {
    format!("{OTHER} {i}")
}

/// What was compared: an answer that says neither `throttled` nor `busy`.
fn is_told(answer: &Answer) -> bool {
    let untold = ["throttled", "busy"].map(Answer::no);
    !untold.contains(answer)
}

/// In a transaction that is rolled back.
fn in_vain(app: &mut Client, act: impl FnOnce(&mut Client) -> Answer) -> Answer {
    app.batch_execute("BEGIN").unwrap();
    let answer = act(app);
    app.batch_execute("ROLLBACK").unwrap();
    answer
}

#[test]
fn whoever_has_a_reset_token_guesses_the_current_password_five_times_not_more() {
    let site = site(1);
    let mut app = site.login();
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    let mut told = 0;
    for i in 0..120 {
        told += usize::from(is_told(&in_vain(&mut app, |app| reset(app, &token, &word(i)))));
    }
    attack("guesses at the current password by a reset that is rolled back", 120, told - FEW);
    let right = in_vain(&mut app, |app| reset(app, &token, GOOD));
    assert_eq!(right, Answer::no("throttled"), "nor is the right one told");
    // Another token is one of the same account.
    let another = issue(&mut site.login_with(&["registrar"]), "42");
    assert_eq!(reset(&mut app, &another, GOOD), Answer::no("throttled"));
    let mut admin = site.admin();
    settle(&mut admin);
    let seen = counts(&mut admin);
    assert_eq!(seen["compare valid"], 5);
    assert_eq!(seen["compare throttled"], 117);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes(), "logins are not what is charged");
}

#[test]
fn whoever_knows_the_current_password_guesses_former_ones_five_times_not_more() {
    let site = site(3);
    let mut app = site.login();
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    let mut told = 0;
    for i in 0..60 {
        let answer = in_vain(&mut app, |app| change(app, "42", OTHER, &word(i)));
        told += usize::from(is_told(&answer));
    }
    attack("guesses at former passwords by a change that is rolled back", 60, told - FEW);
    assert_eq!(change(&mut app, "42", OTHER, GOOD), Answer::no("throttled"));
    // The password that was just proven is no secret.
    assert_eq!(change(&mut app, "42", OTHER, OTHER), Answer::no("reused"));
}

#[test]
fn sixty_four_connections_compare_as_often_as_one() {
    let site = site(1);
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    let compare = |i: usize, app: &mut Client| -> Vec<Answer> {
        let guess = |app: &mut Client, j| {
            // Each way to take it back in turn: nothing, a savepoint, the transaction.
            let begin = ["BEGIN", "BEGIN; SAVEPOINT s", "BEGIN ISOLATION LEVEL SERIALIZABLE"];
            let end = ["ROLLBACK", "ROLLBACK TO s; COMMIT", "ROLLBACK"];
            app.batch_execute(begin[j]).unwrap();
            let answer = reset(app, &token, &word(i * 3 + j));
            app.batch_execute(end[j]).unwrap();
            answer
        };
        (0..3).map(|j| guess(app, j)).collect()
    };
    let answers = at_once(64, |_| site.login(), compare).concat();
    let told = answers.iter().filter(|answer| is_told(answer)).count();
    attack("comparisons of 64 connections at once", answers.len(), told - FEW);
    assert_eq!(stat(&mut site.admin(), "compare_valid"), 5);
}

#[test]
fn a_comparison_that_is_cut_off_stays_charged() {
    let site = Site::new();
    // What takes long is the record: the comparison, not the new one.
    site.configure(&["argon2_memory = '64MB'", "argon2_iterations = 20", "history = 1"]);
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    site.configure(&["argon2_memory = '7MB'", "argon2_iterations = 5"]);
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    for how in ["pg_cancel_backend", "pg_terminate_backend", "pg_cancel_backend"] {
        let mut app = site.login();
        let (pid, mut admin) = (pid(&mut app), site.admin());
        let before = stat(&mut admin, "compare_abandoned") + stat(&mut admin, "compare_valid");
        let before_it = slots_asked_for(&mut admin);
        let token = token.clone();
        let call = thread::spawn(move || {
            app.query("SELECT auth.pv_reset_password($1, $2)", &[&token, &OTHER]).is_err()
        });
        // Not the hash of the new password, which comes first.
        wait_until("the comparison has its slot", || slots_asked_for(&mut admin) > before_it);
        // Until it has begun.
        thread::sleep(Duration::from_millis(50));
        let stopped = Stopped::new(pid);
        signal(&site, how, pid);
        drop(stopped);
        assert!(call.join().unwrap(), "{how}");
        let sum =
            |admin: &mut Client| stat(admin, "compare_abandoned") + stat(admin, "compare_valid");
        wait_until("it is on record", || sum(&mut admin) == before + 1);
    }
    let mut app = site.login();
    let told =
        (0..4).filter(|i| is_told(&in_vain(&mut app, |app| reset(app, &token, &word(*i))))).count();
    attack("comparisons beside three that were cut off", 4, told - 2);
}

#[test]
fn a_change_that_is_not_committed_uses_up_no_comparison_of_others() {
    let site = site(1);
    let (mut owner, mut app) = (site.login(), site.login());
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    owner.batch_execute("BEGIN").unwrap();
    assert_eq!(change(&mut owner, "42", GOOD, &word(0)), Answer::yes());
    for i in 0..FEW {
        assert_eq!(change(&mut app, "42", GOOD, &word(i)), Answer::no("busy"), "{i}");
        assert_eq!(reset(&mut app, &token, &word(i)), Answer::no("busy"), "{i}");
    }
    owner.batch_execute("ROLLBACK").unwrap();
    assert_eq!(change(&mut app, "42", GOOD, &word(1)), Answer::yes());
}

#[test]
fn a_comparison_that_has_told_something_stays_charged_if_no_slot_is_free_for_the_rest() {
    let site = Site::on(server(&["password_verify.hash_slots = 1"]));
    let expensive = ["argon2_memory = '64MB'", "argon2_iterations = 20"];
    site.configure(&[&expensive[..], &["history = 2"]].concat());
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::yes());
    // What takes long is the comparison, not the new password.
    site.configure(&["argon2_memory = '7MB'", "argon2_iterations = 5"]);
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    site.configure(&["queue_timeout = '100ms'"]);
    let (mut app, mut admin) = (site.login(), site.admin());
    site.configure(&["queue_timeout = '5s'"]);
    let pid = pid(&mut app);
    for i in 0..2 {
        let before = slots_asked_for(&mut admin);
        let mut other = site.admin();
        other.batch_execute(&format!("SET password_verify.{}", expensive[0])).unwrap();
        other.batch_execute(&format!("SET password_verify.{}", expensive[1])).unwrap();
        thread::scope(|scope| {
            let compares = scope.spawn(|| in_vain(&mut app, |app| reset(app, &token, &word(i))));
            wait_until("it compares", || slots_asked_for(&mut admin) > before);
            // Until another waits, too.
            let stopped = Stopped::with_a_slot(pid);
            scope.spawn(|| in_vain(&mut other, |other| set(other, "43", GOOD)));
            wait_until("another waits for the slot", || slots(&mut admin).1 == 1);
            drop(stopped);
            assert_eq!(compares.join().unwrap(), Answer::no("busy"));
        });
    }
    assert_eq!(stat(&mut admin, "compare_busy"), 2);
    let mut app = site.login();
    let told =
        (0..FEW).filter(|i| is_told(&in_vain(&mut app, |app| reset(app, &token, &word(*i)))));
    attack("comparisons beside two that found no second slot", FEW, told.count() - (FEW - 2));
}

/// `act`, which has begun while `holder` had a change that was not committed, and ended after its commit.
fn behind(
    site: &Site,
    holder: &mut Client,
    act: impl FnOnce(&mut Client) -> Answer + Send,
) -> Answer {
    let (mut app, mut admin) = (site.login(), site.admin());
    let before = proven(&mut admin);
    thread::scope(|scope| {
        let waits = scope.spawn(move || act(&mut app));
        wait_until("the old password or the token is proven", || proven(&mut admin) > before);
        holder.batch_execute("COMMIT").unwrap();
        waits.join().unwrap()
    })
}

fn proven(admin: &mut Client) -> i64 {
    counts(admin).get("prove valid").copied().unwrap_or(0)
}

#[test]
fn an_outdated_password_or_token_tells_nothing_about_the_new_password() {
    let site = site(3);
    let (mut registrar, mut app) = (site.login_with(&["registrar"]), site.login());
    let mut now = GOOD.to_owned();
    for i in 0..6 {
        let (old, new) = (now, word(i));
        let token = issue(&mut registrar, "42");
        registrar.batch_execute("BEGIN").unwrap();
        assert_eq!(set(&mut registrar, "42", &new), Answer::yes());
        let answer = behind(&site, &mut registrar, |app| match i % 2 {
            0 => change(app, "42", &old, &new),
            _ => reset(app, &token, &new),
        });
        // `busy` if this machine is slow.
        let untold = ["invalid_credentials", "invalid_token", "busy"].map(Answer::no);
        assert!(untold.contains(&answer), "{i}: {answer:?}");
        now = new;
    }
    settle(&mut site.admin());
    let compared: Vec<_> = counts(&mut site.admin())
        .into_iter()
        .filter(|(what, _)| what.starts_with("compare"))
        .collect();
    assert_eq!(compared, []);
    assert_eq!(change(&mut app, "42", &now, OTHER), Answer::yes());
}

#[test]
fn no_comparison_is_used_up_by_an_answer_that_finds_no_slot() {
    let cluster = server(&["password_verify.hash_slots = 1"]);
    let site = Site::on(Arc::clone(&cluster));
    site.configure(&["history = 1"]);
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    // However fast or slow this machine is, some of these patiences end at each of the three slots that a change takes.
    let owner = |patience: &i32| {
        site.configure(&[&format!("queue_timeout = '{patience}ms'")]);
        site.login()
    };
    let mut owners: Vec<_> =
        [10, 20, 30, 40, 60, 80, 100, 130, 160, 200, 500, 2000].iter().map(owner).collect();
    site.configure(&["queue_timeout = '5s'"]);
    let mut manager = site.login_with(&["manager"]);
    let (mut busy, mut told) = (0, 0_i64);
    let crowded = AtomicBool::new(true);
    thread::scope(|scope| {
        for n in 0..5 {
            let (site, crowded) = (&site, &crowded);
            scope.spawn(move || {
                let mut stranger = site.login();
                for i in 0.. {
                    if !crowded.load(Ordering::Relaxed) {
                        break;
                    }
                    validate(&mut stranger, &format!("stranger {n} {i}"), GOOD);
                }
            });
        }
        for i in 0..150 {
            let app = &mut owners[i % 12];
            match in_vain(app, |app| change(app, "42", GOOD, OTHER)) {
                answer if answer == Answer::yes() => {
                    told += 1;
                    assert!(manage(&mut manager, "pv_unlock_user", "42"));
                }
                answer => {
                    assert_eq!(answer, Answer::no("busy"));
                    busy += 1;
                }
            }
        }
        crowded.store(false, Ordering::Relaxed);
    });
    settle(&mut site.admin());
    let compared = counts(&mut site.admin())["compare valid"];
    let used_up = usize::try_from(compared - told).unwrap();
    attack("comparisons used up by changes that found no hash slot", busy, used_up);
    assert!(busy > 0 && told > 0, "{busy} {told}");
}

#[test]
fn a_committed_change_gives_all_back_and_nothing_else_does() {
    let site = site(1);
    let mut app = site.login();
    let use_up = |app: &mut Client, password: &str| {
        for i in 0..FEW {
            let answer = in_vain(app, |app| change(app, "42", password, &word(i)));
            assert_eq!(answer, Answer::yes(), "{i}");
        }
        assert_eq!(change(app, "42", password, "mallet quarrel thimble"), Answer::no("throttled"));
    };
    use_up(&mut app, GOOD);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::no("throttled"), "a login does not");

    let mut registrar = site.login_with(&["registrar"]);
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    let vain = in_vain(&mut registrar, |registrar| set(registrar, "42", OTHER));
    assert_eq!(vain, Answer::yes());
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::no("throttled"), "nor what is undone");
    assert_eq!(set(&mut registrar, "42", OTHER), Answer::yes());
    assert_eq!(reset(&mut app, &token, GOOD), Answer::no("invalid_token"));
    use_up(&mut app, OTHER);

    let mut manager = site.login_with(&["manager"]);
    assert!(manage(&mut manager, "pv_unlock_user", "42"));
    assert!(!manage(&mut manager, "pv_unlock_user", "42"), "there was something to do once");
    use_up(&mut app, OTHER);

    assert!(manage(&mut manager, "pv_delete_user", "42"));
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    use_up(&mut app, GOOD);
}

#[test]
fn a_user_who_thinks_of_old_passwords_five_times_needs_a_registrar_and_one_who_does_not_never() {
    let site = site(2);
    let mut app = site.login();
    let mut now = GOOD.to_owned();
    // Changes that go through give back what they cost.
    for i in 0..12 {
        assert_eq!(change(&mut app, "42", &now, &word(i)), Answer::yes(), "{i}");
        now = word(i);
    }
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    for _ in 0..FEW {
        assert_eq!(reset(&mut app, &token, &now), Answer::no("reused"));
    }
    assert_eq!(reset(&mut app, &token, GOOD), Answer::no("throttled"));
    let mut registrar = site.login_with(&["registrar"]);
    assert_eq!(set(&mut registrar, "42", OTHER), Answer::yes());
    assert_eq!(change(&mut app, "42", OTHER, GOOD), Answer::yes());
    settle(&mut site.admin());
    let of_compare: BTreeMap<_, _> = counts(&mut site.admin())
        .into_iter()
        .filter(|(what, _)| what.starts_with("compare"))
        .collect();
    let expected = [("compare reused", 5), ("compare throttled", 1), ("compare valid", 13)];
    assert_eq!(of_compare, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

#[test]
fn what_was_compared_is_remembered_across_a_restart() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.configure(&["history = 1"]);
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::yes());
    let guess = |i| in_vain(&mut site.login(), |app| change(app, "42", GOOD, &word(i)));
    for i in 0..3 {
        assert_eq!(guess(i), Answer::yes());
    }
    cluster.down();
    cluster.up();
    assert_eq!([guess(3), guess(4)], [Answer::yes(), Answer::yes()]);
    assert_eq!(guess(5), Answer::no("throttled"));
    cluster.kill_postmaster();
    cluster.up();
    assert_eq!(guess(6), Answer::no("throttled"));
    assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::no("throttled"));
    let mut manager = site.login_with(&["manager"]);
    assert!(manage(&mut manager, "pv_unlock_user", "42"));
    assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::yes());
}

#[test]
fn without_a_history_nothing_is_compared() {
    let site = site(0);
    let mut app = site.login();
    for i in 0..10 {
        assert_eq!(in_vain(&mut app, |app| change(app, "42", GOOD, &word(i))), Answer::yes());
    }
    let mut admin = site.admin();
    wait_until("all is on record", || !counts(&mut admin).contains_key("change pending"));
    assert!(of_user(&mut admin, "42").iter().all(|event| !event.starts_with("compare")));
}
