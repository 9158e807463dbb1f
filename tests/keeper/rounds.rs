//! Rounds of jobs: repeated, tried again, and blocked until there is another secret.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::keeper::{
    KeptSite, acknowledge, cancel, deliver, finish, open, request, requests, rows, secrets, store,
    take,
};
use postgres::Client;

/// When a job is due again, as only a superuser can see it, in seconds after its last round was finished.
fn due_after(kept: &KeptSite, job: i64) -> f64 {
    let sql = "SELECT extract(epoch FROM 'epoch'::timestamptz + interval '30 years'
                      + (('x' || left(replace(due::text, '-', ''), 16))::bit(64)::bigint & ((1::bigint << 61) - 1)) * interval '1 us'
                      - finished_at)::float8
                 FROM password_verify.job WHERE ('x' || left(replace(key::text, '-', ''), 16))::bit(64)::bigint = $1";
    kept.admin().query_one(sql, &[&job]).unwrap().get(0)
}

/// Waits for what is due in a minute at most.
fn await_round(keeper: &mut Client) -> i64 {
    let start = Instant::now();
    loop {
        if let Some(job) = take(keeper) {
            return job;
        }
        assert!(start.elapsed() < Duration::from_secs(100), "nothing is due");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_request_that_repeats_comes_back_on_time_and_ends() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let repeat = "SELECT auth.pv_request('42'::text, 'imap', '{}', $1::text::interval, clock_timestamp() + $2::text::interval)";
    let mut again = |every: &str, until: &str| -> i64 {
        app.query_one(repeat, &[&every, &until]).unwrap().get(0)
    };
    let (twice, once) = (again("1 minute", "100 seconds"), again("1 minute", "50 seconds"));
    let due = |kept: &KeptSite| -> Vec<(i64, f64)> {
        let sql = "SELECT request, extract(epoch FROM due_at)::float8 FROM auth.pv_requests('42') WHERE state <> 'ended'";
        kept.depositor()
            .query(sql, &[])
            .unwrap()
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect()
    };
    let first = due(&kept).into_iter().find(|(job, _)| *job == twice).unwrap().1;
    for _ in 0..2 {
        let job = take(&mut keeper).unwrap();
        deliver(&mut keeper, job, r#"{"round":1}"#);
        finish(&mut keeper, job, "done", "ok");
    }
    assert_eq!(take(&mut keeper), None);
    let mut app = kept.depositor();
    let states = |app: &mut Client| -> BTreeSet<(i64, String)> {
        requests(app, "42").into_iter().map(|(job, state, _)| (job, state)).collect()
    };
    let waiting = (twice, "imap waiting done ok".to_owned());
    let ended = |job| (job, "imap ended done ok".to_owned());
    assert_eq!(
        states(&mut app),
        [waiting.clone(), ended(once)].into(),
        "there is no room for another round"
    );
    let [(_, next)] = due(&kept)[..] else { panic!("one is left") };
    assert!(
        (next - first - 60.0).abs() < 1e-5,
        "a minute after the first was due, not after it was done"
    );
    // What is delivered can be acknowledged in between, without an end of it.
    assert!(acknowledge(&mut app, twice, 1));
    assert!(acknowledge(&mut app, once, 1));
    assert_eq!(states(&mut app), [waiting].into());

    assert_eq!(await_round(&mut keeper), twice);
    assert_eq!(deliver(&mut keeper, twice, r#"{"round":2}"#), 2);
    finish(&mut keeper, twice, "failed", "too_large");
    assert_eq!(states(&mut app), [(twice, "imap ended failed too_large".to_owned())].into());
    assert!(acknowledge(&mut app, twice, 2));
    assert_eq!(rows(&mut kept.admin(), "job"), 0);
    kept.assert_sound();
}

#[test]
fn what_is_to_be_tried_again_waits_longer_each_time() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    finish(&mut keeper, job, "retry", "unavailable");
    assert_eq!(requests(&mut app, "42"), [(job, "imap waiting retry unavailable".into(), 0)]);
    // Up to a quarter less, so that not all come again at once.
    let wait = due_after(&kept, job);
    assert!((22.5..=30.0).contains(&wait), "{wait}");
    assert_eq!(take(&mut keeper), None);
    assert_eq!(secrets(&mut app, "42"), ["imap new"], "it says nothing of the secret");
    assert_eq!(await_round(&mut keeper), job);
    assert_eq!(open(&mut keeper, job), Ok("x".into()));
    finish(&mut keeper, job, "retry", "timeout");
    let wait = due_after(&kept, job);
    assert!((45.0..=60.0).contains(&wait), "{wait}");
    assert!(cancel(&mut app, job));
    assert!(!cancel(&mut app, job));
    kept.assert_sound();
}

#[test]
fn what_is_rejected_waits_for_another_secret() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "wrong");
    let jobs = [(); 3].map(|()| request(&mut app, "42", "imap"));
    assert_eq!(take(&mut keeper), Some(jobs[0]));
    finish(&mut keeper, jobs[0], "rejected", "credential_refused");
    let states = |app: &mut Client| -> BTreeSet<String> {
        requests(app, "42").into_iter().map(|(_, state, _)| state).collect()
    };
    // None of them tries it again: too many wrong logins lock mailboxes.
    for _ in 0..4 {
        assert_eq!(take(&mut keeper), None);
    }
    let refused = "imap blocked rejected credential_refused".to_owned();
    assert_eq!(states(&mut app), ["imap blocked".into(), refused].into());
    let later = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), None);
    assert!(cancel(&mut app, later));
    store(&mut app, "42", "imap", "right");
    let mut done = BTreeSet::new();
    while let Some(job) = take(&mut keeper) {
        assert_eq!(open(&mut keeper, job), Ok("right".into()));
        finish(&mut keeper, job, "done", "ok");
        done.insert(job);
    }
    assert_eq!(done, jobs.into());
    kept.assert_sound();
}
