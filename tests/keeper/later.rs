//! What becomes of jobs and results with time, on a server whose clock is set forward.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;

use password_verify_tests::Cluster;
use password_verify_tests::calls::create;
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::keeper::{
    KeptSite, acknowledge, deliver, finish, open, request, requests, results, rows, secrets, store,
    take, take_for, work_once,
};
use password_verify_tests::keyring::{fresh_key, keyring, line, setting};
use password_verify_tests::query::number;
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::whole::{assert_whole, keep, put_back};
use postgres::Client;

/// The clock of the C library, plus as many seconds as a file says. Rows are sealed with their times, so that no test
/// can make them older.
const SHIM: &str = r#"
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void) {
    static const volatile int64_t *at;
    if (!at) {
        const char *path = getenv("PV_TEST_CLOCK");
        int fd = path ? open(path, O_RDONLY) : -1;
        void *map = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0) close(fd);
        if (map == MAP_FAILED) return 0;
        at = map;
    }
    return *at;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += ahead();
    return result;
}
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A server of one's own whose clock goes as the test wants it to.
struct Later {
    kept: KeptSite,
    clock: File,
    ahead: Cell<i64>,
}

impl Later {
    fn new() -> Self {
        let cluster = Cluster::init();
        let keys = line("a", &fresh_key());
        let path = keyring(&cluster, "keys", &keys, 0o600);
        cluster.configure(&[PRELOADED, &[&setting(&path)]].concat());
        let [source, library, clock] =
            ["clock.c", "clock.so", "clock"].map(|name| cluster.folder().join(name));
        fs::write(&source, SHIM).unwrap();
        run(Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o"])
            .args([&library, &source]));
        fs::write(&clock, 0_i64.to_ne_bytes()).unwrap();
        let environment =
            [("LD_PRELOAD", library.to_str().unwrap()), ("PV_TEST_CLOCK", clock.to_str().unwrap())];
        cluster.up_with(&environment);
        let clock = File::options().write(true).open(&clock).unwrap();
        let kept = KeptSite::on(Arc::new(cluster), &keys);
        let later = Self { kept, clock, ahead: Cell::new(0) };
        let now = "SELECT extract(epoch FROM clock_timestamp())::bigint";
        let before = number(&mut later.kept.admin(), now);
        later.pass(HOUR);
        let passed = number(&mut later.kept.admin(), now) - before;
        assert!((HOUR..HOUR + 10 * MINUTE).contains(&passed), "{passed} seconds have passed");
        later
    }

    /// So many seconds later.
    fn pass(&self, seconds: i64) {
        self.ahead.set(self.ahead.get() + seconds);
        // In place: the server has the file in its memory.
        self.clock.write_all_at(&self.ahead.get().to_ne_bytes(), 0).unwrap();
    }

    /// In how many seconds the only job is due, and how often it was leased in vain, as a superuser can see it.
    fn due(&self) -> (f64, i32) {
        let sql = "SELECT extract(epoch FROM 'epoch'::timestamptz + interval '30 years'
                          + (('x' || left(replace(due::text, '-', ''), 16))::bit(64)::bigint & ((1::bigint << 61) - 1)) * interval '1 us'
                          - clock_timestamp())::float8, attempts
                     FROM password_verify.job";
        let row = self.kept.admin().query_one(sql, &[]).unwrap();
        (row.get(0), row.get(1))
    }
}

#[test]
fn results_are_shown_and_kept_for_their_time() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    let mut jobs = Vec::new();
    for user in ["over", "leased", "fresh"] {
        store(&mut app, user, "imap", "x");
        jobs.push(request(&mut app, user, "imap"));
    }
    let [over, leased, fresh] = jobs[..] else { panic!("three") };
    for job in [over, leased] {
        assert_eq!(take(&mut keeper), Some(job));
        assert_eq!([deliver(&mut keeper, job, "1"), deliver(&mut keeper, job, "2")], [1, 2]);
    }
    finish(&mut keeper, over, "done", "ok");
    // Seven days, as it is by default. A day later there is one that is younger.
    later.pass(6 * DAY + 23 * HOUR);
    assert_eq!(results(&mut app, over, 0).len(), 2, "before its time");
    while let Some(job) = take(&mut keeper) {
        assert!(deliver(&mut keeper, job, "3") > 0);
        finish(&mut keeper, job, "done", "ok");
    }
    assert_eq!(results(&mut app, leased, 0).len(), 3);
    later.pass(2 * HOUR);
    // At once, whoever has deleted them or not.
    assert_eq!(results(&mut app, over, 0), []);
    assert_eq!(results(&mut app, leased, 0), [(3, "3".into())]);
    assert_eq!(results(&mut app, fresh, 0), [(1, "3".into())]);
    let mut swept = |rows_left: [i64; 2]| {
        wait_until("they are swept away", || {
            // Something to do for the worker.
            create(&mut admin, "poke", "short");
            ["result", "job"].map(|table| rows(&mut admin, table)) == rows_left
        });
        settle(&mut admin);
        assert_whole(&mut admin);
    };
    swept([2, 2]);
    assert_eq!(requests(&mut app, "over"), []);
    assert_eq!(secrets(&mut app, "over"), ["imap verified"], "it is kept");
    // What is left can be acknowledged; and the rest goes in its time.
    assert!(acknowledge(&mut app, fresh, 1));
    later.pass(8 * DAY);
    swept([0, 0]);
    kept.assert_sound();
}

#[test]
fn a_request_that_stays_blocked_is_gone_after_its_time() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    store(&mut app, "42", "imap", "wrong");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    finish(&mut keeper, job, "rejected", "credential_refused");
    assert_eq!(requests(&mut app, "42").len(), 1);
    later.pass(8 * DAY);
    wait_until("it is swept away", || {
        create(&mut admin, "poke", "short");
        rows(&mut admin, "job") == 0
    });
    settle(&mut admin);
    assert_whole(&mut admin);
    assert_eq!(secrets(&mut app, "42"), ["imap rejected credential_refused"]);
    kept.assert_sound();
}

/// A job that ends its keeper each time would come back for ever.
#[test]
fn a_job_whose_leases_end_unfinished_waits_longer_each_time_and_fails() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    let mut waits = Vec::new();
    for lease in 1..=20 {
        assert_eq!(take_for(&mut keeper, "1 second"), Some(job), "lease {lease}");
        assert_eq!(later.due().1, lease - 1, "in vain so far");
        later.pass(2);
        if lease == 1 {
            // It may have been the keeper's fault: at once.
            continue;
        }
        assert_eq!(take_for(&mut keeper, "1 second"), None, "after lease {lease}");
        if lease < 20 {
            let (due, attempts) = later.due();
            assert_eq!(attempts, lease);
            waits.push(due);
            later.pass(due.ceil() as i64 + 1);
        }
    }
    let expected = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|minutes| minutes * 60.0);
    let expected = expected.into_iter().chain([3600.0; 12]);
    assert_eq!(waits.len(), 18);
    for (wait, expected) in waits.iter().zip(expected) {
        // Up to a quarter less, and the seconds of the test.
        let is_so = *wait > 0.74 * expected - 5.0 && *wait <= expected;
        assert!(is_so, "{wait} for {expected} in {waits:?}");
    }
    assert_eq!(requests(&mut app, "42"), [(job, "imap ended failed timeout".into(), 0)]);
    later.pass(2 * HOUR);
    assert_eq!(take(&mut keeper), None);
    // It was not the secret's fault.
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    let job = request(&mut app, "42", "imap");
    assert_eq!(work_once(&mut keeper), (job, Ok("x".into())));
    kept.assert_sound();
}

/// A request that repeats until a time does not outlive it by having been blocked then.
#[test]
fn a_blocked_request_whose_end_has_passed_does_not_run_again() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let repeat = "SELECT auth.pv_request('42'::text, 'imap', '{}', '1 minute', clock_timestamp() + $1::text::interval)";
    store(&mut app, "42", "imap", "wrong");
    let mut ask = |until: &str| -> i64 { app.query_one(repeat, &[&until]).unwrap().get(0) };
    let (short, long) = (ask("10 minutes"), ask("2 hours"));
    let first = take(&mut keeper).unwrap();
    finish(&mut keeper, first, "rejected", "credential_refused");
    assert_eq!(take(&mut keeper), None);
    later.pass(11 * MINUTE);
    store(&mut app, "42", "imap", "right");
    // The other one shows that storing lets go on what is blocked.
    assert_eq!(work_once(&mut keeper), (long, Ok("right".into())));
    later.pass(2 * MINUTE);
    assert_eq!(work_once(&mut keeper), (long, Ok("right".into())));
    assert_eq!(take(&mut keeper), None);
    let states = requests(&mut app, "42");
    let state = |job| states.iter().find(|(number, ..)| *number == job).unwrap().1.clone();
    assert!(state(short).starts_with("imap ended"), "{states:?}");
    assert!(state(long).starts_with("imap waiting"), "{states:?}");
    kept.assert_sound();
}

/// What cannot be read is tried once in an hour, not by each call.
#[test]
fn jobs_whose_secrets_were_changed_keep_nobody_from_theirs_and_are_left_alone() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for i in 0..40 {
        let user = format!("user{i}");
        store(&mut app, &user, "imap", "x");
        request(&mut app, &user, "imap");
    }
    store(&mut app, "another", "imap", "hers");
    let mut job = request(&mut app, "another", "imap");
    settle(&mut admin);
    keep(&mut admin, "secret");
    admin
        .batch_execute("UPDATE password_verify.secret SET destination = replace(destination, 'mail', 'evil') WHERE user_id LIKE 'user%'")
        .unwrap();
    for _ in 0..3 {
        // However many of them come before.
        assert_eq!(work_once(&mut keeper), (job, Ok("hers".into())));
        job = request(&mut app, "another", "imap");
    }
    assert_eq!(work_once(&mut keeper).0, job);
    assert_eq!(take(&mut keeper), None);
    let versions = "SELECT string_agg(ctid::text, ' ' ORDER BY key) FROM password_verify.job";
    let all = |admin: &mut Client| admin.query_one(versions, &[]).unwrap().get::<_, String>(0);
    let before = all(&mut admin);
    later.pass(30 * MINUTE);
    assert_eq!((take(&mut keeper), all(&mut admin)), (None, before), "they are left alone");
    // It was put back: what was put aside goes on in its time.
    put_back(&mut admin, "secret", "user_id LIKE 'user%'");
    assert_eq!(take(&mut keeper), None);
    later.pass(31 * MINUTE);
    for _ in 0..40 {
        assert_eq!(work_once(&mut keeper).1, Ok("x".into()));
    }
    assert_eq!(take(&mut keeper), None);
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    kept.assert_sound();
}

/// A lease that was given while the clock was a day ahead does not last a day longer.
#[test]
fn a_lease_ends_although_the_clock_was_set_back() {
    let later = Later::new();
    let kept = &later.kept;
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    later.pass(DAY);
    assert_eq!(take(&mut keeper), Some(job));
    later.pass(-DAY);
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    assert_eq!(work_once(&mut keeper), (job, Ok("x".into())));
    kept.assert_sound();
}
