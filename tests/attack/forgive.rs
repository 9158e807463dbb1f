//! A forgotten device repeats an old password: with `throttle_forgive_repeats` that is not held against its owner.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::ask;
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::at_once;
use password_verify_tests::throttle::{AWAY, HOME, INVALID, THROTTLED, VALID, login};
use password_verify_tests::trail::stat;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack};
use postgres::Client;

/// A user whose address is known, and a policy that forgives repeats.
fn site_with(settings: &[&str]) -> Site {
    site_on(Cluster::shared(), settings)
}

fn site_on(cluster: Arc<Cluster>, settings: &[&str]) -> Site {
    let site = Site::on(cluster);
    // 50 wrong ones of an address are the client's limit, which is not what this is about.
    site.configure(&["throttle_forgive_repeats = on", "throttle_client_failures = 0"]);
    site.configure(settings);
    site.enroll("owner", GOOD);
    assert_eq!(login(&mut site.login(), "owner", GOOD, HOME), VALID);
    site
}

/// How many of so many attempts were answered as wrong passwords, before anything else was.
fn wrong_ones(
    app: &mut Client,
    user: &str,
    address: Option<&str>,
    word: impl Fn(usize) -> String,
) -> usize {
    (0..60).take_while(|i| login(app, user, &word(*i), address) == INVALID).count()
}

fn old(_: usize) -> String {
    OTHER.to_owned()
}

#[test]
fn a_forgotten_device_repeats_fifty_times_and_its_owner_logs_in() {
    // 1 that counts, 20 that do not, and 29 that count again.
    let site = site_with(&["throttle_free_failures = 31"]);
    let mut app = site.login();
    for i in 0..50 {
        assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID, "{i}");
    }
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
    // Without it the account waits, which one sees from an address that is not known.
    site.configure(&["throttle_forgive_repeats = off"]);
    let mut app = site.login();
    assert_eq!(wrong_ones(&mut app, "owner", HOME, old), 31);
    assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
}

#[test]
fn twenty_repeats_a_day_are_given_back_and_the_account_is_not_charged_for_them() {
    let site = site_with(&[]);
    let mut app = site.login();
    for _ in 0..21 {
        assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID);
    }
    // One failure, of five: the account does not wait for anybody.
    assert_eq!(login(&mut app, "owner", GOOD, AWAY), VALID);
    assert_eq!(wrong_ones(&mut app, "owner", HOME, old), 5, "the day's are used up");
    assert_eq!(login(&mut app, "owner", GOOD, Some("10.7.7.7")), THROTTLED);
}

#[test]
fn different_wrong_passwords_are_charged_and_two_that_take_turns_are_not() {
    let site = site_with(&[]);
    let mut app = site.login();
    assert_eq!(wrong_ones(&mut app, "owner", HOME, |i| format!("{OTHER} {i}")), 5);
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID, "by the client's own attempts");

    let three = site_with(&[]);
    let mut app = three.login();
    assert_eq!(wrong_ones(&mut app, "owner", HOME, |i| format!("{OTHER} {}", i % 3)), 5);
    let two = site_with(&[]);
    let mut app = two.login();
    assert_eq!(wrong_ones(&mut app, "owner", HOME, |i| format!("{OTHER} {}", i % 2)), 2 + 20 + 3);
}

#[test]
fn nothing_is_remembered_of_clients_that_are_not_known_or_of_nobody() {
    let site = site_with(&[]);
    let mut app = site.login();
    for (user, address) in
        [("owner", AWAY), ("owner", None), ("stranger", HOME), ("stranger", AWAY), ("nobody", None)]
    {
        site.admin().query("SELECT auth.pv_unlock_user('owner'::text)", &[]).unwrap();
        site.admin().query("SELECT auth.pv_unlock_user('stranger'::text)", &[]).unwrap();
        assert_eq!(wrong_ones(&mut app, user, address, old), 5, "{user} {address:?}");
    }
}

#[test]
fn off_as_it_is_every_repeat_is_charged() {
    let site = site_with(&["throttle_forgive_repeats = off"]);
    let mut app = site.login();
    assert_eq!(wrong_ones(&mut app, "owner", HOME, old), 5);
}

#[test]
fn during_a_wait_a_repeat_is_throttled_like_everything_else() {
    let site = site_with(&[]);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID);
    assert_eq!(wrong_ones(&mut app, "owner", AWAY, |i| format!("{OTHER} {i}")), 4);
    for _ in 0..3 {
        assert_eq!(login(&mut app, "owner", OTHER, HOME), THROTTLED);
    }
    assert_eq!(login(&mut app, "owner", GOOD, HOME), VALID);
}

#[test]
fn another_password_of_the_account_is_another_hash() {
    // Former passwords are not compared: what is known again is a wrong password of the current record.
    let site = site_with(&[]);
    let mut app = site.login();
    for _ in 0..10 {
        assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID);
    }
    let sql =
        "SELECT success, reason FROM auth.pv_change_password('owner'::text, $1, $2, '10.1.2.3')";
    let third = "plinth oscillate marzipan";
    assert_eq!(ask(&mut app, sql, &[&GOOD, &third]).unwrap(), Answer::yes());
    // The first counts once more; then 11 of the day's 20 are left.
    assert_eq!(wrong_ones(&mut app, "owner", HOME, old), 1 + 11 + 4);
}

#[test]
fn a_restart_forgets() {
    let site = site_on(server(&[]), &["throttle_free_failures = 2"]);
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID);
    assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID, "given back");
    drop(app);
    site.cluster.down();
    site.cluster.up();
    // The one that counted is kept, and the next counts as well.
    let mut app = site.login();
    assert_eq!(login(&mut app, "owner", OTHER, HOME), INVALID);
    assert_eq!(login(&mut app, "owner", GOOD, AWAY), THROTTLED);
    let stored = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'password_verify' AND column_name ~ 'repeat|mark'";
    assert_eq!(site.admin().query_one(stored, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn sixty_four_connections_get_as_many_repeats_back_as_one() {
    let site = site_with(&[]);
    let before = stat(&mut site.admin(), "hashes");
    let answers = at_once(64, |_| site.login(), |_, app| login(app, "owner", OTHER, HOME));
    let hashed = (stat(&mut site.admin(), "hashes") - before) as usize;
    // 5 that count, 20 that do not, 5 of the client's own.
    attack("repeats of 64 connections at once: 30 hashes allowed", 64, hashed.saturating_sub(30));
    assert_eq!(answers.iter().filter(|answer| *answer == INVALID).count(), 25);

    let before = stat(&mut site.admin(), "hashes");
    site.admin().query("SELECT auth.pv_unlock_user('owner'::text)", &[]).unwrap();
    at_once(64, |_| site.login(), |i, app| login(app, "owner", &format!("{OTHER} {i}"), AWAY));
    let hashed = (stat(&mut site.admin(), "hashes") - before) as usize;
    attack(
        "different guesses where repeats are forgiven: 10 hashes allowed",
        64,
        hashed.saturating_sub(10),
    );
}
