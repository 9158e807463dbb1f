//! Budgets of clients and callers, beside those of accounts.
#![allow(clippy::unwrap_used)]

use password_verify_tests::GOOD;
use password_verify_tests::crowd::at_once;
use password_verify_tests::throttle::{
    AWAY, FOUR_HASHES, HOME, INVALID, THROTTLED, VALID, attempt, counts, guess, hashes, login,
    report, site_with, tally,
};
use postgres::Client;

#[test]
fn one_client_has_one_budget_however_it_is_spelled() {
    let masks = |address: &str, bits: u32| -> Vec<String> {
        (0..=bits).map(|bits| format!("{address}/{bits}")).collect()
    };
    let mut v4 = masks("10.1.2.3", 32);
    v4.extend(["10.1.2.3".into(), "::ffff:10.1.2.3".into(), "::ffff:10.1.2.3/96".into()]);
    let site = site_with(&["throttle_client_failures = 8", "throttle_client_refill = 1"]);
    let mut app = site.login();
    let v6 =
        |i: usize| format!("2001:db8:1:2:{:x}:{:x}::{i:x}/{}", i * 7919 % 65521, i, i * 3 % 129);
    let v6: Vec<String> = (0..40).map(v6).collect();
    let others = ["10.1.2.4", "::10.1.2.3", "2001:db8:1:3::1", "2001:db8:1:1:ffff::"];
    for (name, spellings) in [("v4", v4), ("v6", v6)] {
        let (hashed, answers) = hashes(&site, || {
            let guesses = spellings.iter().enumerate();
            let guesses = guesses
                .map(|(i, address)| guess(&mut app, &format!("{name} user{i}"), Some(address)));
            guesses.collect::<Vec<_>>()
        });
        report(&format!("spellings of one {name} address"), spellings.len(), hashed, 8);
        assert_eq!(tally(answers), counts([(INVALID, 8), (THROTTLED, spellings.len() - 8)]));
        assert_eq!(hashed, 8);
        for address in others {
            assert_eq!(guess(&mut app, &format!("{name} {address}"), Some(address)), INVALID);
        }
        assert_eq!(guess(&mut app, "somebody", None), INVALID, "no address is none");
    }
}

#[test]
fn a_caller_is_charged_for_right_and_wrong_alike() {
    let site = site_with(&FOUR_HASHES);
    site.enroll("42", GOOD);
    site.enroll("owner", GOOD);
    let mut other = site.login_with(&["verifier"]);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    assert_eq!(login(&mut app, "42", GOOD, None), VALID);
    assert_eq!(guess(&mut app, "42", None), INVALID);
    assert_eq!(guess(&mut app, "unknown", None), INVALID);
    let refused = |client: &mut Client| {
        let (hashed, refused) = hashes(&site, || attempt(client, "42", GOOD, None));
        assert_eq!((refused.answer.as_str(), hashed), (THROTTLED, 0));
        let wait = refused.retry_after.unwrap();
        assert!(0.0 < wait && wait <= 60.0, "{wait}");
    };
    refused(&mut app);
    refused(&mut site.login());
    // Another role to act as is not another login.
    let mut admin = site.admin();
    let acting = format!("{}_acting", site.app);
    admin
        .batch_execute(&format!(
            "CREATE ROLE {acting}; GRANT {acting} TO {}; GRANT USAGE, CREATE ON SCHEMA auth TO {acting};
             SELECT auth.pv_grant('{acting}', 'verifier');
             CREATE FUNCTION public.as_another() RETURNS text LANGUAGE sql SECURITY DEFINER
                 AS $$ SELECT reason FROM auth.pv_validate_password('42'::text, '{GOOD}') $$;
             ALTER FUNCTION public.as_another() OWNER TO {acting};",
            site.app
        ))
        .unwrap();
    app.batch_execute(&format!("SET ROLE {acting}")).unwrap();
    refused(&mut app);
    let row = app.query_one("SELECT public.as_another()", &[]).unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), Some(THROTTLED));
    app.batch_execute("RESET ROLE; SET LOCAL ROLE NONE").unwrap();
    refused(&mut app);
    // What was refused is not held against the account.
    (0..3).for_each(|_| assert_eq!(login(&mut other, "42", GOOD, None), VALID));
    for _ in 0..4 {
        assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID, "a known client passes");
    }
    assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
    assert_eq!(login(&mut app, "42", GOOD, HOME), THROTTLED);
}

#[test]
fn strangers_at_a_caller_do_not_keep_known_clients_out() {
    // A botnet behind an honest application: many addresses, none of them known.
    let site = site_with(&FOUR_HASHES);
    site.enroll("owner", GOOD);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    let (hashed, answers) = hashes(&site, || {
        let bots =
            (0..40).map(|i| guess(&mut app, &format!("user{i}"), Some(&format!("10.8.0.{i}"))));
        bots.collect::<Vec<_>>()
    });
    // What is hashed of them is thrown away: nobody learns from it which address is known.
    println!("40 bots behind one application: {hashed} hashed");
    assert_eq!(tally(answers).get(THROTTLED), Some(&37));
    for _ in 0..6 {
        assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    }
}

#[test]
fn many_connections_of_a_caller_are_one_caller() {
    let site = site_with(&["throttle_caller_hashes = 10", "throttle_caller_refill = 1"]);
    site.enroll("42", GOOD);
    let (hashed, answers) = hashes(&site, || {
        at_once(
            24,
            |_| site.login(),
            |i, client| {
                (0..3)
                    .map(|j| login(client, if j == 0 { "42" } else { "43" }, GOOD, None))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .chain([guess(client, &format!("unknown{i}"), None)])
                    .collect::<Vec<_>>()
            },
        )
    });
    report("24 connections of one login role", 96, hashed, 10);
    assert_eq!(hashed, 10);
    let answers = tally(answers.concat());
    assert_eq!(answers.get(THROTTLED), Some(&86), "{answers:?}");
}

#[test]
fn a_right_password_that_the_caller_cannot_pay_is_not_held_against_the_account() {
    // The owner is at a new address while somebody else has used up the application's hashes.
    let site = site_with(&[&FOUR_HASHES[..], &["throttle_free_failures = 2"]].concat());
    site.enroll("owner", GOOD);
    let (mut app, mut other) = (site.login(), site.login_with(&["verifier"]));
    (0..4).for_each(|i| assert_eq!(guess(&mut app, &format!("unknown{i}"), None), INVALID));
    for _ in 0..4 {
        assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
    }
    assert_eq!(login(&mut other, "owner", GOOD, None), VALID);
}
