//! A busy server that crashes again and again: no result is lost, none is read twice as new, no lease is for ever.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use password_verify_tests::attack;
use password_verify_tests::calls::create;
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::keeper::{
    KeptSite, finish, requests, results, store, take_for, try_finish, try_open, try_request,
};
use password_verify_tests::kill::crash_by;
use password_verify_tests::told::chance;
use password_verify_tests::trail::wait_until;

/// What keepers and the application were told, while the server crashes under them.
#[derive(Default)]
struct Told {
    delivered: Mutex<BTreeMap<(i64, i64), String>>,
    acknowledged: Mutex<BTreeMap<i64, i64>>,
    /// Acknowledgements that were asked for, and perhaps made.
    asked: Mutex<BTreeMap<i64, i64>>,
    answers: AtomicUsize,
}

fn keep_working(kept: &KeptSite, told: &Told, stop: &AtomicBool, name: usize) -> Option<()> {
    let mut keeper = kept.site.cluster.try_connect(&kept.connector, &kept.site.database).ok()?;
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(row) =
            keeper.query_opt("SELECT job FROM auth.pv_take_job('2 seconds')", &[]).ok()?
        else {
            continue;
        };
        let job: i64 = row.get(0);
        try_open(&mut keeper, job).ok()?.ok()?;
        for j in 0..2 {
            let result = format!("\"{name} {i} {j}\"");
            let row = keeper
                .query_one("SELECT auth.pv_deliver($1, $2::text::jsonb)", &[&job, &result])
                .ok()?;
            told.delivered.lock().unwrap().insert((job, row.get(0)), result);
            told.answers.fetch_add(1, Ordering::Relaxed);
        }
        try_finish(&mut keeper, job, "done", "ok").ok()?;
    }
    Some(())
}

fn keep_asking(kept: &KeptSite, told: &Told, stop: &AtomicBool, user: &str) -> Option<()> {
    let mut app = kept.site.cluster.try_connect(&kept.depositor, &kept.site.database).ok()?;
    while !stop.load(Ordering::Relaxed) {
        let all = app.query("SELECT request FROM auth.pv_requests($1::text)", &[&user]).ok()?;
        if all.len() < 20 {
            try_request(&mut app, user, "imap", None).ok()?;
        }
        for row in &all {
            let job: i64 = row.get(0);
            let read = app.query("SELECT seq FROM auth.pv_results($1)", &[&job]).ok()?;
            let before = told.acknowledged.lock().unwrap().get(&job).copied().unwrap_or_default();
            let seqs: Vec<i64> = read.iter().map(|row| row.get(0)).collect();
            assert!(
                seqs.iter().all(|seq| *seq > before),
                "read twice as new: {seqs:?} after {before}"
            );
            let Some(last) = seqs.last() else { continue };
            told.asked.lock().unwrap().insert(job, *last);
            app.query_one("SELECT auth.pv_ack_results($1, $2)", &[&job, last]).ok()?;
            told.acknowledged.lock().unwrap().insert(job, *last);
            told.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
    Some(())
}

#[test]
fn a_busy_server_that_crashes_loses_no_result_and_gives_none_twice() {
    const ROUNDS: usize = 8;
    let kept = KeptSite::new();
    kept.site.configure(&["queue_timeout = '30s'", "audit_timeout = '30s'"]);
    let users = ["a", "b", "c"];
    users.iter().for_each(|user| store(&mut kept.depositor(), user, "imap", "x"));
    let told = Told::default();
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let before = told.answers.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let _end = AtEnd(&stop);
            let (kept, told, stop) = (&kept, &told, &stop);
            for user in users {
                scope.spawn(move || keep_asking(kept, told, stop, user));
            }
            (0..3).for_each(|i| {
                drop(scope.spawn(move || keep_working(kept, told, stop, 10 * round + i)))
            });
            let moment = before + 10 + chance(round, 40) as usize;
            wait_until("they are answered", || told.answers.load(Ordering::Relaxed) >= moment);
            let role = if round.is_multiple_of(2) { &kept.connector } else { &kept.depositor };
            let sql =
                "SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY random() LIMIT 1";
            let doomed: i32 = kept.admin().query_one(sql, &[role]).unwrap().get(0);
            crash_by(&kept.site.cluster, doomed);
        });
        // A worker completes what the last one has left.
        create(&mut kept.admin(), &format!("poke {round}"), "short");
        kept.assert_sound();
    }
    // Whatever was leased then comes back, and all of it ends.
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    wait_until("all jobs are over", || {
        while let Some(job) = take_for(&mut keeper, "1 hour") {
            finish(&mut keeper, job, "done", "ok");
        }
        users
            .iter()
            .all(|user| requests(&mut app, user).iter().all(|row| row.1.starts_with("imap ended")))
    });
    let (delivered, asked) =
        (told.delivered.into_inner().unwrap(), told.asked.into_inner().unwrap());
    let acknowledged = told.acknowledged.into_inner().unwrap();
    let (mut lost, mut twice) = (0, 0);
    for ((job, seq), result) in &delivered {
        let there = results(&mut app, *job, seq - 1).into_iter().find(|found| found.0 == *seq);
        match there {
            Some((_, found)) => {
                assert_eq!(found, *result);
                twice += usize::from(acknowledged.get(job).is_some_and(|up_to| seq <= up_to));
            }
            // The last one may have been made without an answer.
            None => lost += usize::from(asked.get(job).is_none_or(|up_to| seq > up_to)),
        }
    }
    attack("results lost in crashes", delivered.len(), lost);
    attack(
        "results read again after they were acknowledged, with crashes in between",
        acknowledged.len(),
        twice,
    );
    assert!(
        delivered.len() > 5 * ROUNDS && acknowledged.len() > ROUNDS,
        "{} {}",
        delivered.len(),
        acknowledged.len()
    );
    kept.assert_sound();
}
