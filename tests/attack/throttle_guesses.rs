//! How many guesses anybody gets, however they go about it.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use password_verify_tests::crowd::at_once;
use password_verify_tests::throttle::{
    AWAY, HOME, INVALID, THROTTLED, Tried, VALID, attempt, counts, guess, hashes, login, report,
    site_with, statistic, tally,
};
use password_verify_tests::{GOOD, OTHER, Site};
use postgres::Client;

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
                None => assert_eq!(tried.answer, INVALID),
                Some(wait) => {
                    assert_eq!(tried.answer, THROTTLED);
                    assert!(0.0 < wait && wait <= 30.0, "{wait}");
                }
            }
        }
        let answers = tally(tried.into_iter().map(|tried| tried.answer));
        assert_eq!(answers, counts([(INVALID, 5), (THROTTLED, 187)]), "{user}");
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
            wrong += usize::from(guess(&mut app, &format!("victim{i}"), AWAY) == INVALID);
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
    report("the same with 32 connections", 128, answers[INVALID] as i64, 6);
    assert_eq!(answers, counts([(INVALID, 6), (THROTTLED, 122)]));
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
        answers[INVALID] as i64,
        5,
    );
    assert_eq!(answers, counts([(INVALID, 5), (THROTTLED, 59)]));
    assert_eq!(login(&mut site.login(), "victim", GOOD, None), THROTTLED);
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
            (0..3).for_each(|_| assert_eq!(guess(&mut app, user, None), INVALID));
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
        assert!([INVALID, THROTTLED].contains(&answer.as_str()), "{answer}");
        wrong[*account] += usize::from(answer == INVALID);
    }
    assert!(wrong.iter().all(|wrong| *wrong == 2), "exactly two each");
    assert_eq!(login(&mut site.login(), "user50", GOOD, None), THROTTLED);
}
