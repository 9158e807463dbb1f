//! What is punished stays so over restarts and crashes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use password_verify_tests::calls::manage;
use password_verify_tests::cluster::server;
use password_verify_tests::kill::crash;
use password_verify_tests::throttle::{
    AWAY, FOUR_HASHES, HOME, INVALID, LOCK_SOON, LOCKED, THROTTLED, Tried, VALID, attempt, counts,
    guess, hashes, lock, login, tally,
};
use password_verify_tests::{GOOD, Site};

/// The sites of one server with everything that can be punished, and the logins that were.
struct Punished {
    site: Site,
    locking: Site,
    spent: String,
}

impl Punished {
    fn new() -> Self {
        let cluster = server(&[]);
        let site = Site::on(Arc::clone(&cluster));
        site.configure(&[
            "throttle_free_failures = 2",
            "throttle_first_wait = 3600",
            "throttle_client_failures = 3",
            "throttle_client_refill = 1",
            "throttle_caller_hashes = 16",
            "throttle_caller_refill = 1",
        ]);
        let locking = Site::on(cluster);
        locking.configure(&LOCK_SOON);
        for site in [&site, &locking] {
            site.enroll("victim", GOOD);
            site.enroll("other", GOOD);
        }
        let mut app = site.login();
        assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID);
        (0..2).for_each(|_| assert_eq!(guess(&mut app, "victim", None), INVALID));
        (0..2).for_each(|_| assert_eq!(guess(&mut app, "unknown", None), INVALID));
        (0..3).for_each(|i| assert_eq!(guess(&mut app, &format!("u{i}"), AWAY), INVALID));
        let mut spender = site.login_with(&["verifier"]);
        let spent = spender.query_one("SELECT session_user::text", &[]).unwrap().get(0);
        (0..16).for_each(|i| assert_eq!(guess(&mut spender, &format!("v{i}"), None), INVALID));
        let mut app = locking.login();
        for user in ["victim", "unknown"] {
            lock(&mut app, user);
        }
        Self { site, locking, spent }
    }

    fn is_still_punished(&self, after: &str) {
        let site = &self.site;
        let mut app = site.login();
        let (hashed, ()) = hashes(site, || {
            for user in ["victim", "unknown"] {
                let refused = attempt(&mut app, user, GOOD, None);
                assert_eq!(refused.answer, THROTTLED, "{user} after {after}");
                let wait = refused.retry_after.unwrap();
                assert!(3000.0 < wait && wait <= 3600.0, "{wait} after {after}");
            }
            assert_eq!(login(&mut app, "other", GOOD, AWAY), THROTTLED, "client after {after}");
            let mut spent = site.cluster.connect(&self.spent, &site.database);
            assert_eq!(login(&mut spent, "other", GOOD, None), THROTTLED, "caller after {after}");
        });
        assert_eq!(hashed, 0, "after {after}");
        assert_eq!(login(&mut app, "victim", GOOD, HOME), VALID, "known client after {after}");
        let mut app = self.locking.login();
        for user in ["victim", "unknown"] {
            let locked = attempt(&mut app, user, GOOD, None);
            assert_eq!(locked, Tried { answer: LOCKED.into(), retry_after: None }, "after {after}");
        }
        assert_eq!(login(&mut app, "other", GOOD, None), VALID, "after {after}");
    }
}

#[test]
fn what_is_punished_stays_so_across_restarts_and_crashes() {
    let all = Punished::new();
    let cluster = &all.site.cluster;
    all.is_still_punished("nothing");
    cluster.down();
    cluster.up();
    all.is_still_punished("a clean restart");
    cluster.kill_postmaster();
    cluster.up();
    all.is_still_punished("kill -9 of the postmaster");
    crash(cluster);
    all.is_still_punished("kill -9 of a session");
    // At once after the answers, without a pause in which something could be written.
    let mut app = all.locking.login();
    lock(&mut app, "last");
    cluster.kill_postmaster();
    cluster.up();
    assert_eq!(login(&mut all.locking.login(), "last", GOOD, None), LOCKED);
    let mut app = all.locking.login();
    lock(&mut app, "very last");
    crash(cluster);
    assert_eq!(login(&mut all.locking.login(), "very last", GOOD, None), LOCKED);
    // And what has been ended stays ended.
    let mut manager = all.locking.login_with(&["manager"]);
    assert!(manage(&mut manager, "pv_unlock_user", "victim"));
    cluster.kill_postmaster();
    cluster.up();
    assert_eq!(login(&mut all.locking.login(), "victim", GOOD, None), VALID);
}

#[test]
fn a_budget_that_is_set_for_one_role_survives_too() {
    // The natural way to limit one application.
    let site = Site::on(server(&[]));
    site.enroll("42", GOOD);
    for setting in FOUR_HASHES {
        let sql = format!("ALTER ROLE {} SET password_verify.{setting}", site.app);
        site.admin().batch_execute(&sql).unwrap();
    }
    let mut app = site.login();
    (0..4).for_each(|_| assert_eq!(login(&mut app, "42", GOOD, None), VALID));
    assert_eq!(login(&mut app, "42", GOOD, None), THROTTLED);
    site.cluster.down();
    site.cluster.up();
    assert_eq!(login(&mut site.login(), "42", GOOD, None), THROTTLED, "after a restart");
}

#[test]
fn a_budget_that_was_set_a_moment_ago_survives_too() {
    let site = Site::on(server(&[]));
    site.configure(&["throttle_client_failures = 0"]);
    site.enroll("42", GOOD);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The worker that has begun under another policy stays as long as there is something to do.
        scope.spawn(|| {
            let mut app = site.login();
            while !over.load(Ordering::Relaxed) {
                assert_eq!(login(&mut app, "42", GOOD, None), VALID);
            }
        });
        site.configure(&["throttle_client_failures = 3", "throttle_client_refill = 1"]);
        let mut app = site.login();
        let answers = (0..4).map(|i| guess(&mut app, &format!("unknown{i}"), AWAY));
        let answers: Vec<_> = answers.collect();
        over.store(true, Ordering::Relaxed);
        assert_eq!(tally(answers), counts([(INVALID, 3), (THROTTLED, 1)]));
    });
    crash(&site.cluster);
    assert_eq!(login(&mut site.login(), "42", GOOD, AWAY), THROTTLED, "after a crash");
}
