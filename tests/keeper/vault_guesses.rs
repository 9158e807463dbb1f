//! How many guesses at a vault password anybody gets, however they go about it.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{create, manage, validate};
use password_verify_tests::crowd::at_once;
use password_verify_tests::keeper::{
    KeptSite, VAULT, VAULT2, change_vault, create_vault, store_in_vault, try_store, unlock,
};
use password_verify_tests::throttle::{
    INVALID, THROTTLED, Tried, VALID, counts, guess, hashes, report, statistic, tally,
};
use password_verify_tests::{Answer, GOOD, WRONG};
use postgres::Client;

/// One attempt to unlock.
fn attempt(client: &mut Client, user: &str, password: &str) -> Tried {
    let sql = "SELECT handle, reason, extract(epoch FROM retry_after)::float8 FROM auth.pv_unlock_vault($1::text, $2)";
    let row = client.query_one(sql, &[&user, &password]).unwrap();
    let (handle, reason): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(handle.is_some(), reason.is_none());
    Tried { answer: reason.unwrap_or_else(|| VALID.into()), retry_after: row.get(2) }
}

#[test]
fn sixty_four_connections_get_as_many_guesses_at_a_vault_as_one() {
    let kept = KeptSite::shared();
    let site = &kept.site;
    // With a vault, without one, and not even a user: they answer and cost alike.
    site.enroll("known", GOOD);
    site.enroll("without", GOOD);
    assert_eq!(create_vault(&mut kept.depositor(), "known", VAULT), Answer::yes());
    for user in ["known", "without", "nobody"] {
        let attack = |i: usize, client: &mut Client| -> Vec<Tried> {
            (0..3).map(|j| attempt(client, user, &format!("guess {i} {j}"))).collect()
        };
        let (hashed, tried) = hashes(site, || at_once(64, |_| kept.depositor(), attack).concat());
        report("64 connections guess at one vault", tried.len(), hashed, 5);
        assert_eq!(hashed, 5, "{user}");
        for tried in &tried {
            match tried.retry_after {
                None => assert_eq!(tried.answer, INVALID),
                Some(wait) => {
                    assert!(0.0 < wait && wait <= 30.0 && tried.answer == THROTTLED, "{wait}")
                }
            }
        }
        let answers = tally(tried.into_iter().map(|tried| tried.answer));
        assert_eq!(answers, counts([(INVALID, 5), (THROTTLED, 187)]), "{user}");
        assert_eq!(attempt(&mut kept.depositor(), user, VAULT).answer, THROTTLED);
    }
    assert_eq!(statistic(site, "unlock_vault_abandoned"), 0);
    // The waits of a vault are not those of the password, nor the other way round.
    assert_eq!(validate(&mut site.login(), "known", GOOD), Answer::yes());
    kept.assert_sound();
}

#[test]
fn whatever_transaction_is_around_it_a_guess_at_a_vault_stays_charged() {
    const GUESS: &str = "SELECT reason FROM auth.pv_unlock_vault('USER'::text, 'guess')";
    let kept = KeptSite::shared();
    let attacks: [(&str, String); 7] = [
        ("rolled back", format!("BEGIN; {GUESS}; ROLLBACK")),
        ("savepoints", format!("BEGIN; SAVEPOINT s; {GUESS}; ROLLBACK TO s; {GUESS}; ROLLBACK TO s; ROLLBACK")),
        ("an error afterwards", format!("{GUESS}; {GUESS}; SELECT 1 / 0")),
        (
            "exceptions",
            "DO $$ BEGIN FOR i IN 1 .. 20 LOOP BEGIN
                 PERFORM auth.pv_unlock_vault('USER'::text, 'guess' || i);
                 RAISE 'undo';
             EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$".into(),
        ),
        (
            "a row each",
            "SELECT reason FROM generate_series(1, 50) i, LATERAL auth.pv_unlock_vault('USER'::text, 'guess' || i)".into(),
        ),
        (
            "to store",
            "BEGIN; SELECT reason FROM auth.pv_store_secret('USER'::text, 'n', 'x',
                 '{\"protocol\":\"imaps\",\"host\":\"a\",\"port\":993,\"login\":\"b\",\"mechanism\":\"PLAIN\"}', 'guess'); ROLLBACK".into(),
        ),
        (
            "to change",
            format!("BEGIN; {GUESS}; SELECT reason FROM auth.pv_change_vault_password('USER'::text, 'guess', '{VAULT2}'); ROLLBACK"),
        ),
    ];
    for (i, (name, sql)) in attacks.iter().enumerate() {
        let user = format!("user{i}");
        assert_eq!(create_vault(&mut kept.depositor(), &user, VAULT), Answer::yes());
        let attack = |_: usize, client: &mut Client| {
            for _ in 0..5 {
                // Some of them end in an error, as they should.
                let _ = client.batch_execute(&sql.replace("USER", &user));
            }
        };
        let refused = || {
            statistic(&kept.site, "unlock_vault_throttled")
                + statistic(&kept.site, "prove_vault_throttled")
        };
        let before = refused();
        let (hashed, _) = hashes(&kept.site, || at_once(8, |_| kept.depositor(), attack));
        report(
            &format!("guesses at a vault: {name}"),
            (hashed + refused() - before) as usize,
            hashed,
            5,
        );
        assert_eq!(hashed, 5, "{name}");
        assert!(refused() - before > 5, "{name}: it was tried more often");
        assert_eq!(attempt(&mut kept.depositor(), &user, VAULT).answer, THROTTLED, "{name}");
    }
    kept.assert_sound();
}

#[test]
fn a_right_vault_password_clears_the_count_and_a_manager_does() {
    let kept = KeptSite::shared();
    let (mut app, mut login, mut admin) = (kept.depositor(), kept.site.login(), kept.admin());
    kept.site.enroll("42", GOOD);
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    for _ in 0..3 {
        (0..4).for_each(|_| assert_eq!(attempt(&mut app, "42", WRONG).answer, INVALID));
        assert_eq!(attempt(&mut app, "42", VAULT).answer, VALID);
    }
    // Wrong passwords of one are nothing to the other.
    (0..5).for_each(|_| assert_eq!(guess(&mut login, "42", None), INVALID));
    assert_eq!(guess(&mut login, "42", None), THROTTLED);
    assert_eq!(attempt(&mut app, "42", VAULT).answer, VALID);
    assert!(manage(&mut admin, "pv_unlock_user", "42"));
    (0..5).for_each(|_| assert_eq!(attempt(&mut app, "42", WRONG).answer, INVALID));
    for password in [WRONG, VAULT] {
        assert_eq!(attempt(&mut app, "42", password).answer, THROTTLED);
        assert_eq!(change_vault(&mut app, "42", password, VAULT2), Answer::no(THROTTLED));
        assert_eq!(
            try_store(&mut app, "42", "n", "x", Some(password)).unwrap(),
            Answer::no(THROTTLED)
        );
    }
    assert_eq!(validate(&mut login, "42", GOOD), Answer::yes());
    assert_eq!(attempt(&mut app, "42", VAULT).answer, THROTTLED, "a login is no vault password");
    assert!(manage(&mut admin, "pv_unlock_user", "42"));
    assert_eq!(attempt(&mut app, "42", VAULT).answer, VALID);
    // Also of somebody who has no password to log in with.
    assert_eq!(create_vault(&mut app, "without", VAULT), Answer::yes());
    (0..5).for_each(|_| assert_eq!(attempt(&mut app, "without", WRONG).answer, INVALID));
    assert_eq!(attempt(&mut app, "without", VAULT).answer, THROTTLED);
    manage(&mut admin, "pv_unlock_user", "without");
    assert_eq!(attempt(&mut app, "without", VAULT).answer, VALID);
    kept.assert_sound();
}

#[test]
fn of_two_changes_at_once_one_is_made() {
    let kept = KeptSite::shared();
    for round in 0..5 {
        let user = format!("user{round}");
        assert_eq!(create_vault(&mut kept.depositor(), &user, VAULT), Answer::yes());
        store_in_vault(&mut kept.depositor(), &user, "imap", "x");
        let news: Vec<String> = (0..6).map(|i| format!("{VAULT2} {i}")).collect();
        let answers =
            at_once(6, |_| kept.depositor(), |i, app| change_vault(app, &user, VAULT, &news[i]));
        let made: Vec<usize> = (0..6).filter(|i| answers[*i].0).collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| !answer.0) {
            assert!(
                [Answer::wrong(), Answer::no("busy"), Answer::no(THROTTLED)].contains(answer),
                "{answer:?}"
            );
        }
        manage(&mut kept.admin(), "pv_unlock_user", &user);
        assert_eq!(attempt(&mut kept.depositor(), &user, &news[made[0]]).answer, VALID);
        assert_eq!(attempt(&mut kept.depositor(), &user, VAULT).answer, INVALID);
    }
    // And of two who make one.
    for round in 0..5 {
        let user = format!("other{round}");
        let answers = at_once(4, |_| kept.depositor(), |_, app| create_vault(app, &user, VAULT));
        assert_eq!(answers.iter().filter(|answer| answer.0).count(), 1, "{answers:?}");
        unlock(&mut kept.depositor(), &user);
    }
    // One of them waits with its transaction open: the other is told so and changes nothing.
    assert_eq!(create(&mut kept.site.login(), "42", GOOD), Answer::yes());
    assert_eq!(create_vault(&mut kept.depositor(), "42", VAULT), Answer::yes());
    let (mut one, mut two) = (kept.depositor(), kept.depositor());
    one.batch_execute("BEGIN").unwrap();
    assert_eq!(change_vault(&mut one, "42", VAULT, VAULT2), Answer::yes());
    assert_eq!(change_vault(&mut two, "42", VAULT, GOOD), Answer::no("busy"));
    one.batch_execute("ROLLBACK").unwrap();
    assert_eq!(change_vault(&mut two, "42", VAULT, VAULT2), Answer::yes());
    unlock_with(&mut two, "42", VAULT2);
    kept.assert_sound();
}

fn unlock_with(app: &mut Client, user: &str, password: &str) {
    assert_eq!(attempt(app, user, password).answer, VALID);
}
