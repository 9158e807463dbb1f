//! Whoever knows the password gets in: at the same moment as others, after a wait, and whatever strangers do.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{manage, set};
use password_verify_tests::crowd::at_once;
use password_verify_tests::hold::LATE;
use password_verify_tests::throttle::{
    AWAY, BUSY, HOME, INVALID, LOCKED, THROTTLED, VALID, attempt, counts, guess, hashes, login,
    site_with, tally, wait_out,
};
use password_verify_tests::{Answer, GOOD, OTHER};

#[test]
fn right_logins_of_one_account_at_once_all_succeed() {
    // Sixty hashes may be before one's own.
    let site = site_with(&[LATE]);
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
        assert_eq!(tally(answers), counts([(VALID, 60), (INVALID, 4)]), "{address:?}");
        assert_eq!(login(&mut site.login(), "42", GOOD, None), VALID);
    }
}

#[test]
fn after_a_wait_right_logins_at_once_all_succeed_too() {
    let site = site_with(&["throttle_free_failures = 2", "throttle_first_wait = 3"]);
    site.enroll("42", GOOD);
    let mut app = site.login();
    (0..2).for_each(|_| assert_eq!(guess(&mut app, "42", None), INVALID));
    wait_out(&attempt(&mut app, "42", GOOD, None));
    let answers = at_once(6, |_| site.login(), |_, client| login(client, "42", GOOD, None));
    assert_eq!(tally(answers), counts([(VALID, 6)]));
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
            assert_eq!(guess(&mut app, "owner", address), INVALID);
            assert_eq!(guess(&mut app, "homeless", address), INVALID);
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
    (0..2).for_each(|_| assert_eq!(guess(&mut app, "42", None), INVALID));
    assert_eq!(login(&mut app, "42", GOOD, HOME), THROTTLED);
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
        assert_eq!(guess(&mut app, user, None), INVALID);
        for address in here {
            assert_eq!(login(&mut app, user, GOOD, Some(address)), VALID, "{address}");
        }
        assert_eq!(login(&mut app, user, GOOD, Some(elsewhere)), THROTTLED, "{elsewhere}");
    }
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
                [None, Some(BUSY), Some(INVALID)].contains(&other.as_deref()),
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
