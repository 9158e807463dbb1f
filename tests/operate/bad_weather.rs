//! Hash slots and the memory of hashes when sessions are cut off, killed and refused memory.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, change, create, set, validate};
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::hold::{Hashing, Held, Shared, await_idle, pid, signal, slots};
use password_verify_tests::kill::{kill_9, processes};
use password_verify_tests::trail::{of_user, settle, stat, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack, refused, sqlstate};
use postgres::Client;

static ONE_SLOT: Shared = Shared::with(&["password_verify.hash_slots = 1"]);

static TWO_SLOTS: Shared =
    Shared::with(&["password_verify.hash_slots = 2", "password_verify.hash_memory_limit = 64MB"]);

/// Moments that nobody has chosen, the same in every run.
struct Moments(u64);

impl Moments {
    /// Some number from 1 to `most`.
    fn next(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most + 1
    }
}

////////////////////////////////////////////////////////////////////////////////
// Cut off
////////////////////////////////////////////////////////////////////////////////

/// Forty clients for some seconds, whose sessions are terminated now and then. `one` is one attempt, by
/// the client's connection if it has one, for that user; it tells whether it was answered.
fn churn(site: &Site, one: impl Fn(&mut Option<Client>, &mut Moments, &str) -> bool + Sync) {
    site.configure(&["queue_timeout = '60s'"]);
    site.enroll("42", GOOD);
    let (answered, cut_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut admin = site.admin();
    let end = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        for i in 0..40 {
            let (one, answered, cut_off) = (&one, &answered, &cut_off);
            scope.spawn(move || {
                let (mut client, mut moments) = (None, Moments(i));
                for round in 0.. {
                    if Instant::now() >= end {
                        break;
                    }
                    let yes = one(&mut client, &mut moments, &format!("nobody{i}-{round}"));
                    if yes { answered } else { cut_off }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = $1 AND state = 'active' ORDER BY random() LIMIT 1";
        while Instant::now() < end {
            admin.query(sql, &[&site.app]).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    wait_until("all sessions end", || {
        admin.query_one(sql, &[&site.app]).unwrap().get::<_, i64>(0) == 0
    });
    let (answered, cut_off) = (answered.into_inner(), cut_off.into_inner());
    println!("{answered} answered, {cut_off} cut off");
    assert!(answered > 5 && cut_off > 100, "{answered} {cut_off}");
    assert_eq!(slots(&mut admin), (0, 0));
    assert!(stat(&mut admin, "hash_slots_used_at_most") <= 2);
    for _ in 0..3 {
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    }
}

/// Some milliseconds. Now and then long enough for an answer.
fn patience(moments: &mut Moments) -> u64 {
    if moments.next(8) == 1 { 5000 } else { moments.next(50) }
}

#[test]
fn timeouts_and_terminations_lose_no_slot() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    churn(site, |client, moments, user| {
        let app = client.get_or_insert_with(|| site.login());
        let timeout = format!("SET statement_timeout = {}", patience(moments));
        let asked = app.batch_execute(&timeout).and_then(|()| ask(app, VALIDATE, &[&user, &GOOD]));
        match asked {
            Ok(answer) => {
                assert_eq!(answer, Answer::no("invalid_credentials"));
                return true;
            }
            Err(_) if app.is_closed() => *client = None,
            Err(error) => {
                let expected = ["57014", "57P01", "not an error of the server: connection closed"];
                let state = sqlstate::<()>(Err(error));
                assert!(expected.contains(&state.as_str()), "{state}");
            }
        }
        false
    });
}

#[test]
fn clients_that_hang_up_lose_no_slot() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    churn(site, |_, moments, user| {
        // Half of the sessions look now and then whether their client is still there.
        let look = if moments.next(2) == 1 { "0" } else { "10" };
        let settings = [("client_connection_check_interval", look)];
        let Some(mut raw) = Raw::connect(site, &settings) else { return false };
        raw.send(b'Q', &format!("SELECT auth.pv_validate_password('{user}'::text, 'guess')\0"));
        raw.0.set_read_timeout(Some(Duration::from_millis(patience(moments)))).unwrap();
        // Whether it was or not: this is the end of the connection, without a farewell.
        raw.until_ready()
    });
}

/// A connection that can be dropped in the middle of a query.
struct Raw(UnixStream);

impl Raw {
    fn connect(site: &Site, settings: &[(&str, &str)]) -> Option<Self> {
        let socket = site.cluster.folder().join(".s.PGSQL.5432");
        let mut raw = Self(UnixStream::connect(socket).ok()?);
        let mut startup = 196_608u32.to_be_bytes().to_vec();
        let who = [("user", site.app.as_str()), ("database", &site.database)];
        for (name, value) in who.iter().chain(settings) {
            startup.extend(format!("{name}\0{value}\0").bytes());
        }
        startup.push(0);
        let length = (startup.len() as u32 + 4).to_be_bytes();
        raw.0.write_all(&[&length, startup.as_slice()].concat()).ok()?;
        raw.until_ready().then_some(raw)
    }

    fn send(&mut self, kind: u8, body: &str) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        // It may have been terminated before it was asked for anything.
        let _ = self.0.write_all(&[&[kind], &length[..], body.as_bytes()].concat());
    }

    /// Reads until the server waits for the next query; false when that was in vain, or it was an error.
    fn until_ready(&mut self) -> bool {
        loop {
            let mut head = [0; 5];
            if self.0.read_exact(&mut head).is_err() {
                return false;
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; length as usize - 4];
            if self.0.read_exact(&mut body).is_err() || head[0] == b'E' {
                return false;
            }
            if head[0] == b'Z' {
                return true;
            }
        }
    }
}

#[test]
fn a_slot_comes_back_from_whoever_is_cut_off_in_mid_hash() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    for _ in 0..4 {
        for function in ["pg_cancel_backend", "pg_terminate_backend"] {
            let hashing = Hashing::start(site);
            signal(site, function, hashing.pid);
            assert_ne!(sqlstate(hashing.end()), "no error", "{function}");
            await_idle(&mut admin);
            assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes(), "{function}");
        }
    }
}

/// PostgreSQL then sends everybody away and makes shared memory anew.
#[test]
fn after_a_kill_in_mid_hash_all_slots_are_free() {
    const ROUNDS: usize = 20;
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut lost = 0;
    for _ in 0..ROUNDS {
        let mut admin = site.admin();
        thread::scope(|scope| {
            let held = Held::slot(site);
            let waiting = [(); 2].map(|()| {
                let mut app = site.login();
                scope.spawn(move || ask(&mut app, VALIDATE, &[&"42", &GOOD]))
            });
            wait_until("they wait", || slots(&mut admin) == (1, 2));
            kill_9(held.pid().cast_unsigned());
            for waiting in waiting {
                assert_ne!(sqlstate(waiting.join().unwrap()), "no error");
            }
        });
        site.cluster.await_recovery();
        let free = slots(&mut site.admin()) == (0, 0);
        let answer = validate(&mut site.login(), "42", GOOD);
        lost += usize::from(!free || answer != Answer::yes());
    }
    attack("a session is killed in mid-hash and takes its slot along", ROUNDS, lost);
}

////////////////////////////////////////////////////////////////////////////////
// Memory
////////////////////////////////////////////////////////////////////////////////

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
        for (sql, user) in [
            (VALIDATE, "42"),
            (&change, "42"),
            ("SELECT * FROM auth.pv_set_password($1::text, $2)", "42"),
            ("SELECT * FROM auth.pv_create_password($1::text, $2)", "43"),
        ] {
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
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            most = most.max(private_memory(&site.cluster));
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
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

////////////////////////////////////////////////////////////////////////////////
// What is left in memory
////////////////////////////////////////////////////////////////////////////////

/// How often these bytes are in the memory of a process that is its alone and can be written. `None`
/// where the system lets nobody look.
fn in_memory(pid: i32, needle: &[u8]) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        memory.read_exact_at(&mut bytes, start).unwrap();
        let begins = |at: &usize| bytes[*at] == needle[0] && bytes[*at..].starts_with(needle);
        found += (0..bytes.len()).filter(begins).count();
    }
    Some(found)
}

/// The session may be idle for a long time, and then dump core.
#[test]
fn no_tag_stays_in_memory_and_no_copy_of_the_password_that_is_ours() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    let canary = "canary 5f1e velvet anvil monsoon";
    let mut admin = site.admin();
    // PostgreSQL's own copies of the arguments: those of any function that is called like ours.
    let like_ours = "CREATE FUNCTION auth.like_ours(text, text, OUT boolean) AS 'texteq'
                         LANGUAGE internal VOLATILE SECURITY DEFINER SET search_path = pg_catalog";
    admin.batch_execute(like_ours).unwrap();
    let copies = |call: &dyn Fn(&mut Client)| -> Option<[usize; 4]> {
        let mut app = site.login();
        app.batch_execute("SET application_name = 'somewhere in here'").unwrap();
        call(&mut app);
        // Over what was received last.
        app.query("SELECT length($1::text)", &[&"x".repeat(9000)]).unwrap();
        let pid = pid(&mut app);
        assert_ne!(in_memory(pid, b"somewhere in here")?, 0, "the search finds something");
        let sql = "SELECT split_part(verifier, '$', 6) FROM password_verify.credential
                    WHERE user_id = '42'";
        let row = site.admin().query_opt(sql, &[]).unwrap();
        let text: String = row.map_or("-".repeat(43), |row| row.get(0));
        let sql = "SELECT decode(translate($1, '-', 'x') || '=', 'base64')";
        let tag: Vec<u8> = site.admin().query_one(sql, &[&text]).unwrap().get(0);
        Some([
            in_memory(pid, canary.as_bytes())?,
            in_memory(pid, &tag[..8])?,
            in_memory(pid, &tag[24..])?,
            in_memory(pid, text.as_bytes())?,
        ])
    };
    let theirs = copies(&|app| {
        app.query("SELECT * FROM auth.like_ours($1::text, $2)", &[&"42", &canary]).unwrap();
    });
    let Some([theirs, ..]) = theirs else {
        return println!("nobody may look into the memory of a process here");
    };
    // The row that was written is on the heap of PostgreSQL, as on its page; its bytes are nowhere.
    let created = copies(&|app| assert_eq!(create(app, "42", canary), Answer::yes())).unwrap();
    assert_eq!(created[1..3], [0, 0], "{created:?}");
    let wrong = format!("{canary}.");
    let calls: [&dyn Fn(&mut Client); 2] =
        [&|app| assert_eq!(validate(app, "42", canary), Answer::yes()), &|app| {
            assert_eq!(validate(app, "42", &wrong), Answer::no("invalid_credentials"))
        }];
    for call in calls {
        let [password, tag @ ..] = copies(call).unwrap();
        assert!(password <= theirs, "{password} copies, of which {theirs} are not ours");
        assert_eq!(tag, [0, 0, 0]);
    }
}
