//! Jobs: in which order they are taken, by whom, how often, and what they bring.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use password_verify_tests::crowd::at_once;
use password_verify_tests::keeper::{
    KeptSite, acknowledge, await_job, cancel, deliver, finish, open, request, request_many,
    requests, results, rows, store, take, take_for, try_finish, try_request, try_store, try_take,
};
use password_verify_tests::query::number;
use password_verify_tests::trail::{SOON, wait_for, wait_until};
use password_verify_tests::{Answer, refused, sqlstate};
use postgres::fallible_iterator::FallibleIterator;

#[test]
fn the_oldest_comes_first_and_nobody_twice_before_the_others() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let mut ask = |user: &str, name: &str| {
        store(&mut app, user, name, "x");
        request(&mut app, user, name)
    };
    let a = ["one", "two", "three"].map(|name| ask("a", name));
    let (b, c) = (ask("b", "one"), ask("c", "one"));
    assert_eq!(take(&mut keeper), Some(a[0]));
    // A job of `a` is leased: the others come first, the oldest of them before.
    assert_eq!(take(&mut keeper), Some(b));
    assert_eq!(take(&mut keeper), Some(c));
    assert_eq!(take(&mut keeper), Some(a[1]));
    let late = ask("d", "one");
    assert_eq!(take(&mut keeper), Some(late));
    finish(&mut keeper, a[0], "done", "ok");
    finish(&mut keeper, a[1], "done", "ok");
    assert_eq!(take(&mut keeper), Some(a[2]));
    assert_eq!(take(&mut keeper), None);
    kept.assert_sound();
}

#[test]
fn there_is_one_lease_of_a_secret_and_the_others_are_not_kept_from_theirs() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    // More of one secret than a call looks at, and one of another secret of the same user.
    let many = request_many(&mut app, "42", 1, 40);
    store(&mut app, "42", "imap", "x");
    let other = request(&mut app, "42", "imap");
    let first = take(&mut keeper).unwrap();
    assert!(many.contains(&first));
    assert_eq!(take(&mut keeper), Some(other), "it is due, and nobody has its secret");
    assert_eq!(take(&mut keeper), None, "all others are of the first one");
    finish(&mut keeper, first, "done", "ok");
    let second = take(&mut keeper).unwrap();
    assert!(many.contains(&second) && second != first);
    assert_eq!(take(&mut keeper), None);
    kept.assert_sound();
}

#[test]
fn users_with_very_many_jobs_keep_nobody_from_theirs() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let greedy: Vec<Vec<i64>> =
        (0..6).map(|i| request_many(&mut app, &format!("greedy{i}"), 2, 100)).collect();
    store(&mut app, "modest", "imap", "x");
    let modest = request(&mut app, "modest", "imap");
    let taken: Vec<i64> = (0..13).filter_map(|_| take(&mut keeper)).collect();
    // Not after all of theirs: after so many as a call looks at.
    assert!(
        taken.iter().position(|job| *job == modest).is_some_and(|at| (1..13).contains(&at)),
        "{taken:?}"
    );
    let of = |jobs: &Vec<i64>| taken.iter().filter(|job| jobs.contains(*job)).count();
    assert!(greedy.iter().all(|jobs| of(jobs) == 2), "one of each secret: {taken:?}");
    assert_eq!(take(&mut keeper), None);
    // Nobody has more that are not over.
    assert_eq!(sqlstate(try_request(&mut app, "greedy0", "secret 0", None)), "54000");
    kept.assert_sound();
}

#[test]
fn a_lease_that_ends_is_no_lease_any_more() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut other) = (kept.depositor(), kept.connector(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take_for(&mut keeper, "1 second"), Some(job));
    assert_eq!(open(&mut keeper, job), Ok("x".into()));
    assert_eq!(await_job(&mut other), job);
    // Leases belong to jobs, not to sessions: which of the two it was is not told. But the first one has ended.
    assert_eq!((0..3).map(|_| open(&mut other, job)).collect::<Vec<_>>(), vec![Ok("x".into()); 3]);
    assert_eq!(open(&mut keeper, job), Err("throttled".into()));
    finish(&mut other, job, "done", "ok");

    let job = request(&mut app, "42", "imap");
    assert_eq!(take_for(&mut keeper, "1 second"), Some(job));
    let late = "SELECT auth.pv_deliver($1, '{}')";
    wait_until("the lease ends", || keeper.query(late, &[&job]).is_err());
    for call in ["pv_deliver($1, '{}')", "pv_store_rotated($1, 'y')", "pv_finish_job($1, 'done')"] {
        let (state, message, _) = refused(keeper.query(&format!("SELECT auth.{call}"), &[&job]));
        assert_eq!((&*state, &*message), ("55000", "the job is not leased"), "{call}");
    }
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    assert_eq!(requests(&mut app, "42").iter().filter(|row| row.0 == job).count(), 1);
    assert_eq!(take(&mut other), Some(job));
    kept.assert_sound();
}

/// Two keepers, of whom one was away for longer than its lease: its number tells them apart.
#[test]
fn a_lease_has_a_number() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    let first = try_take(&mut keeper, "1 second").unwrap().unwrap();
    let second = wait_for("it is due again", || try_take(&mut keeper, "1 hour").unwrap());
    assert_eq!((first.job, second.job), (job, job));
    assert!(first.lease < second.lease);
    let sql = "SELECT secret, reason FROM auth.pv_open_secret($1, $2)";
    for lease in [first.lease, second.lease + 1, 0, -1, i64::MAX] {
        let row = keeper.query_one(sql, &[&job, &lease]).unwrap();
        let (secret, reason): (Option<&str>, &str) = (row.get(0), row.get(1));
        assert!(
            secret.is_none() && ["not_leased", "throttled"].contains(&reason),
            "{lease}: {reason}"
        );
        for call in [
            "pv_deliver($1, '{}', $2)",
            "pv_store_rotated($1, 'y', $2)",
            "pv_finish_job($1, 'done', 'ok', $2)",
        ] {
            assert_eq!(
                sqlstate(keeper.query(&format!("SELECT auth.{call}"), &[&job, &lease])),
                "55000",
                "{call}"
            );
        }
    }
    // What the others have tried is not held against the one who has it.
    for _ in 0..3 {
        let row = keeper.query_one(sql, &[&job, &second.lease]).unwrap();
        assert_eq!(row.get::<_, Option<&str>>(0), Some("x"));
    }
    keeper.query("SELECT auth.pv_store_rotated($1, 'y', $2)", &[&job, &second.lease]).unwrap();
    keeper.query("SELECT auth.pv_deliver($1, '{}', $2)", &[&job, &second.lease]).unwrap();
    keeper
        .query("SELECT auth.pv_finish_job($1, 'done', 'ok', $2)", &[&job, &second.lease])
        .unwrap();
    assert_eq!(requests(&mut app, "42"), [(job, "imap ended done ok".into(), 1)]);
    kept.assert_sound();
}

#[test]
fn what_others_hold_is_passed() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut other) = (kept.depositor(), kept.connector(), kept.connector());
    for user in ["a", "b", "c"] {
        store(&mut app, user, "imap", "x");
    }
    let [a, b, c] = ["a", "b", "c"].map(|user| request(&mut app, user, "imap"));
    let mut taking = other.transaction().unwrap();
    assert_eq!(take(&mut taking), Some(a));
    assert_eq!(take(&mut keeper), Some(b), "the first is being taken");
    let mut admin = kept.admin();
    let mut held = admin.transaction().unwrap();
    held.batch_execute("SELECT FROM password_verify.secret WHERE user_id = 'c' FOR UPDATE")
        .unwrap();
    assert_eq!(take(&mut keeper), None);
    taking.rollback().unwrap();
    assert_eq!(take(&mut keeper), Some(a), "it was not taken after all");
    held.rollback().unwrap();
    assert_eq!(take(&mut keeper), Some(c));
    let mut held = admin.transaction().unwrap();
    held.batch_execute("SELECT FROM password_verify.job FOR UPDATE").unwrap();
    let start = Instant::now();
    assert_eq!(sqlstate(try_finish(&mut keeper, a, "done", "ok")), "55P03");
    assert_eq!(sqlstate(app.query("SELECT auth.pv_cancel_request($1)", &[&a])), "55P03");
    assert_eq!(try_store(&mut app, "a", "imap", "y", None).unwrap(), Answer::no("busy"));
    assert!(start.elapsed() < SOON, "nobody waits for ever");
    held.rollback().unwrap();
    finish(&mut keeper, a, "done", "ok");
    kept.assert_sound();
}

#[test]
fn results_can_be_read_again_until_they_are_acknowledged() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    let all: Vec<(i64, String)> = (1..=5).map(|i| (i, format!("{{\"n\": {i}}}"))).collect();
    for (seq, result) in &all {
        assert_eq!(deliver(&mut keeper, job, result), *seq);
    }
    for after in [-1, 0, 2, 4, 5, i64::MAX] {
        for _ in 0..2 {
            let expected = all.iter().filter(|(seq, _)| *seq > after).cloned();
            assert_eq!(results(&mut app, job, after), expected.collect::<Vec<_>>(), "{after}");
        }
    }
    assert!(!acknowledge(&mut app, job, 0) && !acknowledge(&mut app, job, i64::MIN));
    assert!(acknowledge(&mut app, job, 2));
    assert!(!acknowledge(&mut app, job, 2) && !acknowledge(&mut app, job, 1));
    assert_eq!(results(&mut app, job, 0), all[2..]);
    // More than there are: what comes later is not acknowledged before it is there.
    assert!(acknowledge(&mut app, job, i64::MAX));
    assert_eq!(deliver(&mut keeper, job, r#"{"n":6}"#), 6);
    assert_eq!(results(&mut app, job, 0), [(6, r#"{"n": 6}"#.into())]);
    // Delivered, but not committed: nobody reads it yet.
    keeper.batch_execute("BEGIN").unwrap();
    assert_eq!(deliver(&mut keeper, job, "7"), 7);
    assert_eq!(results(&mut app, job, 6), []);
    keeper.batch_execute("ROLLBACK").unwrap();
    assert_eq!(deliver(&mut keeper, job, "8"), 7);
    finish(&mut keeper, job, "done", "ok");
    assert!(acknowledge(&mut app, job, 6));
    assert_eq!(requests(&mut app, "42"), [(job, "imap ended done ok".into(), 1)]);
    assert!(acknowledge(&mut app, job, 7));
    assert!(requests(&mut app, "42").is_empty() && !acknowledge(&mut app, job, 7));
    kept.assert_sound();
}

#[test]
fn there_are_no_more_of_anything_than_there_may_be() {
    let kept = KeptSite::shared();
    kept.site.configure(&["secrets_per_user = 3"]);
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for name in ["one", "two", "three"] {
        store(&mut app, "42", name, "x");
    }
    let full = try_store(&mut app, "42", "four", "x", None).unwrap();
    assert_eq!(full, Answer::no("too_many"));
    store(&mut app, "42", "three", "in place of one that is there");
    store(&mut app, "43", "four", "x");
    // Requests, those among them that are over.
    let first = request(&mut app, "42", "one");
    assert_eq!(take(&mut keeper), Some(first));
    finish(&mut keeper, first, "done", "ok");
    for i in 0..199 {
        request(&mut app, "42", ["one", "two"][i % 2]);
    }
    for name in ["one", "two", "three"] {
        assert_eq!(sqlstate(try_request(&mut app, "42", name, None)), "54000");
    }
    request(&mut app, "43", "four");
    assert!(acknowledge(&mut app, first, 0));
    let last = request(&mut app, "42", "one");
    assert_eq!(sqlstate(try_request(&mut app, "42", "one", None)), "54000");
    assert!(cancel(&mut app, last));
    request(&mut app, "42", "one");
    // Results.
    let job = take(&mut keeper).unwrap();
    let deliver_many = "SELECT count(auth.pv_deliver($1, '{}')) FROM generate_series(1, $2)";
    let mut delivered = |count: i32| keeper.query_one(deliver_many, &[&job, &count]);
    assert_eq!(delivered(1000).unwrap().get::<_, i64>(0), 1000);
    assert_eq!(sqlstate(delivered(1)), "54000");
    assert!(acknowledge(&mut app, job, 1));
    assert_eq!(delivered(1).unwrap().get::<_, i64>(0), 1);
    assert_eq!(sqlstate(delivered(1)), "54000");
    let seqs: Vec<i64> = results(&mut app, job, 0).iter().map(|result| result.0).collect();
    assert_eq!(seqs, (2..=1001).collect::<Vec<i64>>());
    assert!(cancel(&mut app, job));
    assert_eq!(rows(&mut kept.admin(), "result"), 0);
    kept.assert_sound();
}

#[test]
fn keepers_are_woken_without_being_told_why() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    keeper.batch_execute("LISTEN password_verify_jobs").unwrap();
    let mut heard = |what: &str| -> usize {
        let mut count = 0;
        let mut all = keeper.notifications();
        // Another session of this database would be heard as well: nobody else works here.
        while let Some(told) = all
            .timeout_iter(Duration::from_millis(if count == 0 { 5000 } else { 300 }))
            .next()
            .unwrap()
        {
            assert_eq!((told.channel(), told.payload()), ("password_verify_jobs", ""), "{what}");
            count += 1;
        }
        count
    };
    store(&mut app, "42", "imap", "x");
    assert!(heard("a secret is stored") <= 1);
    app.batch_execute("BEGIN").unwrap();
    request(&mut app, "42", "imap");
    app.batch_execute("ROLLBACK").unwrap();
    request(&mut app, "42", "imap");
    assert_eq!(heard("a request"), 1);
}

#[test]
fn every_job_is_taken_exactly_once() {
    const JOBS: i64 = 200;
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    for i in 0..JOBS {
        let user = format!("user{}", i % 40);
        let name = format!("secret {}", i / 40);
        store(&mut app, &user, &name, &format!("of {user}"));
        request(&mut app, &user, &name);
    }
    let taken = Mutex::new(Vec::new());
    at_once(
        4,
        |_| kept.connector(),
        |_, keeper| {
            let start = Instant::now();
            while taken.lock().unwrap().len() < JOBS as usize {
                assert!(start.elapsed() < 4 * SOON, "not all are taken");
                let Some(job) = take(keeper) else { continue };
                taken.lock().unwrap().push(job);
                assert!(open(keeper, job).unwrap().starts_with("of user"));
                assert_eq!(deliver(keeper, job, "{}"), 1);
                finish(keeper, job, "done", "ok");
            }
        },
    );
    let taken = taken.into_inner().unwrap();
    assert_eq!(taken.len(), JOBS as usize);
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), JOBS as usize, "none twice");
    let mut admin = kept.admin();
    assert_eq!(rows(&mut admin, "result"), JOBS);
    let leases = "SELECT sum(leases)::bigint FROM password_verify.job WHERE state = 'ended'";
    assert_eq!(number(&mut admin, leases), JOBS);
    kept.assert_sound();
}

#[test]
fn a_secret_is_never_leased_twice_at_once() {
    const JOBS: usize = 40;
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    for user in ["a", "b"] {
        store(&mut app, user, "imap", user);
        (0..JOBS / 2).for_each(|_| assert!(request(&mut app, user, "imap") > 0));
    }
    let (held, done) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    at_once(
        6,
        |_| kept.connector(),
        |_, keeper| {
            let start = Instant::now();
            while done.load(Ordering::Relaxed) < JOBS {
                assert!(start.elapsed() < 4 * SOON, "not all are taken");
                let Some(taken) = try_take(keeper, "1 hour").unwrap() else { continue };
                assert!(held.lock().unwrap().insert(taken.user.clone()), "somebody holds it");
                assert_eq!(open(keeper, taken.job), Ok(taken.user.clone()));
                assert!(held.lock().unwrap().remove(&taken.user));
                finish(keeper, taken.job, "done", "ok");
                done.fetch_add(1, Ordering::Relaxed);
            }
        },
    );
    assert_eq!(rows(&mut kept.admin(), "job"), JOBS as i64);
    kept.assert_sound();
}
