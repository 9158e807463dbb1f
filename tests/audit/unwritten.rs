//! What calls come to while their events cannot be written: to no answer, to no change, and to no password in a log.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{CREATE, SET, VALIDATE, ask, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::in_the_way::{
    HIDE, HOLD_TABLE, SHOW, hold_index, is_no_answer, recovers, stop_worker,
};
use password_verify_tests::keeper;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::number;
use password_verify_tests::trail::{assert_intact, epochs, of_user, settle, stat};
use password_verify_tests::whole::assert_whole;
use password_verify_tests::{ALL_KINDS, Answer, GOOD, OTHER, Site, WRONG, refused, sqlstate};
use postgres::Client;

/// What a call came to, and how long it took.
type Timed = (Result<Answer, String>, Duration);

/// The calls at the same time, each in a session of its own that has begun before what is done `first`.
fn at_once(site: &Site, first: impl FnOnce()) -> Vec<Timed> {
    let sessions: Vec<_> = CALLS.iter().map(|_| site.login_with(&ALL_KINDS)).collect();
    first();
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .into_iter()
            .zip(CALLS)
            .map(|(mut session, (sql, args))| {
                scope.spawn(move || {
                    let args: Vec<_> = args
                        .iter()
                        .map(|arg| arg as &(dyn postgres::types::ToSql + Sync))
                        .collect();
                    let start = Instant::now();
                    let answer = ask(&mut session, sql, &args);
                    (answer.map_err(|error| sqlstate::<()>(Err(error))), start.elapsed())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

const CHANGED: &str = "SELECT * FROM auth.pv_change_password($1::text, $2, $3)";

/// What calls come to while their events cannot be written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Nothing could tell them: they wait for their events for as long as they may.
    NotWritten,
    /// A table is locked: nothing is charged, hashed or recorded.
    Busy,
    /// A table is missing: neither.
    NotInstalled,
}

const CALLS: [(&str, &[&str]); 7] = [
    (VALIDATE, &["42", GOOD]),
    (VALIDATE, &["42", WRONG]),
    (VALIDATE, &["nobody", WRONG]),
    (CREATE, &["new", GOOD]),
    (CREATE, &["refused", "short"]),
    (SET, &["setting", OTHER]),
    (CHANGED, &["changing", GOOD, OTHER]),
];

/// Every call at once, and later again.
fn meets_its_fate(site: &Site, fate: Fate, block: impl FnOnce()) -> Vec<Result<Answer, String>> {
    let (mut admin, mut app) = (site.admin(), site.login());
    let figures = |admin: &mut Client| {
        ["hashes", "busy_unrecorded", "changes_unrecorded"].map(|name| stat(admin, name))
    };
    let before = figures(&mut admin);
    let results = at_once(site, || {
        if fate == Fate::NotWritten {
            // The worker is there when it happens: one without work leaves.
            recovers(&mut app);
            settle(&mut admin);
        }
        block();
    });
    let as_expected = |answer: &Result<Answer, String>| match fate {
        Fate::NotWritten => *answer == Err("58030".into()),
        Fate::Busy => *answer == Ok(Answer::no("busy")),
        Fate::NotInstalled => *answer == Err("55000".into()),
    };
    for ((sql, args), (answer, took)) in CALLS.iter().zip(&results) {
        assert!(as_expected(answer), "{sql} {}: {answer:?} {took:?}", args[0]);
        // What is missing is not waited for.
        let waits = fate != Fate::NotInstalled;
        assert!(!waits || *took >= Duration::from_millis(450), "{sql} {}: {took:?}", args[0]);
        assert!(*took < Duration::from_secs(5), "{sql} {}: {took:?}", args[0]);
    }
    // Later there may be no worker at all: still no answer that is one, and no endless wait.
    for _ in 0..3 {
        for (answer, took) in at_once(site, || ()) {
            let later = fate == Fate::NotWritten && is_no_answer(&answer);
            assert!(later || as_expected(&answer), "{answer:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
    let call = "SELECT auth.pv_disable_user('42')";
    let (state, _, hint) = refused(site.login_with(&["manager"]).query(call, &[]));
    let states: &[&str] = match fate {
        Fate::NotWritten => &["58030", "53400"],
        Fate::Busy => &["55P03"],
        Fate::NotInstalled => &["55000"],
    };
    assert!(states.contains(&state.as_str()) && !hint.is_empty(), "{state} {hint}");
    let [hashes, busy, changes] = before;
    match fate {
        Fate::NotWritten => {}
        // Counted in sessions that have not done anything before.
        Fate::Busy => {
            let all = 4 * CALLS.len() as i64;
            assert_eq!(figures(&mut admin), [hashes, busy + all, changes + 1]);
        }
        Fate::NotInstalled => assert_eq!(figures(&mut admin), before),
    }
    results.into_iter().map(|(answer, _)| answer).collect()
}

type Step<'a> = &'a mut dyn FnMut(&mut Client);

/// What every function does while events cannot be written, for one reason after the other, and after that. On
/// a server of its own: the queue is everybody's.
fn fails_closed(site: &Site, blocks: &mut [(Fate, Step<'_>)], unblock: Step<'_>) {
    let mut admin = site.admin();
    for user in ["42", "changing", "setting"] {
        site.enroll(user, GOOD);
    }
    // Whoever comes before and after it is patient.
    let mut app = site.login();
    // Events are waited for, hashes of others need not be.
    site.configure(&["audit_timeout = '500ms'", "queue_timeout = '2s'"]);
    let events = [
        "validate valid",
        "validate invalid_credentials",
        "validate invalid_credentials",
        "create rolled_back",
        "create too_short",
        "set rolled_back",
        "prove valid",
    ];
    let mut blocker = site.admin();
    settle(&mut admin);
    let mut results = Vec::new();
    let mut unseen = true;
    for (fate, block) in blocks {
        let answers = meets_its_fate(site, *fate, || block(&mut blocker));
        results.extend(CALLS.iter().zip(events).zip(answers));
        unseen &= *fate != Fate::NotWritten;
    }

    unblock(&mut blocker);
    recovers(&mut app);
    settle(&mut admin);
    // Whoever had a place in the queue has an event.
    for (((_, args), event), answer) in &results {
        let there = of_user(&mut admin, args[0]).iter().any(|found| found == event);
        assert!(there || *answer != Err("58030".into()), "{}: {event}", args[0]);
    }
    // And nothing was changed by what was not recorded.
    for ((_, args), _) in results.iter().map(|(call, _)| call).filter(|_| unseen) {
        let user = args[0];
        let there = ["42", "changing", "setting"].contains(&user);
        let only: &[&str] = if there { &["create committed"] } else { &[] };
        assert_eq!(of_user(&mut admin, user), only, "{user}");
    }
    for user in ["42", "setting", "changing"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
    assert_eq!(number(&mut admin, "SELECT count(*) FROM auth.pv_users"), 3);
    for user in ["new", "setting", "changing"] {
        let events = of_user(&mut admin, user);
        let later = events.iter().skip(usize::from(user != "new"));
        assert!(!later.clone().any(|event| event.ends_with("committed")), "{user}: {events:?}");
    }
    // Nor charged.
    for user in ["42", "nobody"].iter().filter(|_| unseen) {
        assert_eq!(validate(&mut app, user, WRONG), Answer::no("invalid_credentials"), "{user}");
        assert_eq!(validate(&mut app, user, WRONG), Answer::no("throttled"), "{user}");
    }
    assert_eq!(stat(&mut admin, "queue_used"), 0);
    assert_intact(&mut admin);
    epochs(&mut admin);
}

/// So that one failure that was charged would be seen.
const ONE_FAILURE: [&str; 2] = ["throttle_free_failures = 1", "throttle_first_wait = 60"];

#[test]
fn a_locked_event_table_fails_every_call_and_recovers() {
    let site = Site::on(server(&[]));
    site.configure(&ONE_FAILURE);
    fails_closed(
        &site,
        &mut [(Fate::Busy, &mut |admin| admin.batch_execute(HOLD_TABLE).unwrap())],
        &mut |admin| admin.batch_execute("COMMIT").unwrap(),
    );
}

/// The worker waits for it, at first. Then there is none until it comes through.
#[test]
fn a_locked_index_of_the_event_table_fails_every_call_and_recovers() {
    fails_closed(
        &Site::on(server(&[])),
        &mut [(Fate::NotWritten, &mut |admin| {
            admin.batch_execute(&hold_index("event_pkey")).unwrap()
        })],
        &mut |admin| admin.batch_execute("COMMIT").unwrap(),
    );
}

#[test]
fn a_missing_event_table_fails_every_call_and_recovers() {
    let site = Site::on(server(&[]));
    site.configure(&ONE_FAILURE);
    fails_closed(
        &site,
        &mut [(Fate::NotInstalled, &mut |admin| admin.batch_execute(HIDE).unwrap())],
        &mut |admin| admin.batch_execute(SHOW).unwrap(),
    );
}

/// Every function of the keeper that is recorded.
const OF_THE_KEEPER: [&str; 13] = [
    "SELECT reason FROM auth.pv_open_secret($)",
    "SELECT reason FROM auth.pv_unlock_vault('Ann'::text, 'an orchard of brass lanterns')",
    "SELECT reason FROM auth.pv_store_secret('Ann'::text, 'mail', 'x', '{\"protocol\":\"imaps\",\"host\":\"a.example\",\"port\":993,\"login\":\"a\",\"mechanism\":\"PLAIN\"}')",
    "SELECT reason FROM auth.pv_create_vault('Cid'::text, 'an orchard of brass lanterns')",
    "SELECT job::text FROM auth.pv_take_job()",
    "SELECT auth.pv_deliver($, '{}')::text",
    "SELECT auth.pv_store_rotated($, 'x')::text",
    "SELECT auth.pv_finish_job($, 'done')::text",
    "SELECT auth.pv_ack_results($, 1)::text",
    "SELECT auth.pv_request('Ann'::text, 'mail', '{}')::text",
    "SELECT auth.pv_cancel_request($)::text",
    "SELECT auth.pv_forget_secret('Ann'::text, 'mail')::text",
    "SELECT auth.pv_delete_vault('Ann'::text)::text",
];

/// What is opened or changed is on record first.
#[test]
fn the_keeper_opens_and_keeps_nothing_while_its_events_cannot_be_written() {
    let site = sealed_site(&line("a", &fresh_key()));
    let mut admin = site.admin();
    keeper::fill(&mut admin, ["Ann", "Bob"]);
    keeper::store(&mut admin, "Cid", "mail", "hunter3");
    keeper::request(&mut admin, "Cid", "mail");
    let job = keeper::requests(&mut admin, "Ann")[0].0;
    site.configure(&["audit_timeout = '500ms'", "queue_timeout = '1s'"]);
    let mut blocker = site.admin();
    for (block, unblock, states) in [
        (HOLD_TABLE, "COMMIT", &["busy", "55P03"][..]),
        (HIDE, SHOW, &["55000"]),
        // Nothing could tell them before: they wait for their events for as long as they may.
        (&hold_index("event_pkey"), "COMMIT", &["58030", "53400", "busy"]),
    ] {
        recovers(&mut site.login());
        settle(&mut admin);
        let before = keeper::contents(&mut admin);
        blocker.batch_execute(block).unwrap();
        let mut client = site.admin();
        for sql in OF_THE_KEEPER {
            let answer = match client.query_opt(&sql.replace('$', &job.to_string()), &[]) {
                Ok(row) => row.and_then(|row| row.get(0)).unwrap_or_else(|| "done".into()),
                Err(error) => sqlstate::<()>(Err(error)),
            };
            assert!(states.contains(&answer.as_str()), "{block}: {sql}: {answer}");
        }
        blocker.batch_execute(unblock).unwrap();
        recovers(&mut site.login());
        settle(&mut admin);
        assert_eq!(keeper::contents(&mut admin), before, "{block}");
        if block == HIDE {
            // Nor charged.
            for _ in 0..2 {
                assert_eq!(keeper::open(&mut admin, job), Ok("hunter2".into()));
            }
        }
    }
    // Of three openings, at most one is left.
    let opened = (0..3).filter(|_| keeper::open(&mut admin, job).is_ok()).count();
    assert!(opened <= 1, "{opened}");
    settle(&mut admin);
    assert_intact(&mut admin);
    assert_whole(&mut admin);
}

#[test]
fn an_event_table_that_goes_missing_loses_nothing_that_was_on_its_way() {
    let site = Site::on(server(&[]));
    let stopped = RefCell::new(None);
    fails_closed(
        &site,
        &mut [
            (Fate::NotWritten, &mut |_| drop(stopped.replace(Some(stop_worker(&site))))),
            (Fate::NotInstalled, &mut |admin| {
                admin.batch_execute(HIDE).unwrap();
                // It finds out, and rests.
                drop(stopped.take());
            }),
        ],
        &mut |admin| admin.batch_execute(SHOW).unwrap(),
    );
}

#[test]
fn a_password_in_a_statement_that_is_not_recorded_is_not_logged() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut patient = site.login();
    site.configure(&["audit_timeout = '200ms'", "queue_timeout = '200ms'"]);
    let (mut admin, mut app) = (site.admin(), site.login_with(&ALL_KINDS));
    let calls = [
        "SELECT auth.pv_validate_password('42'::text, 'literal secret number one')",
        "SELECT auth.pv_set_password('42'::text, 'literal secret number two')",
        "DO $$ BEGIN PERFORM auth.pv_set_password('42'::text, 'literal secret number three'); END $$",
        "SELECT auth.pv_validate_password('42'::text, 'literal secret number four'), auth.pv_disable_user('42'::text)",
    ];
    let index = hold_index("event_pkey");
    for (block, unblock, states, certain) in [
        (index.as_str(), "COMMIT", &["58030", "53400", "no error"][..], &[0, 1, 2][..0]),
        (HOLD_TABLE, "COMMIT", &["no error", "55P03"], &[3]),
        (HIDE, SHOW, &["55000"], &[0, 1, 2, 3]),
    ] {
        recovers(&mut app);
        settle(&mut admin);
        admin.batch_execute(block).unwrap();
        for (i, sql) in calls.into_iter().enumerate() {
            let state = sqlstate(app.batch_execute(sql));
            assert!(states.contains(&state.as_str()), "{state}: {sql}");
            assert!(!certain.contains(&i) || state != "no error", "{block}: {sql}");
        }
        admin.batch_execute(unblock).unwrap();
    }
    recovers(&mut app);
    assert_eq!(validate(&mut patient, "42", GOOD), Answer::yes());
    let log = site.cluster.log();
    for error in [
        "the audit event of this call was not written in time",
        "a table of password_verify is locked by another session",
        "the tables of password_verify are missing or incomplete",
    ] {
        assert!(log.contains(error), "{error}");
    }
    assert!(!log.contains("literal secret"));
}
