//! Whoever comes to a table that somebody has locked, or is about to, is told so in time.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{change, create, rename, set, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::pid;
use password_verify_tests::keeper;
use password_verify_tests::keeper::VAULT;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::stall::Clock;
use password_verify_tests::trail::{assert_intact, settle, wait_until};
use password_verify_tests::whole::assert_whole;
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::Client;

const TABLES: [&str; 7] = [
    "credential",
    "blind_index_key",
    "throttle",
    "event",
    "event_fold",
    "open_change",
    "cost_class",
];

/// How long an attempt may wait here, and how much later an answer may come on a machine that is busy.
const PATIENCE: Duration = Duration::from_millis(1500);
const SLACK: Duration = Duration::from_millis(1500);

fn site() -> Site {
    let site = Site::new();
    site.configure(&["queue_timeout = '1500ms'", "audit_timeout = '20s'"]);
    site.enroll("Ann", GOOD);
    settle(&mut site.admin());
    site
}

fn in_time<T>(what: &str, ask: impl FnOnce() -> T) -> T {
    let clock = Clock::start();
    let answer = ask();
    let took = clock.time();
    assert!(took < PATIENCE + SLACK, "{what}: {took:?}");
    answer
}

/// What every function says while it cannot have a table.
fn busy_everywhere(site: &Site, table: &str) {
    let (mut app, mut admin) = (site.login(), site.admin());
    let busy = Answer::no("busy");
    let what = |function: &str| format!("{function} behind {table}");
    assert_eq!(in_time(&what("validate"), || validate(&mut app, "Ann", GOOD)), busy, "{table}");
    assert_eq!(in_time(&what("unknown"), || validate(&mut app, "Bob", GOOD)), busy, "{table}");
    assert_eq!(in_time(&what("change"), || change(&mut app, "Ann", GOOD, OTHER)), busy, "{table}");
    assert_eq!(in_time(&what("create"), || create(&mut app, "Bob", GOOD)), busy, "{table}");
    assert_eq!(in_time(&what("set"), || set(&mut admin, "Ann", GOOD)), busy, "{table}");
    let reset = "SELECT reason FROM auth.pv_reset_password('pv1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'correct horse battery staple')";
    in_time(&what("reset"), || {
        app.query_one(reset, &[]).map(|row| row.get::<_, String>(0)).unwrap()
    });
    for function in ["pv_disable_user", "pv_unlock_user", "pv_issue_reset_token"] {
        let sql = format!("SELECT auth.{function}('Ann')");
        let state = in_time(&what(function), || sqlstate(admin.query(&sql, &[])));
        // To forget what was tried, nobody looks at the credentials.
        let free = function == "pv_unlock_user" && table == "credential";
        assert_eq!(state, if free { "no error" } else { "55P03" }, "{}", what(function));
    }
    if ["credential", "blind_index_key", "cost_class"].contains(&table) {
        let sql = "SELECT auth.pv_has_password('Ann')";
        let state = in_time(&what("pv_has_password"), || sqlstate(admin.query(sql, &[])));
        assert_eq!(state, "55P03", "{table}");
    }
}

fn recovers(site: &Site) {
    let (mut app, mut admin) = (site.login(), site.admin());
    wait_until("they log in again", || validate(&mut app, "Ann", GOOD) == Answer::yes());
    settle(&mut admin);
    assert_intact(&mut admin);
}

/// Waits until that session stands in the queue for a lock.
fn await_queued(admin: &mut Client, pid: i32) {
    let sql = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1";
    wait_until("it waits for its lock", || {
        let row = admin.query_one(sql, &[&pid]).unwrap();
        row.get::<_, Option<bool>>(0) == Some(true)
    });
}

#[test]
fn a_login_behind_lock_table_is_busy_in_time() {
    let site = site();
    for table in TABLES {
        let mut holder = site.admin();
        holder
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE password_verify.{table} IN ACCESS EXCLUSIVE MODE"
            ))
            .unwrap();
        busy_everywhere(&site, table);
        holder.batch_execute("ROLLBACK").unwrap();
        recovers(&site);
    }
}

/// The tables that it needs, and what a call comes to that cannot have one.
const OF_THE_KEEPER: [(&str, &[&str], &str); 12] = [
    ("pv_secrets('Ann'::text)", &["secret"], "55P03"),
    ("pv_requests('Ann'::text)", &["secret", "job"], "55P03"),
    ("pv_results($)", &["result"], "55P03"),
    ("pv_request('Ann'::text, 'mail', '{}')", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_cancel_request($)", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_forget_secret('Ann'::text, 'mail')", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_take_job()", &["job"], "55P03"),
    ("pv_deliver($, '{}')", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_finish_job($, 'done')", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_delete_user('Ann'::text)", &["secret", "job", "result", "vault"], "55P03"),
    ("pv_open_secret($)", &["job"], "55P03"),
    ("pv_delete_vault('Ann'::text)", &["secret", "job", "result", "vault"], "55P03"),
];

/// Logins need none of the keeper's tables, and whoever does need them is told in time.
#[test]
fn the_keeper_behind_lock_table_is_busy_in_time_and_logins_go_on() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.configure(&["queue_timeout = '1500ms'", "audit_timeout = '20s'"]);
    site.enroll("Ann", GOOD);
    let mut admin = site.admin();
    keeper::fill(&mut admin, ["Ann", "Bob"]);
    let job = keeper::requests(&mut admin, "Ann")[0].0.to_string();
    settle(&mut admin);
    for table in keeper::TABLES {
        let mut holder = site.admin();
        holder
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE password_verify.{table} IN ACCESS EXCLUSIVE MODE"
            ))
            .unwrap();
        let (mut app, mut admin) = (site.login(), site.admin());
        let what = |call: &str| format!("{call} behind {table}");
        let login = in_time(&what("validate"), || validate(&mut app, "Ann", GOOD));
        assert_eq!(login, Answer::yes(), "{table}");
        let set = in_time(&what("set"), || set(&mut admin, "Ann", GOOD));
        assert_eq!(set, Answer::yes(), "{table}");
        for (call, _, state) in OF_THE_KEEPER.iter().filter(|call| call.1.contains(&table)) {
            let sql = format!("SELECT * FROM auth.{}", call.replace('$', &job));
            let found = in_time(&what(call), || sqlstate(admin.query(&sql, &[])));
            assert_eq!(found, *state, "{}", what(call));
        }
        // Those that have a reason.
        let stored = in_time(&what("store"), || {
            keeper::try_store(&mut admin, "Ann", "mail", "hunter3", None).unwrap()
        });
        assert_eq!(stored, Answer::no("busy"), "{table}");
        let renamed = in_time(&what("rename"), || rename(&mut admin, "Ann", "Dora"));
        assert_eq!(renamed, Answer::no("busy"), "{table}");
        if table == "vault" {
            let unlocked = in_time(&what("unlock"), || {
                keeper::try_unlock(&mut admin, "Ann", VAULT, "1 minute").unwrap()
            });
            assert_eq!(unlocked, Err("busy".into()));
        }
        holder.batch_execute("ROLLBACK").unwrap();
        recovers(&site);
    }
    assert_eq!(keeper::secrets(&mut admin, "Ann"), ["mail new"]);
    assert_eq!(keeper::open(&mut admin, job.parse().unwrap()), Ok("hunter2".into()));
    assert_whole(&mut admin);
}

#[test]
fn a_login_behind_vacuum_full_is_busy_in_time() {
    let site = site();
    for table in TABLES {
        // VACUUM FULL waits for somebody who reads, and everybody else would wait for VACUUM FULL.
        let mut vacuum = site.admin();
        let vacuum_pid = pid(&mut vacuum);
        thread::scope(|scope| {
            // Here, so that it goes away should anything fail.
            let mut reader = site.admin();
            let read = format!("BEGIN; SELECT count(*) FROM password_verify.{table}");
            reader.batch_execute(&read).unwrap();
            let statement = format!("VACUUM FULL password_verify.{table}");
            let vacuum = scope.spawn(move || vacuum.batch_execute(&statement));
            await_queued(&mut site.admin(), vacuum_pid);
            busy_everywhere(&site, table);
            reader.batch_execute("ROLLBACK").unwrap();
            vacuum.join().unwrap().unwrap();
        });
        recovers(&site);
    }
}

#[test]
fn a_transaction_with_a_change_logs_in_before_the_vacuum_that_waits_for_it() {
    let site = site();
    let mut vacuum = site.admin();
    let vacuum_pid = pid(&mut vacuum);
    thread::scope(|scope| {
        let mut app = site.login();
        let mut transaction = app.transaction().unwrap();
        transaction.query("SELECT auth.pv_create_password(7, $1)", &[&GOOD]).unwrap();
        let vacuum =
            scope.spawn(move || vacuum.batch_execute("VACUUM FULL password_verify.credential"));
        await_queued(&mut site.admin(), vacuum_pid);
        for (user, valid) in [("7", true), ("Ann", true), ("Bob", false)] {
            let sql = "SELECT valid FROM auth.pv_validate_password($1::text, $2)";
            let row = in_time(user, || transaction.query_one(sql, &[&user, &GOOD]).unwrap());
            assert_eq!(row.get::<_, bool>(0), valid, "{user}");
        }
        // And writes once more.
        in_time("a second change", || {
            transaction.query("SELECT auth.pv_create_password(8, $1)", &[&GOOD]).unwrap()
        });
        transaction.commit().unwrap();
        vacuum.join().unwrap().unwrap();
    });
    assert_eq!(validate(&mut site.login(), "8", GOOD), Answer::yes());
    recovers(&site);
}

#[test]
fn a_login_behind_an_index_that_is_locked_is_busy_in_time() {
    let site = site();
    let mut admin = site.admin();
    admin.batch_execute("CREATE INDEX extra ON password_verify.credential (changed_at)").unwrap();
    for index in ["credential_pkey", "extra"] {
        // As ALTER INDEX … SET TABLESPACE does for as long as it copies.
        let mut holder = site.admin();
        holder
            .batch_execute(&format!("BEGIN; ALTER INDEX password_verify.{index} RENAME TO other"))
            .unwrap();
        let kept = "BEGIN; LOCK TABLE password_verify.credential IN ACCESS SHARE MODE";
        admin.batch_execute(kept).unwrap();
        let mut app = site.login();
        let busy = Answer::no("busy");
        // Its lock is a weaker one in newer majors: then nobody is in anybody's way.
        let answer = in_time(index, || create(&mut app, index, GOOD));
        assert!(answer == busy || answer == Answer::yes(), "{index}: {answer:?}");
        holder.batch_execute("ROLLBACK").unwrap();
        admin.batch_execute("ROLLBACK").unwrap();
    }
    recovers(&site);
}

/// What a DBA may do to tables that are in use.
fn maintain(admin: &mut Client) {
    for table in ["credential", "event", "throttle"] {
        for statement in [
            "REINDEX TABLE CONCURRENTLY password_verify.{t}",
            "REINDEX TABLE password_verify.{t}",
            "CREATE INDEX CONCURRENTLY one_more ON password_verify.{t} ((1))",
            "DROP INDEX CONCURRENTLY password_verify.one_more",
            "CLUSTER password_verify.{t} USING {t}_pkey",
            "VACUUM (FULL, FREEZE) password_verify.{t}",
            "ALTER TABLE password_verify.{t} SET UNLOGGED",
            "ALTER TABLE password_verify.{t} SET LOGGED",
            "ALTER TABLE password_verify.{t} REPLICA IDENTITY FULL",
            "ALTER TABLE password_verify.{t} REPLICA IDENTITY NOTHING",
            "ALTER TABLE password_verify.{t} REPLICA IDENTITY DEFAULT",
            "ANALYZE password_verify.{t}",
        ] {
            let statement = statement.replace("{t}", table);
            let done = admin.batch_execute(&statement);
            done.map_err(|error| format!("{statement}: {error:?}")).unwrap();
        }
    }
}

#[test]
fn maintenance_of_every_kind_beside_logins_disturbs_nobody() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.allow_failures();
    site.enroll("Ann", GOOD);
    let over = AtomicBool::new(false);
    // How many times each of those who log in has come round.
    let rounds = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for (i, rounds) in rounds.iter().enumerate() {
            let (site, over) = (&site, &over);
            scope.spawn(move || {
                let mut app = site.login();
                while !over.load(Ordering::Relaxed) {
                    let user = format!("user{i}-{}", rounds.load(Ordering::Relaxed));
                    assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes());
                    assert_eq!(create(&mut app, &user, GOOD), Answer::yes());
                    let wrong = Answer::no("invalid_credentials");
                    assert_eq!(validate(&mut app, &user, OTHER), wrong);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // They end with this, however it ends.
        let _end = AtEnd(&over);
        let mut admin = site.admin();
        let start = Instant::now();
        // A quick machine is through before anybody has come round.
        while rounds.iter().any(|rounds| rounds.load(Ordering::Relaxed) < 4) {
            assert!(start.elapsed() < Duration::from_secs(300), "rounds: {rounds:?}");
            maintain(&mut admin);
        }
    });
    recovers(&site);
    let mut admin = site.admin();
    admin.batch_execute("CREATE EXTENSION amcheck").unwrap();
    let sql = "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i
                 JOIN pg_class c ON c.oid = i.indexrelid
                WHERE c.relnamespace = 'password_verify'::regnamespace AND c.relam = 403";
    admin.query(sql, &[]).unwrap();
    assert!(!cluster.log().contains("PANIC") && !cluster.log().contains("terminated by signal"));
}

/// The clock of these tests: it goes on while somebody waits, and stops while nothing runs.
#[test]
fn the_clock_stops_with_the_machine_and_not_for_a_wait() {
    let longest = (0..10)
        .map(|_| {
            let clock = Clock::start();
            thread::sleep(Duration::from_millis(60));
            clock.time()
        })
        .max();
    assert!(longest.unwrap() >= Duration::from_millis(55), "{longest:?}");

    let (clock, start) = (Clock::start(), Instant::now());
    let pid = std::process::id();
    let script = format!("kill -STOP {pid}; sleep 1; kill -CONT {pid}");
    let mut stopped = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    stopped.wait().unwrap();
    let (time, all) = (clock.time(), start.elapsed());
    assert!(
        all >= Duration::from_secs(1) && time < Duration::from_millis(500),
        "{time:?} of {all:?}"
    );
}
