//! The address of the application's client, in the spellings that applications come by.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::ask;
use password_verify_tests::{Answer, GOOD, Site, sqlstate};
use postgres::Client;

/// As README shows it: a text from a socket or a header, with a zone or without, or empty.
const AS_DOCUMENTED: &str = "SELECT * FROM auth.pv_validate_password(
    $1::text, $2, NULLIF(split_part($3::text, '%', 1), '')::inet)";

fn attempt(client: &mut Client, user: &str, password: &str, address: &str) -> Answer {
    ask(client, AS_DOCUMENTED, &[&user, &password, &address]).unwrap()
}

/// Every client has three wrong passwords.
fn site() -> Site {
    let site = Site::new();
    site.configure(&["throttle_client_failures = 3", "throttle_client_refill = 1"]);
    site.enroll("alice", GOOD);
    site
}

/// Uses up what `address` may fail.
fn exhaust(app: &mut Client, address: &str) {
    for n in 0..3 {
        let wrong = Answer::no("invalid_credentials");
        assert_eq!(attempt(app, &format!("{address}-{n}"), "wrong", address), wrong, "{address}");
    }
    assert_eq!(attempt(app, "alice", GOOD, address), Answer::no("throttled"), "{address}");
}

#[test]
fn behind_nat64_one_client_that_guesses_keeps_nobody_else_out() {
    let site = site();
    let app = &mut site.login();
    exhaust(app, "64:ff9b::198.51.100.1");
    assert_eq!(attempt(app, "alice", GOOD, "64:ff9b::198.51.100.2"), Answer::yes());
    assert_eq!(attempt(app, "alice", GOOD, "64:ff9b:1::198.51.100.3"), Answer::yes());
    // It is the same client without the translator.
    assert_eq!(attempt(app, "alice", GOOD, "198.51.100.1"), Answer::no("throttled"));
    assert_eq!(attempt(app, "alice", GOOD, "::ffff:198.51.100.1"), Answer::no("throttled"));
}

#[test]
fn by_6to4_one_ipv4_address_has_one_budget() {
    let site = site();
    let app = &mut site.login();
    exhaust(app, "2002:c633:6407:1::1");
    for address in ["2002:c633:6407:2::1", "2002:c633:6407:ffff::", "198.51.100.7"] {
        assert_eq!(attempt(app, "alice", GOOD, address), Answer::no("throttled"), "{address}");
    }
    assert_eq!(attempt(app, "alice", GOOD, "2002:c633:6408:1::1"), Answer::yes());
}

#[test]
fn an_address_with_a_zone_and_no_address_are_passed_as_documented() {
    let site = site();
    let app = &mut site.login();
    // PostgreSQL reads neither, whoever asks.
    for text in ["fe80::1%eth0", ""] {
        assert_eq!(sqlstate(app.query("SELECT $1::text::inet", &[&text])), "22P02", "{text:?}");
    }
    exhaust(app, "fe80::1%eth0");
    assert_eq!(attempt(app, "alice", GOOD, "fe80::1"), Answer::no("throttled"));
    assert_eq!(attempt(app, "alice", GOOD, ""), Answer::yes());
}
