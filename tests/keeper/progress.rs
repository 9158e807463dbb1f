//! What the keeper notes of how far it has come: with a result or not at all, and for the next one who has the job.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::rename;
use password_verify_tests::keeper::{
    KeptSite, Taken, acknowledge, deliver, finish, note, request, requests, results, rows, store,
    take, try_note, try_take,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::rotation::{ROTATE, activate, keys, left};
use password_verify_tests::trail::{settle, wait_for};
use password_verify_tests::whole::problem;
use password_verify_tests::{keyring, sqlstate};
use postgres::Client;

/// The job that is taken next, and what was noted of it.
fn taken(keeper: &mut Client, lease: &str) -> (i64, Option<String>) {
    let Taken { job, progress, .. } = wait_for("a job", || try_take(keeper, lease).unwrap());
    (job, progress)
}

/// The same for the next round, which is due in a minute at most.
fn next_round(keeper: &mut Client) -> (i64, Option<String>) {
    let start = Instant::now();
    loop {
        if let Some(Taken { job, progress, .. }) = try_take(keeper, "1 hour").unwrap() {
            return (job, progress);
        }
        assert!(start.elapsed() < Duration::from_secs(100), "nothing is due");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A request whose secret is stored anew while it is leased is due again at once.
fn again(app: &mut Client, keeper: &mut Client, job: i64) {
    store(app, "42", "imap", "anew");
    finish(keeper, job, "done", "ok");
}

#[test]
fn it_comes_with_the_next_lease_and_the_next_round() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let sql =
        "SELECT auth.pv_request('42'::text, 'imap', '{}', '1 minute', now() + interval '1 day')";
    let job = number(&mut app, sql);
    assert_eq!(taken(&mut keeper, "1 second"), (job, None));
    deliver(&mut keeper, job, "{}");
    assert_eq!(note(&mut keeper, job, Some(r#"{"next": 7}"#)), 2);
    // The lease ends, and somebody else has it.
    let noted = |text: &str| (job, Some(text.to_owned()));
    assert_eq!(taken(&mut keeper, "1 hour"), noted(r#"{"next": 7}"#));
    // A result with nothing to note leaves it as it was, and the last one counts.
    deliver(&mut keeper, job, "{}");
    note(&mut keeper, job, None);
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), noted(r#"{"next": 7}"#));
    for next in 8..11 {
        note(&mut keeper, job, Some(&format!("{{\"next\": {next}}}")));
    }
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), noted(r#"{"next": 10}"#));
    // `null` is something to note.
    note(&mut keeper, job, Some("null"));
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), noted("null"));
    // Whatever becomes of the results, of the user's name, and of the round.
    note(&mut keeper, job, Some("11"));
    assert!(acknowledge(&mut app, job, 99));
    assert!(rename(&mut kept.admin(), "42", "43").0);
    finish(&mut keeper, job, "done", "ok");
    assert_eq!(next_round(&mut keeper), noted("11"));
    // Another request knows nothing of it.
    finish(&mut keeper, job, "failed", "internal");
    let other = request(&mut app, "43", "imap");
    assert_eq!(taken(&mut keeper, "1 hour"), (other, None));
    kept.assert_sound();
}

#[test]
fn it_is_noted_with_its_result_or_not_at_all() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    note(&mut keeper, job, Some("1"));
    for (begin, end) in [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT")] {
        keeper.batch_execute(begin).unwrap();
        assert_eq!(note(&mut keeper, job, Some("2")), 2);
        keeper.batch_execute(end).unwrap();
    }
    // Nor where one of the two is refused.
    let long = format!("\"{}\"", "x".repeat(2047));
    assert_eq!(sqlstate(try_note(&mut keeper, job, "{}", Some(&long))), "22023");
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(sqlstate(try_note(&mut keeper, job, &long, Some("2"))), "22023");
    let sql = "SELECT auth.pv_deliver($1, '{}', 99, '2')";
    assert_eq!(sqlstate(keeper.query(sql, &[&job])), "55000", "another lease");
    assert_eq!(results(&mut app, job, 0).len(), 1);
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), (job, Some("1".into())));
    // There is no room for another result.
    let sql = "SELECT count(auth.pv_deliver($1, '{}', NULL, '3')) FROM generate_series(1, 999)";
    keeper.query(sql, &[&job]).unwrap();
    assert_eq!(sqlstate(try_note(&mut keeper, job, "{}", Some("4"))), "54000");
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), (job, Some("3".into())));
    assert_eq!(rows(&mut kept.admin(), "result"), 1000);
    // Nor after the lease.
    finish(&mut keeper, job, "done", "ok");
    assert_eq!(sqlstate(try_note(&mut keeper, job, "{}", Some("5"))), "55000");
    kept.assert_sound();
}

/// It is the keeper's own: the application has no use for it, and somebody who has the application none either.
#[test]
fn no_function_of_a_depositor_shows_it() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    note(&mut keeper, job, Some("\"canary\""));
    let mut shown = String::new();
    for call in [
        "pv_secrets('42'::text)".to_owned(),
        "pv_requests('42'::text)".into(),
        format!("pv_results({job})"),
        format!("pv_read_mail({job})"),
        format!("pv_read_attachment({job})"),
    ] {
        let sql = format!("SELECT string_agg(c::text, ' ') FROM auth.{call} c");
        shown += &text(&mut app, &sql);
    }
    assert!(shown.contains("imap") && shown.contains(&job.to_string()), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(sqlstate(app.query("SELECT progress FROM password_verify.job", &[])), "42501");
    let sql = "SELECT count(*) FROM password_verify.job WHERE progress ~ 'canary'";
    assert_eq!(number(&mut kept.admin(), sql), 0, "it is sealed");
    assert_eq!(requests(&mut app, "42").len(), 1);
}

#[test]
fn one_that_is_another_jobs_is_an_altered_row() {
    let kept = KeptSite::new();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for user in ["42", "43"] {
        store(&mut app, user, "imap", "x");
        let job = request(&mut app, user, "imap");
        assert_eq!(take(&mut keeper), Some(job));
        note(&mut keeper, job, Some(user));
    }
    settle(&mut admin);
    let [own, other] = ["42", "43"].map(|user| requests(&mut app, user)[0].0);
    for set in [
        "progress = (SELECT o.progress FROM password_verify.job o WHERE o.key <> j.key)",
        "progress = j.what",
        "what = j.progress",
        "progress = NULL",
        "progress = ''",
        "progress = 'x'",
    ] {
        let mut open = admin.transaction().unwrap();
        open.batch_execute(&format!("UPDATE password_verify.job j SET {set}")).unwrap();
        for (job, call) in [
            (own, "pv_deliver($1, '{}')"),
            (own, "pv_deliver($1, '{}', NULL, '1')"),
            (other, "pv_finish_job($1, 'done')"),
            (other, "pv_cancel_request($1)"),
        ] {
            let mut inner = open.transaction().unwrap();
            let state = sqlstate(inner.query(&format!("SELECT auth.{call}"), &[&job]));
            assert_eq!(state, "XX001", "{set}: {call}");
        }
        assert_eq!(problem(&mut open).unwrap().0, "job", "{set}");
    }
    again(&mut app, &mut keeper, own);
    assert_eq!(taken(&mut keeper, "1 hour"), (own, Some("42".into())));
    kept.assert_sound();
}

#[test]
fn a_rotation_seals_it_with_the_newest_key() {
    let kept = KeptSite::new();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    note(&mut keeper, job, Some("1"));
    assert!(acknowledge(&mut app, job, 1));
    // Of this one nothing is noted any more.
    store(&mut app, "43", "imap", "x");
    let other = request(&mut app, "43", "imap");
    assert_eq!(take(&mut keeper), Some(other));
    note(&mut keeper, other, Some("1"));
    let newer = keyring::line("b", &keyring::fresh_key());
    assert!(acknowledge(&mut app, other, 1));
    let sealed_with = "SELECT string_agg(concat_ws(' ', split_part(what, '$', 4), split_part(progress, '$', 4)), ', ' ORDER BY created_at)
                         FROM password_verify.job";
    assert_eq!(text(&mut admin, sealed_with), "a a, a a");
    activate(&kept.site, &format!("{}{newer}", kept.keys), "b");
    // The secrets, and the jobs, which count once.
    assert_eq!((left(&mut admin), keys(&mut admin)), (4, "a 4, b active 0".into()));
    note(&mut keeper, job, Some("2"));
    assert!(acknowledge(&mut app, job, 2));
    // And once for each key that it needs.
    assert_eq!(text(&mut admin, sealed_with), "a b, a a");
    assert_eq!((left(&mut admin), keys(&mut admin)), (4, "a 4, b active 1".into()));
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!(text(&mut admin, sealed_with), "b b, b b");
    assert_eq!((left(&mut admin), keys(&mut admin)), (0, "b active 4".into()));
    again(&mut app, &mut keeper, job);
    assert_eq!(taken(&mut keeper, "1 hour"), (job, Some("2".into())));
    store(&mut app, "43", "imap", "anew");
    finish(&mut keeper, other, "done", "ok");
    assert_eq!(taken(&mut keeper, "1 hour"), (other, Some("1".into())));
    kept.assert_sound();
}
