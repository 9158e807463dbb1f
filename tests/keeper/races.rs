//! Calls of two sessions that meet: one of them waits or answers busy, and nothing is half done.
#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{manage, rename, validate};
use password_verify_tests::crowd::at_once;
use password_verify_tests::in_the_way::hold_index;
use password_verify_tests::keeper::{
    KeptSite, VAULT, VAULT2, acknowledge, cancel, change_vault, contents, create_vault, deliver,
    finish, forget, lock_vault, open, request, requests, rows, secrets, store, store_in_vault,
    take, try_request, try_store, try_unlock, unlock, work_once,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{SOON, stat};
use password_verify_tests::{Answer, GOOD, sqlstate};
use postgres::{Client, Error};

/// Were the password changed beside it, the new secret would be locked with the key of the old one.
#[test]
fn a_vault_password_is_not_changed_while_a_secret_is_stored() {
    let kept = KeptSite::shared();
    let (mut app, mut other, mut admin) = (kept.depositor(), kept.depositor(), kept.admin());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "s1", "the first");
    let before = contents(&mut admin);
    app.batch_execute("BEGIN").unwrap();
    store_in_vault(&mut app, "42", "s2", "the second");
    assert_eq!(change_vault(&mut other, "42", VAULT, VAULT2), Answer::no("busy"));
    assert_eq!(contents(&mut admin), before);
    app.batch_execute("COMMIT").unwrap();
    assert_eq!(change_vault(&mut other, "42", VAULT, VAULT2), Answer::yes());
    let old = try_unlock(&mut app, "42", VAULT, "1 hour").unwrap();
    assert_eq!(old, Err("invalid_credentials".into()));
    let handle = try_unlock(&mut app, "42", VAULT2, "1 hour").unwrap().unwrap();
    for (name, secret) in [("s1", "the first"), ("s2", "the second")] {
        let job = try_request(&mut app, "42", name, Some(&handle)).unwrap();
        assert_eq!(work_once(&mut kept.connector()), (job, Ok(secret.into())), "{name}");
    }
    kept.assert_sound();
}

/// The other way round: what is stored beside a change of the password is not locked with the old key either.
#[test]
fn no_secret_is_stored_while_a_vault_password_is_changed() {
    let kept = KeptSite::shared();
    let (mut app, mut other) = (kept.depositor(), kept.depositor());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "s1", "the first");
    app.batch_execute("BEGIN").unwrap();
    assert_eq!(change_vault(&mut app, "42", VAULT, VAULT2), Answer::yes());
    let beside = try_store(&mut other, "42", "s2", "the second", Some(VAULT)).unwrap();
    assert_eq!(beside, Answer::no("busy"));
    app.batch_execute("COMMIT").unwrap();
    let late = try_store(&mut other, "42", "s2", "the second", Some(VAULT)).unwrap();
    assert_eq!(late, Answer::wrong());
    assert_eq!(secrets(&mut other, "42"), ["s1 vault new"]);
    kept.assert_sound();
}

/// The vault password was right when it was tested, and is another one by the time that the secret is written.
#[test]
fn a_vault_password_that_is_changed_before_the_secret_is_written() {
    let kept = KeptSite::shared();
    let (mut app, mut other) = (kept.depositor(), kept.depositor());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    app.batch_execute("BEGIN").unwrap();
    assert_eq!(change_vault(&mut app, "42", VAULT, VAULT2), Answer::yes());
    let waits = thread::spawn(move || try_store(&mut other, "42", "s1", "x", Some(VAULT)).unwrap());
    // Less than a call waits for a row that another one holds, and more than the hash takes.
    thread::sleep(Duration::from_millis(500));
    app.batch_execute("COMMIT").unwrap();
    assert_eq!(waits.join().unwrap(), Answer::wrong());
    assert_eq!(secrets(&mut app, "42"), [""; 0]);
    kept.assert_sound();
}

/// Stores so many secrets, and says how often there was which answer: yes, busy or too many.
fn store_many(app: &mut Client, prefix: &str, count: usize) -> (usize, usize, usize) {
    let answers: Vec<Answer> = (0..count)
        .map(|i| try_store(app, "42", &format!("{prefix} {i}"), "x", None).unwrap())
        .collect();
    let of = |answer: Answer| answers.iter().filter(|it| **it == answer).count();
    let all = (of(Answer::yes()), of(Answer::no("busy")), of(Answer::no("too_many")));
    assert_eq!(all.0 + all.1 + all.2, count, "{answers:?}");
    all
}

/// How many rows name that user.
fn of_user(admin: &mut Client, user: &str) -> [i64; 2] {
    ["secret", "vault"].map(|table| {
        let sql = format!("SELECT count(*) FROM password_verify.{table} WHERE user_id = '{user}'");
        number(admin, &sql)
    })
}

#[test]
fn two_who_store_at_once_do_not_get_beyond_the_limit() {
    let kept = KeptSite::shared();
    let (mut app, mut other, mut admin) = (kept.depositor(), kept.depositor(), kept.admin());
    app.batch_execute("BEGIN").unwrap();
    assert_eq!(store_many(&mut app, "mine", 60), (60, 0, 0));
    other.batch_execute("BEGIN").unwrap();
    assert_eq!(store_many(&mut other, "yours", 2), (0, 2, 0), "the other one is not over");
    // Nor is anything moved or deleted meanwhile.
    assert_eq!(rename(&mut admin, "42", "43"), Answer::no("busy"));
    let delete = "SELECT auth.pv_delete_user('42'::text)";
    assert_eq!(sqlstate(admin.query(delete, &[])), "55P03");
    app.batch_execute("COMMIT").unwrap();
    assert_eq!(store_many(&mut other, "yours", 60), (40, 0, 20));
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(secrets(&mut app, "42").len(), 100);
    assert_eq!(of_user(&mut admin, "42"), [100, 1]);
    // Requests of a secret are counted for the same user.
    app.batch_execute("BEGIN").unwrap();
    let ask = "SELECT count(auth.pv_request('42'::text, $1, '{}')) FROM generate_series(1, $2)";
    app.query(ask, &[&"mine 1", &120]).unwrap();
    assert_eq!(sqlstate(try_request(&mut other, "42", "yours 1", None)), "55P03");
    app.batch_execute("COMMIT").unwrap();
    other.query(ask, &[&"yours 1", &80]).unwrap();
    assert_eq!(sqlstate(try_request(&mut other, "42", "yours 2", None)), "54000");
    assert_eq!(rows(&mut admin, "job"), 200);

    assert_eq!(rename(&mut admin, "42", "43"), Answer::yes());
    assert_eq!(of_user(&mut admin, "42"), [0, 0]);
    assert_eq!(of_user(&mut admin, "43"), [100, 1]);
    assert_eq!((secrets(&mut app, "43").len(), requests(&mut app, "43").len()), (100, 200));
    assert!(manage(&mut admin, "pv_delete_user", "43"));
    let left = ["secret", "job", "result", "vault"].map(|table| rows(&mut admin, table));
    assert_eq!(left, [0; 4]);
    kept.assert_sound();
}

#[test]
fn a_crowd_that_stores_at_once_does_not_get_beyond_the_limit() {
    let kept = KeptSite::shared();
    let start = Instant::now();
    at_once(
        4,
        |_| kept.depositor(),
        |i, app| {
            for batch in 0..5 {
                while {
                    assert!(start.elapsed() < 4 * SOON, "it is always busy");
                    app.batch_execute("BEGIN").unwrap();
                    let (_, busy, _) = store_many(app, &format!("{i} {batch}"), 8);
                    app.batch_execute(if busy > 0 { "ROLLBACK" } else { "COMMIT" }).unwrap();
                    busy > 0
                } {}
            }
        },
    );
    let mut admin = kept.admin();
    assert_eq!(of_user(&mut admin, "42"), [100, 1], "160 were to be stored");
    assert!(manage(&mut admin, "pv_delete_user", "42"));
    let left = ["secret", "job", "result", "vault"].map(|table| rows(&mut admin, table));
    assert_eq!(left, [0; 4]);
    kept.assert_sound();
}

/// What a rename comes to.
fn try_rename(admin: &mut Client, old: &str, new: &str) -> Result<Answer, Error> {
    let sql = "SELECT * FROM auth.pv_rename_user($1::text, $2::text)";
    admin.query_one(sql, &[&old, &new]).map(|row| Answer(row.get(0), row.get(1)))
}

/// Whatever is in its way, a rename moves everything or nothing.
#[test]
fn a_rename_moves_all_of_a_user_or_nothing() {
    let row = |table: &str| {
        format!(
            "BEGIN; SELECT FROM password_verify.{table} WHERE user_id = 'old' OR user_id = 'new' FOR UPDATE"
        )
    };
    let index = |table: &str| {
        let make = format!("CREATE INDEX extra_{table} ON password_verify.{table} (created_at)");
        (make, hold_index(&format!("extra_{table}")))
    };
    let table = |table: &str| {
        format!("BEGIN; LOCK TABLE password_verify.{table} IN SHARE ROW EXCLUSIVE MODE")
    };
    let secret = "CREATE INDEX extra_secret ON password_verify.secret (stored_at)".to_owned();
    let nothing = String::new;
    let ways = [
        index("credential"),
        index("account"),
        index("vault"),
        index("job"),
        (secret, hold_index("extra_secret")),
        (nothing(), row("credential")),
        (nothing(), row("account")),
        (nothing(), row("secret")),
        (nothing(), row("vault")),
        (nothing(), "BEGIN; SELECT FROM password_verify.job FOR UPDATE".into()),
        (nothing(), table("credential")),
        (nothing(), table("account")),
        (nothing(), table("secret")),
        (nothing(), table("job")),
        (nothing(), table("vault")),
    ];
    let kept = KeptSite::shared();
    kept.site.configure(&["queue_timeout = '1s'"]);
    kept.site.enroll("old", GOOD);
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    // So that there is a row of the account, too.
    assert!(manage(&mut admin, "pv_require_change", "old"));
    store(&mut app, "old", "imap", "x");
    request(&mut app, "old", "imap");
    let all = |admin: &mut Client| {
        let sql = "SELECT string_agg(t::text, '|' ORDER BY t.blind_index) FROM password_verify.credential t";
        (contents(admin), text(admin, sql))
    };
    for (make, hold) in &ways {
        admin.batch_execute(make).unwrap();
        let before = all(&mut admin);
        let mut holder = kept.admin();
        holder.batch_execute(hold).unwrap();
        match try_rename(&mut admin, "old", "new") {
            Ok(answer) => assert_eq!(answer, Answer::no("busy"), "{hold}"),
            // Classes of errors about what others hold.
            state => assert!(["55P03", "40001"].contains(&&*sqlstate(state)), "{hold}"),
        }
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(all(&mut admin), before, "{hold}");
        kept.assert_sound();
    }
    // Nothing is left behind that would be in the way of the next one.
    assert_eq!(rename(&mut admin, "old", "new"), Answer::yes());
    assert_eq!(validate(&mut kept.site.login(), "old", GOOD), Answer::wrong());
    assert_eq!(validate(&mut kept.site.login(), "new", GOOD), Answer::no("change_required"));
    assert_eq!(of_user(&mut admin, "old"), [0, 0]);
    assert_eq!(secrets(&mut app, "new"), ["imap new"]);
    assert_eq!(work_once(&mut keeper).1, Ok("x".into()));
    kept.assert_sound();
}

/// A request of a secret that is gone when it is committed would never end, and could be another one's.
#[test]
fn nothing_is_asked_for_with_a_secret_that_is_being_forgotten() {
    let kept = KeptSite::shared();
    let (mut app, mut other, mut admin) = (kept.depositor(), kept.depositor(), kept.admin());
    for end in ["ROLLBACK", "COMMIT"] {
        store(&mut app, "42", "imap", "x");
        app.batch_execute("BEGIN").unwrap();
        assert!(forget(&mut app, "42", "imap"));
        assert_eq!(sqlstate(try_request(&mut other, "42", "imap", None)), "55P03");
        app.batch_execute(end).unwrap();
        match try_request(&mut other, "42", "imap", None) {
            Ok(job) => assert!(end == "ROLLBACK" && cancel(&mut other, job)),
            asked => assert_eq!((end, &*sqlstate(asked)), ("COMMIT", "42704")),
        }
    }
    assert_eq!(["secret", "job", "vault"].map(|table| rows(&mut admin, table)), [0; 3]);
    // And the other way round.
    store(&mut app, "42", "imap", "x");
    app.batch_execute("BEGIN").unwrap();
    request(&mut app, "42", "imap");
    let sql = "SELECT auth.pv_forget_secret('42'::text, 'imap')";
    assert_eq!(sqlstate(other.query(sql, &[])), "55P03");
    app.batch_execute("COMMIT").unwrap();
    assert!(forget(&mut other, "42", "imap"));
    assert_eq!(["secret", "job", "vault"].map(|table| rows(&mut admin, table)), [0; 3]);
    kept.assert_sound();
}

/// Once it is locked, no job opens what is in it: nor does one that was asked for just before, or at the same time.
#[test]
fn what_is_asked_for_while_a_vault_is_locked_does_not_open() {
    let kept = KeptSite::new();
    let (mut app, mut other, mut keeper) = (kept.depositor(), kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "imap", "x");
    let (mut before, mut after, mut between) = (0, 0, 0);
    // Shorter or longer until either comes first as often as the other: then they meet.
    let (mut wait, step) = (Duration::from_millis(1), Duration::from_micros(20));
    for round in 0..400 {
        let handle = unlock(&mut app, "42");
        let barrier = Barrier::new(2);
        let asked = thread::scope(|scope| {
            let lock = || assert!(lock_vault(&mut other, &handle), "it was unlocked");
            let mut ask = || try_request(&mut app, "42", "imap", Some(&handle));
            match round % 10 {
                // Now and then in a certain order, so that both are seen on any machine.
                0 => {
                    let asked = ask();
                    scope.spawn(lock).join().unwrap();
                    asked
                }
                1 => {
                    scope.spawn(lock).join().unwrap();
                    ask()
                }
                _ => {
                    let (barrier, mut lock) = (&barrier, lock);
                    let locking = scope.spawn(move || {
                        barrier.wait();
                        thread::sleep(wait);
                        lock();
                    });
                    barrier.wait();
                    let asked = ask();
                    locking.join().unwrap();
                    asked
                }
            }
        });
        match asked {
            Ok(job) => {
                before += 1;
                wait = wait.saturating_sub(step);
                assert_eq!(take(&mut keeper), Some(job));
                assert_eq!(open(&mut keeper, job), Err("vault_locked".into()), "round {round}");
                finish(&mut keeper, job, "failed", "vault_locked");
                assert!(cancel(&mut app, job));
            }
            refused => {
                after += 1;
                wait += step;
                let state = sqlstate(refused);
                // It has found the handle, which was gone when it came to take a place.
                between += i32::from(state == "53400");
                assert!(["55000", "53400"].contains(&&*state), "round {round}: {state}");
            }
        }
    }
    println!("{before} before the lock, {after} after it, {between} of these in between");
    assert!(before >= 40 && after >= 40);
    assert_eq!(stat(&mut kept.admin(), "vault_places_used"), 0);
    kept.assert_sound();
}

/// Two that acknowledge or cancel the same: the second finds that there is nothing left to do.
#[test]
fn whoever_comes_second_has_nothing_to_acknowledge_or_cancel() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let calls: [fn(&mut Client, i64) -> bool; 2] =
        [|client, job| acknowledge(client, job, 1), |client, job| cancel(client, job)];
    for call in calls {
        let job = request(&mut app, "42", "imap");
        assert_eq!(take(&mut keeper), Some(job));
        deliver(&mut keeper, job, "{}");
        finish(&mut keeper, job, "done", "ok");
        app.batch_execute("BEGIN").unwrap();
        assert!(call(&mut app, job));
        let mut other = kept.depositor();
        let second = thread::spawn(move || call(&mut other, job));
        // Less than a call waits for a row that another one holds.
        thread::sleep(Duration::from_millis(500));
        app.batch_execute("COMMIT").unwrap();
        assert!(!second.join().unwrap());
    }
    kept.assert_sound();
}
