//! Kills and shutdowns: whatever happens to the server, no answer lacks its event.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use password_verify_tests::calls::create;
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::Stopped;
use password_verify_tests::kill::crash_by;
use password_verify_tests::told::{Told, assert_on_record, chance, client, load, with_clients};
use password_verify_tests::trail::{assert_intact, epochs, settle, stat, wait_for, wait_until};
use password_verify_tests::{Cluster, Site, attack};

#[test]
fn when_the_postmaster_is_killed_no_answer_lacks_its_event() {
    let site = with_clients(server(&[]));
    let (mut answers, mut cut_off) = (0, 0);
    for round in 0..50 {
        let told = load(&site, round, 6, || site.cluster.kill_postmaster());
        site.cluster.up();
        assert_on_record(&site, &told, true);
        answers += told.answered.len();
        cut_off += told.asked.len() - told.answered.len();
    }
    println!("{answers} answers, {cut_off} calls cut off");
    // `check` has failed on the first one that lacks it.
    attack("answers of 50 kills of the postmaster that lack their event", answers, 0);
    assert!(answers > 1000 && cut_off > 50, "{answers} {cut_off}");
    let mut admin = site.admin();
    let why = epochs(&mut admin);
    assert!(why.len() > 50 && why.iter().all(|why| why == "start"), "{why:?}");
    assert_eq!(stat(&mut admin, "queue_used"), 0);
}

/// Kills one process of that kind right after some answer, again and again.
fn one_is_killed(rounds: usize, which: &str) {
    let site = with_clients(server(&[]));
    let (mut answers, mut cut_off) = (0, 0);
    for round in 0..rounds {
        // The worker is there from the beginning.
        create(&mut site.admin(), &format!("before {round}"), "short");
        let mut killer = site.cluster.admin("postgres");
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND {which} ORDER BY random() LIMIT 1",
            site.database
        );
        let told = load(&site, round, 6, || {
            // Where disaster strikes before any answer, nobody may have come yet.
            let look = || killer.query_opt(&sql, &[]).unwrap().map(|row| row.get(0));
            crash_by(&site.cluster, wait_for("there is one", look));
        });
        assert_on_record(&site, &told, true);
        answers += told.answered.len();
        cut_off += told.asked.len() - told.answered.len();
    }
    println!("{answers} answers, {cut_off} calls cut off");
    attack(
        &format!(
            "answers of {rounds} kills of a {} that lack their event",
            if which.contains("password_verify") { "worker" } else { "session" }
        ),
        answers,
        0,
    );
    assert!(answers > 10 * rounds && cut_off > rounds, "{answers} {cut_off}");
    let resets =
        site.cluster.log().matches("all server processes terminated; reinitializing").count();
    assert_eq!(resets, rounds);
}

#[test]
fn when_a_worker_is_killed_no_answer_lacks_its_event() {
    one_is_killed(20, "backend_type = 'password_verify'");
}

#[test]
fn when_a_session_is_killed_no_answer_lacks_its_event() {
    one_is_killed(10, "usename = 'all_kinds'");
}

#[test]
fn answers_that_did_not_wait_may_lose_events_in_a_crash_but_never_gain_any() {
    let site = with_clients(server(&[]));
    site.configure(&["audit_durability = async"]);
    let (mut lost, mut answers) = (0, 0);
    for round in 0..10 {
        let told = load(&site, round, 6, || site.cluster.kill_postmaster());
        site.cluster.up();
        // Changes too: a user without an event is what async can leave behind.
        let mut admin = site.admin();
        create(&mut admin, &format!("poke {round}"), "short");
        settle(&mut admin);
        let sql = "SELECT count(*), count(DISTINCT user_id), COALESCE(sum(count), 0)::bigint FROM auth.pv_events WHERE user_id = ANY ($1)";
        let row = admin.query_one(sql, &[&told.asked]).unwrap();
        let (rows, users, events): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert!(rows == users && rows == events, "no more than one each: {rows} {users} {events}");
        assert!(users as usize <= told.asked.len());
        lost += (told.answered.len() as i64 - users).max(0);
        answers += told.answered.len();
        assert_intact(&mut admin);
        epochs(&mut admin);
    }
    println!("{answers} answers, at least {lost} without an event");
}

/// An orderly shutdown with answers that are still to be written: the worker stands still from before it until
/// everybody has been told to end.
fn down_before_all_is_written(cluster: &Cluster) {
    let sql = "SELECT pid FROM pg_stat_activity
                WHERE backend_type = 'password_verify' AND datname IS NOT NULL";
    let worker = cluster.admin("postgres").query_opt(sql, &[]).unwrap();
    let worker = worker.map(|row| Stopped::new(row.get(0)));
    // Some are answered meanwhile.
    thread::sleep(Duration::from_millis(100));
    thread::scope(|scope| {
        scope.spawn(|| cluster.down());
        // Not by a connection: what stands still may hold what a new session needs.
        let file = cluster.data().join("postmaster.pid");
        let says = || fs::read_to_string(&file).is_ok_and(|text| text.contains("stopping"));
        wait_until("it shuts down", || !file.exists() || says());
        drop(worker);
    });
}

#[test]
fn an_orderly_shutdown_loses_nothing_even_of_answers_that_did_not_wait() {
    let site = with_clients(server(&[]));
    site.configure(&["audit_durability = async"]);
    let mut answers = 0;
    for round in 0..8 {
        let told = load(&site, round, 8, || down_before_all_is_written(&site.cluster));
        site.cluster.up();
        assert_on_record(&site, &told, true);
        answers += told.answered.len();
    }
    println!("{answers} answers");
    assert!(answers > 200, "{answers}");
}

#[test]
fn an_orderly_shutdown_loses_nothing_of_databases_that_share_one_worker() {
    let cluster = server(&["password_verify.workers = 1"]);
    let sites: Vec<Site> = (0..3).map(|_| with_clients(Arc::clone(&cluster))).collect();
    sites.iter().for_each(|site| site.configure(&["audit_durability = async"]));
    for round in 0..6 {
        let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        let told: Vec<Told> = thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|i| {
                    let (site, stop, answers) = (&sites[i % 3], &stop, &answers);
                    scope.spawn(move || client(site, &format!("{round}-{i}"), stop, answers))
                })
                .collect();
            let _end = AtEnd(&stop);
            wait_until("they are answered", || answers.load(Ordering::Relaxed) > 100);
            thread::sleep(Duration::from_millis(chance(round, 300)));
            down_before_all_is_written(&cluster);
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        cluster.up();
        for (i, told) in told.iter().enumerate() {
            assert_on_record(&sites[i % 3], told, true);
        }
    }
}
