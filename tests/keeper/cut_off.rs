//! Kills, crashes and cancels at every step: no result is lost, none is read twice as new, no lease is for ever.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::manage;
use password_verify_tests::hold::{Stopped, pid, signal};
use password_verify_tests::keeper::{
    DESTINATION, KeptSite, acknowledge, await_job, deliver, finish, open, request, requests,
    results, secrets, store, take, try_finish, try_open,
};
use password_verify_tests::kill::crash_by;
use password_verify_tests::query::number;
use password_verify_tests::trail::{of_user, settle, wait_for, wait_until, worker};
use password_verify_tests::{attack, sqlstate};
use postgres::Client;

/// A step that can be cut off: who makes it, what it is, and its event.
struct Step {
    event: &'static str,
    by_keeper: bool,
    sql: &'static str,
    /// What has to be so before: is the job leased, and has it a result?
    leased: bool,
    delivered: bool,
    /// Is it as if the step had happened, or had not? Ends with the job ended and acknowledged.
    check: fn(&KeptSite, &str, i64, bool),
}

const STEPS: [Step; 7] = [
    Step {
        event: "store_secret",
        by_keeper: false,
        sql: "SELECT auth.pv_store_secret('USER'::text, 'imap', 'new', 'DESTINATION')",
        leased: false,
        delivered: false,
        check: |kept, _, job, happened| {
            let mut keeper = kept.connector();
            assert_eq!(await_job(&mut keeper), job);
            assert_eq!(open(&mut keeper, job).unwrap(), if happened { "new" } else { "old" });
            finish(&mut keeper, job, "done", "ok");
        },
    },
    Step {
        event: "request",
        by_keeper: false,
        sql: "SELECT auth.pv_request('USER'::text, 'imap', '{}')",
        leased: false,
        delivered: false,
        check: |kept, user, _, happened| {
            let mut keeper = kept.connector();
            let asked = if happened { 2 } else { 1 };
            assert_eq!(requests(&mut kept.depositor(), user).len(), asked);
            for _ in 0..asked {
                let job = await_job(&mut keeper);
                finish(&mut keeper, job, "done", "ok");
            }
            assert_eq!(take(&mut keeper), None);
        },
    },
    Step {
        event: "take_job",
        by_keeper: true,
        sql: "SELECT * FROM auth.pv_take_job('2 seconds')",
        leased: false,
        delivered: false,
        check: |kept, _, job, happened| {
            let mut keeper = kept.connector();
            if !happened {
                assert_eq!(try_open(&mut keeper, job).unwrap(), Err("not_leased".into()));
            }
            assert_eq!(await_job(&mut keeper), job, "no lease is for ever");
            assert_eq!(open(&mut keeper, job), Ok("old".into()));
            finish(&mut keeper, job, "done", "ok");
        },
    },
    Step {
        event: "open_secret",
        by_keeper: true,
        sql: "SELECT auth.pv_open_secret(JOB)",
        leased: true,
        delivered: false,
        check: |kept, _, job, _| {
            // It was opened, and stays so, whatever became of the transaction.
            let mut keeper = kept.connector();
            let opened = (0..4).map(|_| usize::from(open(&mut keeper, job).is_ok())).sum::<usize>();
            assert_eq!(opened, 2, "one of three was used");
            finish(&mut keeper, job, "done", "ok");
        },
    },
    Step {
        event: "deliver",
        by_keeper: true,
        sql: "SELECT auth.pv_deliver(JOB, '{\"n\":2}')",
        leased: true,
        delivered: true,
        check: |kept, _, job, happened| {
            let (mut app, mut keeper) = (kept.depositor(), kept.connector());
            let last = if happened { 2 } else { 1 };
            assert_eq!(results(&mut app, job, 0).len(), last);
            assert_eq!(deliver(&mut keeper, job, r#"{"n":3}"#), last as i64 + 1);
            finish(&mut keeper, job, "done", "ok");
            let seqs: Vec<i64> = results(&mut app, job, 0).iter().map(|result| result.0).collect();
            assert_eq!(seqs, (1..=last as i64 + 1).collect::<Vec<_>>());
        },
    },
    Step {
        event: "ack_results",
        by_keeper: false,
        sql: "SELECT auth.pv_ack_results(JOB, 1)",
        leased: true,
        delivered: true,
        check: |kept, _, job, happened| {
            let mut app = kept.depositor();
            assert_eq!(results(&mut app, job, 0).is_empty(), happened);
            assert_eq!(acknowledge(&mut app, job, 1), !happened);
            assert!(results(&mut app, job, 0).is_empty());
            finish(&mut kept.connector(), job, "done", "ok");
        },
    },
    Step {
        event: "finish_job",
        by_keeper: true,
        sql: "SELECT auth.pv_finish_job(JOB, 'done')",
        leased: true,
        delivered: true,
        check: |kept, user, job, happened| {
            let mut keeper = kept.connector();
            let state = if happened { "imap verified" } else { "imap new" };
            assert_eq!(secrets(&mut kept.depositor(), user), [state]);
            assert_eq!(try_finish(&mut keeper, job, "done", "ok").is_err(), happened);
            assert_eq!(results(&mut kept.depositor(), job, 0).len(), 1, "nothing is lost");
        },
    },
];

impl Step {
    fn sql(&self, user: &str, job: i64) -> String {
        let sql = self.sql.replace("USER", user).replace("JOB", &job.to_string());
        sql.replace("DESTINATION", DESTINATION)
    }
}

/// Everything that has to be there before a step, and the number of the job.
fn prepare(step: &Step, user: &str, app: &mut Client, keeper: &mut Client) -> i64 {
    store(app, user, "imap", "old");
    let job = request(app, user, "imap");
    if step.leased {
        assert_eq!(take(keeper), Some(job));
    }
    if step.delivered {
        assert_eq!(deliver(keeper, job, r#"{"n":1}"#), 1);
    }
    job
}

/// Ends a session from outside, and waits until it is gone.
type End = fn(&KeptSite, i32);

fn cut_off_everywhere(way: &str, end: End) {
    let kept = KeptSite::new();
    let mut cut = 0;
    for (i, step) in STEPS.iter().enumerate() {
        for committed in [false, true] {
            let user = format!("user{i} {committed}");
            let (mut app, mut keeper) = (kept.depositor(), kept.connector());
            let job = prepare(step, &user, &mut app, &mut keeper);
            let mut session = if step.by_keeper { keeper } else { app };
            session.batch_execute("BEGIN").unwrap();
            session.batch_execute(&step.sql(&user, job)).unwrap();
            if committed {
                session.batch_execute("COMMIT").unwrap();
            }
            let pid = pid(&mut session);
            end(&kept, pid);
            assert!(session.batch_execute("COMMIT").is_err(), "{}: it is gone", step.event);
            cut += 1;
            (step.check)(&kept, &user, job, committed);
            let mut admin = kept.admin();
            settle(&mut admin);
            // An opening has no other end than its answer.
            if step.event != "open_secret" {
                let told = of_user(&mut admin, &user);
                let made = told.contains(&format!("{} committed", step.event));
                assert!(made || !committed, "{}: {told:?}", step.event);
                let rolled_back = format!("{} rolled_back", step.event);
                assert_eq!(told.contains(&rolled_back), !committed, "{}: {told:?}", step.event);
            }
            kept.assert_sound();
            assert!(manage(&mut admin, "pv_delete_user", &user));
        }
    }
    attack(&format!("steps of a job cut off by {way} that were half done"), cut, 0);
}

#[test]
fn a_session_that_is_terminated_has_made_a_step_or_not() {
    cut_off_everywhere("pg_terminate_backend", |kept, pid| {
        signal(&kept.site, "pg_terminate_backend", pid);
        let mut admin = kept.admin();
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        wait_until("the session ends", || number(&mut admin, &sql) == 0);
    });
}

#[test]
fn a_server_that_crashes_has_made_a_step_or_not() {
    cut_off_everywhere("a crash", |kept, pid| crash_by(&kept.site.cluster, pid));
}

/// Makes a step that is cancelled while something is in its way: what ends in an error has not happened.
fn cancelled_at<T>(what: &str, in_the_way: impl Fn(&KeptSite) -> T) {
    let kept = KeptSite::new();
    for (i, step) in STEPS.iter().enumerate() {
        let user = format!("user{i}");
        let (mut app, mut keeper) = (kept.depositor(), kept.connector());
        let job = prepare(step, &user, &mut app, &mut keeper);
        let session = if step.by_keeper { &mut keeper } else { &mut app };
        let held = in_the_way(&kept);
        session.batch_execute("SET statement_timeout = '200 ms'").unwrap();
        let ended = sqlstate(session.batch_execute(&step.sql(&user, job)));
        drop(held);
        // Whoever waits for the audit may be told of that first.
        assert!(["57014", "58030"].contains(&&*ended), "{what}: {}: {ended}", step.event);
        session.batch_execute("SET statement_timeout = 0").unwrap();
        if step.event == "open_secret" {
            let opened = (0..4).filter(|_| open(session, job).is_ok()).count();
            assert!((2..=3).contains(&opened), "{what}: {opened}");
        } else {
            (step.check)(&kept, &user, job, false);
        }
        let mut admin = kept.admin();
        settle(&mut admin);
        kept.assert_sound();
        assert!(manage(&mut admin, "pv_delete_user", &user));
    }
    attack(&format!("steps of a job cancelled at {what} that were half done"), STEPS.len(), 0);
}

#[test]
fn what_is_cancelled_before_it_writes_has_not_happened() {
    cancelled_at("a table that is locked", |kept| {
        let mut admin = kept.admin();
        admin.batch_execute("BEGIN; LOCK TABLE password_verify.job, password_verify.secret, password_verify.result").unwrap();
        admin
    });
}

#[test]
fn what_is_cancelled_before_it_is_on_record_has_not_happened() {
    cancelled_at("the audit", |kept| {
        let mut admin = kept.admin();
        Stopped::new(wait_for("a worker is there", || worker(&mut admin)))
    });
}
