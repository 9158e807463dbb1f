//! The numbers: under load, in a flood and while somebody verifies, what clients, events and statistics say agrees.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, change, create, manage, set, validate};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::pid;
use password_verify_tests::in_the_way::{hold_index, recovers};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{
    assert_intact, await_no_worker, counts, epochs, settle, stat, verify, wait_until,
};
use password_verify_tests::{ALL_KINDS, Answer, GOOD, OTHER, Site, WRONG, attack};
use postgres::Client;

/// What one client did: how often each "action outcome" must be on record, and hashes.
#[derive(Default)]
struct Ledger {
    counts: BTreeMap<String, i64>,
    calls: i64,
    hashes: i64,
}

impl Ledger {
    fn note(&mut self, action: &str, outcome: &str) {
        *self.counts.entry(format!("{action} {outcome}")).or_default() += 1;
    }

    fn call(&mut self, action: &str, answer: &Answer, yes: &str) {
        self.calls += 1;
        self.note(action, answer.1.as_deref().unwrap_or(yes));
    }
}

fn mixed_load(site: &Site, thread: usize, rounds: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let client = &mut site.cluster.connect("all_kinds", &site.database);
    let mine = format!("mine{thread}");
    let long = "x".repeat(4097);
    let (mut old, mut new) = (GOOD, OTHER);
    for round in 0..rounds {
        // Refused: hashed never, or a few times over all connections.
        for victim in 0..6 {
            let answer = validate(client, &format!("victim{}", (round + victim) % 10), WRONG);
            ledger.call("validate", &answer, "valid");
            ledger.hashes += i64::from(answer == Answer::no("invalid_credentials"));
            let answer = validate(client, &format!("anybody{thread}-{round}-{victim}"), &long);
            ledger.call("validate", &answer, "valid");
            let answer = create(client, &format!("anybody{thread}-{victim}"), "short");
            ledger.call("create", &answer, "committed");
            let answer = set(client, &mine, "vzvzvzvzvzvzvzvz");
            ledger.call("set", &answer, "committed");
            let answer = change(client, &mine, WRONG, &long);
            ledger.call("change", &answer, "committed");
        }
        ledger.call("create", &create(client, &mine, OTHER), "committed");
        // Right ones.
        let answer = validate(client, &mine, old);
        assert_eq!(answer, Answer::yes());
        ledger.call("validate", &answer, "valid");
        ledger.hashes += 1;
        // Changes, of which every other one is taken back.
        let commit = round % 2 == 0;
        let outcome = if commit { "committed" } else { "rolled_back" };
        let mut open = client.transaction().unwrap();
        let sql = "SELECT auth.pv_disable_user($1::text), auth.pv_require_change($1::text), auth.pv_enable_user($1::text)";
        open.query_one(sql, &[&mine]).unwrap();
        ledger.calls += 3;
        for action in ["disable", "require_change", "enable"] {
            ledger.note(action, outcome);
        }
        if commit {
            open.commit().unwrap()
        } else {
            open.rollback().unwrap()
        }
        if round % 8 == 0 {
            let answer = change(client, &mine, old, old);
            assert_eq!(answer, Answer::no("reused"));
            ledger.note("prove", "valid");
            ledger.call("change", &answer, "");
            let answer = change(client, &mine, old, new);
            assert_eq!(answer, Answer::yes());
            ledger.note("prove", "valid");
            ledger.call("change", &answer, "committed");
            std::mem::swap(&mut old, &mut new);
            ledger.hashes += 2;
            let other = format!("other{thread}");
            ledger.call("set", &set(client, &other, GOOD), "committed");
            assert!(manage(client, "pv_delete_user", &other));
            ledger.calls += 1;
            ledger.note("delete", "committed");
        }
        // After a change is required, logging in needs one.
        if commit && round % 8 != 0 {
            let answer = validate(client, &mine, old);
            assert_eq!(answer, Answer::no("change_required"));
            ledger.call("validate", &answer, "valid");
            ledger.hashes += 1;
        }
        if commit {
            let answer = set(client, &mine, old);
            assert_eq!(answer, Answer::yes());
            ledger.call("set", &answer, "committed");
        }
    }
    ledger
}

#[test]
fn after_a_mixed_load_clients_events_and_statistics_agree() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin
        .batch_execute("CREATE ROLE all_kinds LOGIN; GRANT USAGE ON SCHEMA auth TO all_kinds")
        .unwrap();
    for kind in ALL_KINDS {
        admin.execute("SELECT auth.pv_grant('all_kinds', $1)", &[&kind]).unwrap();
    }
    let mut total = Ledger::default();
    for thread in 0..16 {
        ledger_create(&mut total, &mut admin, &format!("mine{thread}"));
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|thread| {
                let site = &site;
                scope.spawn(move || mixed_load(site, thread, 36))
            })
            .collect();
        for thread in threads {
            let ledger = thread.join().unwrap();
            total.calls += ledger.calls;
            total.hashes += ledger.hashes;
            ledger
                .counts
                .into_iter()
                .for_each(|(what, count)| *total.counts.entry(what).or_default() += count);
        }
    });
    settle(&mut admin);
    println!("{} calls in {:?}", total.calls, start.elapsed());
    assert!(total.calls >= 20_000, "{}", total.calls);
    assert!(total.hashes >= 500, "{}", total.hashes);
    // What was too busy to be recorded is only counted; there should be none of it.
    assert_eq!(stat(&mut admin, "busy_unrecorded"), 0);
    assert_eq!(counts(&mut admin), total.counts);
    // A change is counted before it is known what becomes of it.
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    for (what, count) in &total.counts {
        let what = what.replace("committed", "pending").replace("rolled_back", "pending");
        *counted.entry(what.replace(' ', "_")).or_default() += count;
    }
    for (statistic, count) in counted {
        assert_eq!(stat(&mut admin, &statistic), count, "{statistic}");
    }
    assert_eq!(stat(&mut admin, "hashes"), total.hashes);
    attack(
        "calls of a mixed load that clients, pv_events and pv_stats count differently",
        total.calls as usize,
        0,
    );
    let rows = assert_intact(&mut admin);
    assert_eq!(rows, number(&mut admin, "SELECT count(*) FROM password_verify.event"));
    epochs(&mut admin);
}

/// Somebody verifies and is in the middle of rows that are not committed yet, and then they are.
#[test]
fn verifying_while_others_write_finds_nothing_wrong() {
    let (mut verified, mut wrong) = (0, Vec::new());
    for _ in 0..4 {
        let site = Site::new();
        site.configure(&[
            "audit_durability = async",
            "audit_timeout = '1s'",
            "queue_timeout = '1s'",
        ]);
        let (mut app, mut index, mut row) = (site.login(), site.admin(), site.admin());
        validate(&mut app, "42", WRONG);
        settle(&mut index);
        let mut auditors: Vec<_> = (0..8).map(|_| site.admin()).collect();
        let pid = |auditor: &mut Client| pid(auditor).to_string();
        let pids: Vec<String> = auditors.iter_mut().map(pid).collect();
        let signal = |name: &str| run(Command::new("kill").arg(name).args(&pids));
        // The worker, which is there, cannot write this budget, and for now nothing at all.
        recovers(&mut app);
        row.batch_execute("BEGIN; SELECT FROM password_verify.throttle FOR UPDATE").unwrap();
        index.batch_execute(&hold_index("open_change_pkey")).unwrap();
        let many = "SELECT count(auth.pv_create_password(i::text, 'short')) \
                    FROM generate_series(1, 450) i";
        let _ = app.query(many, &[]);
        let _ = ask(&mut app, VALIDATE, &[&"42", &WRONG]);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = AtEnd(&stop);
            let threads: Vec<_> = auditors
                .into_iter()
                .map(|mut auditor| {
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut verdicts = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            verdicts.push(verify(&mut auditor));
                        }
                        verdicts
                    })
                })
                .collect();
            // Now it can, and does when it has written hundreds of rows: all but that one.
            index.batch_execute("COMMIT").unwrap();
            thread::sleep(Duration::from_millis(200));
            signal("-STOP");
            // Should one of them hold what the commit needs, it goes on anyway.
            let wake = scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                signal("-CONT");
            });
            row.batch_execute("COMMIT").unwrap();
            wake.join().unwrap();
            thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                let verdicts = thread.join().unwrap();
                verified += verdicts.len();
                wrong.extend(verdicts.into_iter().filter(|verdict| !verdict.intact));
            }
        });
        recovers(&mut app);
        settle(&mut index);
        assert_intact(&mut index);
        // They had something to be in the middle of.
        let written = "SELECT count(*) FROM auth.pv_events WHERE outcome = 'too_short'";
        assert!(number(&mut index, written) > 400);
    }
    println!("verified {verified} times, {} false alarms", wrong.len());
    assert!(wrong.is_empty(), "{} of {verified}: {:?}", wrong.len(), wrong[0]);
}

fn ledger_create(ledger: &mut Ledger, client: &mut Client, user: &str) {
    let answer = create(client, user, GOOD);
    assert_eq!(answer, Answer::yes());
    ledger.call("create", &answer, "committed");
}

#[test]
fn a_flood_becomes_a_counted_row() {
    let site = Site::new();
    site.configure(&[
        "throttle_free_failures = 1",
        "throttle_first_wait = '1h'",
        "throttle_lock_after = 100",
    ]);
    let (mut admin, mut app) = (site.admin(), site.login());
    assert_eq!(validate(&mut app, "42", WRONG), Answer::no("invalid_credentials"));
    let sql = "SELECT count(*) FROM generate_series(1, 1000) i, auth.pv_validate_password('42', 'guess' || i, '192.0.2.1') v
                WHERE v.reason = 'throttled'";
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut app = site.login();
            scope.spawn(move || assert_eq!(number(&mut app, sql), 1000));
        }
    });
    settle(&mut admin);
    let rows = |admin: &mut Client| -> Vec<(Option<i64>, i64, Option<i32>, bool)> {
        let sql = "SELECT seq, count, pid, since < at AND login_role IS NOT NULL AND host(client_addr) = '192.0.2.1'
                     FROM auth.pv_events WHERE user_id = '42' AND outcome = 'throttled' ORDER BY seq NULLS LAST";
        admin
            .query(sql, &[])
            .unwrap()
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
            .collect()
    };
    let found = rows(&mut admin);
    assert_eq!(found.len(), 2, "the first, and the others in one: {found:?}");
    assert!(found[0].0.is_some() && found[0].1 == 1 && found[0].2.is_some());
    assert_eq!((found[1].0, found[1].1, found[1].2, found[1].3), (None, 2999, None, true));
    assert_intact(&mut admin);
    // The worker leaves and another comes, and goes on counting where the first has stopped.
    await_no_worker(&mut admin);
    let one_more = "SELECT reason FROM auth.pv_validate_password('42', 'guess', '192.0.2.1')";
    assert_eq!(text(&mut app, one_more), "throttled");
    assert_eq!(rows(&mut admin)[1].1, 3000);
    // When its minute is over it is a row of the chain. Not by itself if nothing happens: by and by.
    thread::sleep(Duration::from_secs(60));
    validate(&mut app, "somebody else", WRONG);
    wait_until("the fold is closed", || rows(&mut admin).iter().all(|row| row.0.is_some()));
    let found = rows(&mut admin);
    assert_eq!((found.len(), found[1].1), (2, 3000), "{found:?}");
    assert_eq!(text(&mut app, one_more), "throttled");
    assert_eq!(
        number(
            &mut admin,
            "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = '42' AND outcome = 'throttled'"
        ),
        3002
    );
    assert_eq!(stat(&mut admin, "validate_throttled"), 3002);
    assert_intact(&mut admin);
}
