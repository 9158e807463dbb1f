//! What the audit and its alerts say of a keeper, and how long results are kept.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::create;
use password_verify_tests::keeper::{
    KeptSite, deliver, finish, open, request, requests, results, rows, store, take,
};
use password_verify_tests::query::number;
use password_verify_tests::trail::{settle, wait_until};

const MANY: &str =
    "SELECT count(*) FROM auth.pv_events WHERE action = 'open_secret' AND alert <> 0";

/// Opens the secret of a new job of that user so many times.
fn open_one(kept: &KeptSite, user: &str, times: usize) {
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let job = request(&mut app, user, "imap");
    assert_eq!(take(&mut keeper), Some(job));
    (0..times).for_each(|_| assert_eq!(open(&mut keeper, job), Ok("x".into())));
    finish(&mut keeper, job, "done", "ok");
}

#[test]
fn a_keeper_that_opens_more_secrets_than_are_expected_raises_an_alert() {
    let kept = KeptSite::new();
    kept.site.configure(&["secrets_opened_expected = 4"]);
    let mut admin = kept.admin();
    for i in 0..8 {
        store(&mut kept.depositor(), &format!("user{i}"), "imap", "x");
    }
    // One secret many times is one secret.
    (0..4).for_each(|_| open_one(&kept, "user0", 3));
    for user in ["user1", "user2", "user3"] {
        open_one(&kept, user, 1);
    }
    settle(&mut admin);
    assert_eq!(number(&mut admin, MANY), 0);
    let told =
        |kept: &KeptSite| kept.site.cluster.log().matches(r#""alert":["many_opened"]"#).count();
    open_one(&kept, "user4", 1);
    settle(&mut admin);
    assert_eq!(number(&mut admin, MANY), 1);
    wait_until("it is in the log", || told(&kept) == 1);
    // Once in an hour.
    ["user5", "user6", "user7"].iter().for_each(|user| open_one(&kept, user, 1));
    settle(&mut admin);
    assert_eq!((number(&mut admin, MANY), told(&kept)), (1, 1));
    kept.assert_sound();
}

#[test]
fn results_that_nobody_acknowledges_are_gone_after_a_time() {
    let kept = KeptSite::new();
    // A minute.
    kept.site.configure(&["result_retention = 1"]);
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for user in ["42", "43"] {
        store(&mut app, user, "imap", "x");
    }
    let (old, going_on) = (request(&mut app, "42", "imap"), request(&mut app, "43", "imap"));
    for job in [old, going_on] {
        assert_eq!(take(&mut keeper), Some(job));
        assert_eq!(deliver(&mut keeper, job, "1"), 1);
    }
    finish(&mut keeper, old, "done", "ok");
    let start = Instant::now();
    while !results(&mut app, old, 0).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(100), "it is still there");
        thread::sleep(Duration::from_millis(200));
    }
    assert!(start.elapsed() > Duration::from_secs(50), "not before its time");
    assert_eq!(deliver(&mut keeper, going_on, "2"), 2);
    wait_until("only the newer one is there", || {
        results(&mut app, going_on, 0) == [(2, "2".to_owned())]
    });
    // The rows go, too: at once after a restart.
    drop((app, keeper));
    kept.site.cluster.down();
    kept.site.cluster.up();
    let mut admin = kept.admin();
    wait_until("they are swept away", || {
        create(&mut admin, "poke", "short");
        (rows(&mut admin, "result"), rows(&mut admin, "job")) == (1, 1)
    });
    assert!(requests(&mut kept.depositor(), "42").is_empty());
    finish(&mut kept.connector(), going_on, "done", "ok");
    kept.assert_sound();
}
