//! Waits and locks of an account, and what ends them.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use password_verify_tests::GOOD;
use password_verify_tests::calls::manage;
use password_verify_tests::crowd::at_once;
use password_verify_tests::throttle::{
    INVALID, LOCK_SOON, LOCKED, THROTTLED, Tried, VALID, attempt, counts, guess, hashes, lock,
    login, site_with, tally, wait_out,
};
use postgres::SimpleQueryMessage;

#[test]
fn waits_double_and_pass_and_end_in_a_lock() {
    let site = site_with(&[
        "throttle_free_failures = 2",
        // Much longer than what is done in one, on a machine that stands still for two seconds too.
        "throttle_first_wait = 3",
        "throttle_max_wait = 9",
        "throttle_lock_after = 5",
    ]);
    site.enroll("known", GOOD);
    let mut app = site.login();
    // The clocks of both run at the same time.
    let users = ["known", "unknown"];
    let mut start = Instant::now();
    for user in users {
        assert_eq!(guess(&mut app, user, None), INVALID);
        assert_eq!(guess(&mut app, user, None), INVALID);
    }
    for wait in [3.0, 6.0, 9.0] {
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
            let refused = if wait < 9.0 { THROTTLED } else { LOCKED };
            assert_eq!(tally(answers), counts([(INVALID, 1), (refused, 7)]), "{user} {wait}");
        }
    }
    for user in users {
        let (hashed, locked) = hashes(&site, || attempt(&mut app, user, GOOD, None));
        assert_eq!(locked, Tried { answer: LOCKED.into(), retry_after: None }, "{user}");
        assert_eq!(hashed, 0);
    }
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
        assert_eq!(guess(&mut app, user, None), INVALID);
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
        assert_eq!(tally(answers), counts([(INVALID, 4), (THROTTLED, 8)]));
    }
}
