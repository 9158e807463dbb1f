//! The memory of hashes: when it is refused, how much it is, and in which pages.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use password_verify_tests::calls::{CREATE, SET, VALIDATE, ask, change, create, set, validate};
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::{ONE_SLOT, TWO_SLOTS, await_idle, pid, slots};
use password_verify_tests::kill::processes;
use password_verify_tests::trail::{of_user, settle, stat};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused};
use postgres::Client;

/// A process that may have so much more address space than it has, until this is dropped.
struct Limited<'a> {
    cluster: &'a Cluster,
    pid: i32,
}

impl<'a> Limited<'a> {
    fn new(cluster: &'a Cluster, pid: i32, more_kib: u64) -> Self {
        let soft = (status(pid, "VmSize").unwrap() + more_kib) * 1024;
        run(&mut prlimit(cluster, pid, &soft.to_string()));
        Self { cluster, pid }
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        let _ = prlimit(self.cluster, self.pid, "unlimited").output();
    }
}

fn prlimit(cluster: &Cluster, pid: i32, soft: &str) -> Command {
    let mut env = cluster.command("/usr/bin/env");
    env.args(["prlimit", "--pid", &pid.to_string(), &format!("--as={soft}:")]);
    env
}

/// A number in kB of `/proc/PID/status`.
fn status(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn assert_out_of_memory<T>(result: Result<T, postgres::Error>) {
    let (state, message, hint) = refused(result);
    assert_eq!((state.as_str(), message.as_str()), ("53200", "out of memory for a password hash"));
    assert!(hint.contains("password_verify.hash_slots"), "{hint}");
}

#[test]
fn memory_that_is_refused_is_an_error_of_one_call() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.allow_failures();
    site.configure(&["argon2_memory = '64MB'", "argon2_iterations = 1"]);
    site.enroll("42", GOOD);
    let (mut admin, mut session) = (site.admin(), site.admin());
    assert_eq!(validate(&mut session, "42", GOOD), Answer::yes());
    let limited = Limited::new(&site.cluster, pid(&mut session), 32 * 1024);
    let change = format!("SELECT * FROM auth.pv_change_password($1::text, $2, '{OTHER}')");
    for _ in 0..5 {
        for (sql, user) in [(VALIDATE, "42"), (&change, "42"), (SET, "42"), (CREATE, "43")] {
            assert_out_of_memory(session.query(sql, &[&user, &GOOD]));
            assert_eq!(slots(&mut admin), (0, 0), "{sql}");
        }
    }
    // Others have memory.
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    drop(limited);
    assert_eq!(validate(&mut session, "42", GOOD), Answer::yes());
    assert_eq!(create(&mut session, "43", GOOD), Answer::yes());
    assert_eq!(set(&mut session, "42", OTHER), Answer::yes());
    settle(&mut admin);
    let events = of_user(&mut admin, "42");
    for event in ["validate abandoned", "prove abandoned"] {
        assert!(events.iter().any(|it| it == event), "{event}: {events:?}");
    }
    assert_eq!(of_user(&mut admin, "43"), ["create committed"]);
}

/// The password was right; that its record cannot be renewed today is no reason to say otherwise.
#[test]
fn a_login_does_not_fail_for_the_memory_of_a_stronger_record() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    site.configure(&["argon2_memory = '64MB'"]);
    let mut app = site.login();
    assert_eq!(validate(&mut app, "nobody", "guess"), Answer::no("invalid_credentials"));
    let limited = Limited::new(&site.cluster, pid(&mut app), 32 * 1024);
    assert_eq!(ask(&mut app, VALIDATE, &[&"42", &GOOD]).unwrap(), Answer::yes());
    drop(limited);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
}

/// Private memory of all processes of a server, in kB.
///
/// It takes a moment to ask all of them, and who hands a slot on meanwhile is counted twice: the least
/// of three looks in a row.
fn private_memory(cluster: &Cluster) -> u64 {
    let look = || -> u64 {
        let pids = processes(cluster).into_iter();
        pids.filter_map(|pid| status(pid.cast_signed(), "RssAnon")).sum()
    };
    (0..3).map(|_| look()).min().unwrap()
}

#[test]
fn the_memory_of_all_hashes_stays_within_the_bill() {
    const HASH_KB: u64 = 64 * 1024;
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    site.allow_failures();
    site.enroll("warm up", GOOD);
    let dear =
        "SET password_verify.argon2_memory = '64MB'; SET password_verify.argon2_iterations = 3";
    let mut admin = site.admin();
    admin.batch_execute(dear).unwrap();
    (0..60)
        .step_by(4)
        .for_each(|i| assert_eq!(set(&mut admin, &i.to_string(), GOOD), Answer::yes()));
    assert_eq!(stat(&mut admin, "hash_memory_bill_kb"), 2 * HASH_KB as i64);
    let mut clients: Vec<Client> = (0..60).map(|_| site.login()).collect();
    for client in &mut clients {
        let wrong = Answer::no("invalid_credentials");
        assert_eq!(validate(client, "warm up", "guess"), wrong);
    }
    let before = private_memory(&site.cluster);
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut most = 0;
    thread::scope(|scope| {
        for (i, client) in clients.iter_mut().enumerate() {
            let (stop, answers) = (&stop, &answers);
            scope.spawn(move || {
                let user = (i / 4 * 4).to_string();
                while !stop.load(Ordering::Relaxed) {
                    let answer = validate(client, &user, GOOD);
                    assert!(answer == Answer::yes() || answer == Answer::no("busy"), "{answer:?}");
                    answers.fetch_add(usize::from(answer.0), Ordering::Relaxed);
                }
            });
        }
        let _end = AtEnd(&stop);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            most = most.max(private_memory(&site.cluster));
            thread::sleep(Duration::from_millis(10));
        }
    });
    await_idle(&mut admin);
    thread::sleep(Duration::from_secs(2));
    let after = private_memory(&site.cluster);
    println!("kB before, at most, after: {before} {most} {after}, {answers:?} answers");
    assert!(answers.into_inner() > 5);
    let bill = 2 * HASH_KB;
    assert!(most > before + HASH_KB, "the test sees hashes: {before} {most}");
    assert!(most <= before + bill + bill / 10, "{before} {most}");
    assert!(after <= before + bill / 10, "{before} {after}");
}

#[test]
fn hashes_in_small_pages_are_counted() {
    let cluster = Cluster::init();
    cluster.configure(&[PRELOADED[0], "password_verify.hash_slots = 2"]);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let huge = setting.is_ok_and(|setting| !setting.contains("[never]"));
    let small = |site: &Site| stat(&mut site.admin(), "hashes_in_small_pages");
    site.enroll("42", GOOD);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert_eq!(small(&site), if huge { 0 } else { 2 });
    site.cluster.down();
    site.cluster.up_without_huge_pages();
    assert_eq!(small(&site), 0);
    let mut app = site.login();
    (0..3).for_each(|_| assert_eq!(validate(&mut app, "42", GOOD), Answer::yes()));
    assert_eq!(validate(&mut app, "nobody", "guess"), Answer::no("invalid_credentials"));
    assert_eq!(small(&site), 4);
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(create(&mut app, "43", GOOD), Answer::yes());
    assert_eq!(small(&site), 7);
}

/// Whichever way a record was made, every other way verifies it.
#[test]
fn every_way_of_hashing_gives_the_same_hashes_and_is_in_the_log() {
    let cluster = Cluster::init();
    cluster.configure(&[
        PRELOADED[0],
        "password_verify.hash_slots = 3",
        "password_verify.hash_memory_limit = 16MB",
    ]);
    // Nothing is forced here, whatever whoever runs the tests forces.
    cluster.up_with(&[("PASSWORD_VERIFY_ARGON2_PATH", "")]);
    let site = Site::on(Arc::new(cluster));
    let said = || {
        let log = site.cluster.log();
        let line = log.lines().rfind(|line| line.contains(" hash slots of ")).unwrap();
        line.rsplit_once("password_verify: ").unwrap().1.to_owned()
    };
    let line = "3 hash slots of 16384 kB at most, 49152 kB in all; argon2id path ";
    let paths = paths();
    assert_eq!(said(), format!("{line}{}", paths[0]));
    assert_eq!(stat(&mut site.admin(), "hash_memory_bill_kb"), 49152);
    for (i, path) in paths.iter().enumerate() {
        site.cluster.down();
        site.cluster.up_with(&[("PASSWORD_VERIFY_ARGON2_PATH", path)]);
        assert_eq!(said(), format!("{line}{path}"));
        site.enroll(path, GOOD);
        for known in &paths[..=i] {
            assert_eq!(validate(&mut site.login(), known, GOOD), Answer::yes(), "{path} {known}");
        }
    }
    site.cluster.down();
    site.cluster.up();
    for known in &paths {
        assert_eq!(validate(&mut site.login(), known, GOOD), Answer::yes(), "{known}");
    }
}

/// What this processor has, the fastest first.
fn paths() -> Vec<&'static str> {
    let mut paths = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            paths.insert(0, "avx2");
        }
        if is_x86_feature_detected!("avx512f") {
            paths.insert(0, "avx512");
        }
    }
    paths
}
