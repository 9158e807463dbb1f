//! Kills, copies and time: whatever happens to the server, no answer lacks its event, and the chain of
//! events is whole.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::cluster::{PRELOADED, kill_9, run};
use password_verify_tests::hold::Stopped;
use password_verify_tests::site::{CHEAP, ask, create, set, validate};
use password_verify_tests::trail::{
    assert_intact, counts, epochs, of_user, settle, stat, verify, wait_until,
};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack, refused, sqlstate};
use postgres::{Client, Error};

const WRONG: &str = "seven wet umbrellas hum";

fn server(settings: &[&str]) -> Arc<Cluster> {
    Arc::new(Cluster::start(&[PRELOADED, settings].concat()))
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Some number below `end` for that round: moments that nobody has chosen.
fn chance(round: usize, end: u64) -> u64 {
    static OF_THIS_RUN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    OF_THIS_RUN.hash_one(round) % end
}

/// After how many answers disaster strikes. Two rounds together always make 59: how much a test of many rounds
/// sees is no chance.
fn moment(round: usize) -> usize {
    let some = chance(round / 2, 60) as usize;
    if round.is_multiple_of(2) { some } else { 59 - some }
}

////////////////////////////////////////////////////////////////////////////////
// Clients who write down what they were told
////////////////////////////////////////////////////////////////////////////////

/// What clients asked for, and were told. Every user id is used once.
#[derive(Default)]
struct Told {
    asked: Vec<String>,
    /// The event that there must be.
    answered: BTreeMap<String, &'static str>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.asked.extend(other.asked);
        self.answered.extend(other.answered);
    }
}

/// One client until it is cut off, or `stop`.
fn client(site: &Site, name: &str, stop: &AtomicBool, answers: &AtomicUsize) -> Told {
    let mut told = Told::default();
    let Ok(mut session) = site.cluster.try_connect("all_kinds", &site.database) else {
        return told;
    };
    let long = "x".repeat(4097);
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let user = format!("{name}-{i}");
        told.asked.push(user.clone());
        let Ok(event) = one_call(&mut session, i, &user, &long) else { break };
        told.answered.insert(user, event);
        answers.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// The event that the answer stands for.
fn one_call(session: &mut Client, i: usize, user: &str, long: &str) -> Result<&'static str, Error> {
    let validate = "SELECT * FROM auth.pv_validate_password($1::text, $2)";
    let create = "SELECT * FROM auth.pv_create_password($1::text, $2)";
    let set = "SELECT * FROM auth.pv_set_password($1::text, $2)";
    let change = "SELECT * FROM auth.pv_change_password($1::text, $2, $2)";
    let wrong = Answer::no("invalid_credentials");
    Ok(match i % 8 {
        0 | 4 => {
            assert_eq!(ask(session, validate, &[&user, &long])?, wrong);
            "validate invalid_credentials"
        }
        1 | 5 => {
            assert_eq!(ask(session, create, &[&user, &"short"])?, Answer::no("too_short"));
            "create too_short"
        }
        2 => {
            assert_eq!(ask(session, validate, &[&user, &WRONG])?, wrong);
            "validate invalid_credentials"
        }
        3 => {
            assert_eq!(ask(session, set, &[&user, &GOOD])?, Answer::yes());
            "set committed"
        }
        6 => {
            assert_eq!(ask(session, change, &[&user, &OTHER])?, wrong);
            "prove invalid_credentials"
        }
        _ => {
            let commit = i % 16 < 8;
            let mut open = session.transaction()?;
            let mut inner = open.transaction()?;
            assert!(inner.query_one(create, &[&user, &GOOD])?.get::<_, bool>(0));
            if commit {
                inner.commit()?;
                open.commit()?;
                "create committed"
            } else {
                inner.rollback()?;
                open.commit()?;
                "create rolled_back"
            }
        }
    })
}

/// Who may do everything that clients do, and is not told that the server is busy: a worker that begins, or
/// takes turns, takes its time on a busy machine.
fn with_clients(cluster: Arc<Cluster>) -> Site {
    let site = Site::on(cluster);
    site.configure(&["queue_timeout = '30s'", "audit_timeout = '30s'"]);
    let mut admin = site.admin();
    admin
        .batch_execute(
            "DO $$ BEGIN CREATE ROLE all_kinds LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT USAGE ON SCHEMA auth TO all_kinds",
        )
        .unwrap();
    for kind in ["verifier", "enroller", "registrar"] {
        admin.execute("SELECT auth.pv_grant('all_kinds', $1)", &[&kind]).unwrap();
    }
    site
}

/// Several clients until `disaster`, which happens right after some answer, has cut them off.
fn load(site: &Site, round: usize, clients: usize, disaster: impl FnOnce()) -> Told {
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut told = Told::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|i| {
                let (stop, answers) = (&stop, &answers);
                scope.spawn(move || client(site, &format!("{round}-{i}"), stop, answers))
            })
            .collect();
        let moment = moment(round);
        let start = Instant::now();
        while answers.load(Ordering::Relaxed) < moment {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody is answered");
            std::hint::spin_loop();
        }
        disaster();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| told.add(thread.join().unwrap()));
    });
    told
}

/// Every answer has its event, every event is of somebody who asked, and what was changed is what the
/// events say. `all`: nothing that was answered may be lost.
fn check(site: &Site, told: &Told, all: bool) {
    let mut admin = site.admin();
    // A worker completes what the last one has left.
    let poke = format!("poke {}", told.asked.first().map_or("", String::as_str));
    create(&mut admin, &poke, "short");
    settle(&mut admin);
    let sql = "SELECT e.user_id, e.action || ' ' || e.outcome, e.count,
                      EXISTS (SELECT FROM password_verify.credential c WHERE c.user_id = e.user_id)
                 FROM auth.pv_events e WHERE e.user_id = ANY ($1)";
    let mut found: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for row in admin.query(sql, &[&told.asked]).unwrap() {
        let (user, event): (String, String) = (row.get(0), row.get(1));
        assert_eq!(row.get::<_, i64>(2), 1, "{user}");
        let exists: bool = row.get(3);
        assert_eq!(exists, event.ends_with(" committed"), "{user}: {event}");
        let twice = found.insert(user.clone(), (event, exists));
        assert!(twice.is_none(), "{user} is there twice");
    }
    for (user, event) in &told.answered {
        match found.get(user) {
            Some((found, _)) => assert_eq!(found, event, "{user}"),
            None => assert!(!all, "{user} was answered, and there is no event: {event}"),
        }
    }
    // Nobody has a password that is on record nowhere.
    let sql = "SELECT count(*) FROM password_verify.credential c WHERE c.user_id = ANY ($1)";
    let credentials: i64 = admin.query_one(sql, &[&told.asked]).unwrap().get(0);
    let committed = found.values().filter(|(_, exists)| *exists).count();
    assert_eq!(credentials, committed as i64);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.open_change"), 0);
    assert_intact(&mut admin);
    epochs(&mut admin);
}

/// Processes that live in the data directory.
fn processes(cluster: &Cluster) -> usize {
    let data = cluster.data();
    let names = fs::read_dir("/proc").unwrap().flatten();
    names
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
        .count()
}

fn kill_postmaster(cluster: &Cluster) {
    kill_9(cluster.postmaster());
    wait_until("nobody is left", || processes(cluster) == 0);
    // Whose child it was may take its time to hear of its end, and until then PostgreSQL takes it for
    // alive. No lock of the socket, and a file that names another dead process.
    let _ = fs::remove_file(cluster.folder().join(".s.PGSQL.5432.lock"));
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let path = cluster.data().join("postmaster.pid");
    let file = fs::read_to_string(&path).unwrap();
    let (_, rest) = file.split_once('\n').unwrap();
    fs::write(path, format!("{}\n{rest}", dead.id())).unwrap();
}

////////////////////////////////////////////////////////////////////////////////
// Kills
////////////////////////////////////////////////////////////////////////////////

#[test]
fn when_the_postmaster_is_killed_no_answer_lacks_its_event() {
    let site = with_clients(server(&[]));
    let (mut answers, mut cut_off) = (0, 0);
    for round in 0..50 {
        let told = load(&site, round, 6, || kill_postmaster(&site.cluster));
        site.cluster.up();
        check(&site, &told, true);
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
            let pid: i32 = killer.query_one(&sql, &[]).unwrap().get(0);
            kill_9(pid.cast_unsigned());
            // Everybody is sent away, and shared memory is made anew.
            while killer.query("SELECT 1", &[]).is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        site.cluster.await_recovery();
        check(&site, &told, true);
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
        let told = load(&site, round, 6, || kill_postmaster(&site.cluster));
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
        wait_until("it shuts down", || cluster.try_connect("postgres", "postgres").is_err());
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
        check(&site, &told, true);
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
            wait_until("they are answered", || answers.load(Ordering::Relaxed) > 100);
            thread::sleep(Duration::from_millis(chance(round, 300)));
            down_before_all_is_written(&cluster);
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        cluster.up();
        for (i, told) in told.iter().enumerate() {
            check(&sites[i % 3], told, true);
        }
    }
}

////////////////////////////////////////////////////////////////////////////////
// Copies
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_dump_that_was_made_under_load_restores_to_a_whole_chain() {
    let site = with_clients(server(&[]));
    let policy =
        ["throttle_free_failures = 2", "throttle_lock_after = 3", "throttle_first_wait = '1h'"];
    site.configure(&policy);
    let mut admin = site.admin();
    site.enroll("42", GOOD);
    for user in ["waits", "locked"] {
        site.enroll(user, GOOD);
        for _ in 0..2 {
            assert_eq!(validate(&mut site.login(), user, WRONG), Answer::no("invalid_credentials"));
        }
    }
    admin.batch_execute("SET password_verify.throttle_free_failures = 100").unwrap();
    assert_eq!(validate(&mut admin, "locked", WRONG), Answer::no("invalid_credentials"));
    assert_eq!(validate(&mut site.login(), "waits", GOOD), Answer::no("throttled"));
    assert_eq!(validate(&mut site.login(), "locked", GOOD), Answer::no("locked"));

    // Two changes are open while it is dumped: one commits later, one does not.
    let (mut a, mut b) = (site.login(), site.login());
    let (mut later, mut never) = (a.transaction().unwrap(), b.transaction().unwrap());
    let sql = "SELECT auth.pv_create_password($1::text, $2)";
    later.execute(sql, &[&"open, committed later", &GOOD]).unwrap();
    never.execute(sql, &[&"open, rolled back later", &GOOD]).unwrap();
    for user in ["open, committed later", "open, rolled back later"] {
        wait_until("it is on record", || of_user(&mut admin, user) == ["create pending"]);
    }
    let file = site.cluster.folder().join("dump");
    let told = load(&site, 0, 4, || {
        let mut pg_dump = site.cluster.command("pg_dump");
        run(pg_dump.args(["-Fc", "-f"]).arg(&file).arg(&site.database));
    });
    later.commit().unwrap();
    never.rollback().unwrap();
    check(&site, &told, true);
    assert_eq!(of_user(&mut admin, "open, committed later"), ["create committed"]);

    let elsewhere = server(&[]);
    let mut restored = restore(&site, &file, &elsewhere, "restored");
    // As it was dumped, before anything has happened there.
    let dumped = counts(&mut restored);
    assert_eq!(of_user(&mut restored, "open, committed later"), ["create pending"]);
    let rows = assert_intact(&mut restored);
    assert!(rows > 10, "{rows}");
    for setting in policy {
        elsewhere
            .admin("postgres")
            .batch_execute(&format!("ALTER DATABASE restored SET password_verify.{setting}"))
            .unwrap();
    }
    let mut app = elsewhere.connect(&site.app, "restored");
    assert_eq!(validate(&mut app, "waits", GOOD), Answer::no("throttled"));
    assert_eq!(validate(&mut app, "locked", GOOD), Answer::no("locked"));
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    settle(&mut restored);
    for user in ["open, committed later", "open, rolled back later"] {
        assert_eq!(of_user(&mut restored, user), ["create unknown"], "{user}");
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("invalid_credentials"), "{user}");
    }
    assert_eq!(
        number(&mut restored, "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'"),
        0
    );
    assert_eq!(epochs(&mut restored).last().unwrap(), "restore");
    assert!(assert_intact(&mut restored) > rows);
    // What was on record is still.
    let now = counts(&mut restored);
    for (what, count) in dumped.iter().filter(|(what, _)| !what.ends_with("pending")) {
        assert!(now[what] >= *count, "{what}");
    }
    // A change there, whose transaction may have a number that was used here.
    for i in 0..20 {
        assert_eq!(create(&mut app, &format!("new {i}"), GOOD), Answer::yes());
    }
    settle(&mut restored);
    for i in 0..20 {
        assert_eq!(of_user(&mut restored, &format!("new {i}")), ["create committed"]);
    }
    assert_eq!(
        number(&mut restored, "SELECT count(*) FROM auth.pv_events"),
        number(
            &mut restored,
            "SELECT (SELECT count(*) FROM password_verify.event) + (SELECT count(*) FROM password_verify.event_fold)"
        )
    );
    assert_intact(&mut restored);
}

/// Restores a dump, and the roles, on another server; a superuser there.
fn restore(site: &Site, file: &PathBuf, elsewhere: &Cluster, database: &str) -> Client {
    let mut dumpall = site.cluster.command("pg_dumpall");
    let output = run(dumpall.args(["--globals-only", "--no-role-passwords"]));
    let globals = String::from_utf8(output.stdout).unwrap();
    let ours = |line: &&str| !line.contains(" postgres") && !line.starts_with('\\');
    let globals: Vec<_> = globals.lines().filter(ours).collect();
    let mut admin = elsewhere.admin("postgres");
    admin.batch_execute(&globals.join("\n")).unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0")).unwrap();
    for (name, value) in CHEAP {
        let sql = format!("ALTER DATABASE {database} SET password_verify.{name} = {value}");
        admin.batch_execute(&sql).unwrap();
    }
    let mut pg_restore = elsewhere.command("pg_restore");
    let output = run(pg_restore.args(["-d", database]).arg(file));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    elsewhere.admin(database)
}

#[test]
fn a_standby_validates_when_told_to_and_records_after_promotion() {
    let site = Site::on(server(&[]));
    site.configure(&["throttle_free_failures = 3", "throttle_first_wait = '1h'"]);
    site.enroll("42", GOOD);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    settle(&mut site.admin());

    let standby = Cluster::empty();
    let mut copy = standby.command("pg_basebackup");
    copy.arg("-D")
        .arg(standby.data())
        .arg("-h")
        .arg(site.cluster.folder())
        .args(["-R", "-c", "fast"]);
    run(&mut copy);
    standby.configure(PRELOADED);
    standby.up();
    let here = |user: &str| standby.connect(user, &site.database);
    assert_eq!(
        number(
            &mut here("postgres"),
            "SELECT count(*) FROM pg_stat_activity WHERE pg_is_in_recovery()"
        )
        .signum(),
        1
    );

    // By default it does not.
    let sql = "SELECT * FROM auth.pv_validate_password($1::text, $2, '192.0.2.1')";
    let (state, _, hint) = refused(here(&site.app).query(sql, &[&"42", &GOOD]));
    assert_eq!(state, "25006");
    assert!(hint.contains("password_verify.standby_validation"), "{hint}");
    assert!(!standby.log().contains(r#""event":"standby""#));

    standby.configure(&["password_verify.standby_validation = on"]);
    run(standby.command("pg_ctl").arg("-D").arg(standby.data()).arg("reload"));
    wait_until("it is told to", || {
        here("postgres")
            .query_one("SHOW password_verify.standby_validation", &[])
            .unwrap()
            .get::<_, &str>(0)
            == "on"
    });
    let trail = "SELECT string_agg(e::text, ';' ORDER BY epoch, seq) FROM password_verify.event e";
    let before: String = here("postgres").query_one(trail, &[]).unwrap().get(0);
    let mut app = here(&site.app);
    let mut attempts = 0;
    let mut try_it = |user: &str, password: &str| {
        attempts += 1;
        let row = app.query_one(sql, &[&user, &password]).unwrap();
        let wait: Option<String> = app
            .query_one("SELECT $1::text", &[&row.try_get::<_, Option<String>>(2).ok().flatten()])
            .unwrap()
            .get(0);
        let _ = wait;
        Answer(row.get(0), row.get(1))
    };
    assert_eq!(try_it("42", GOOD), Answer::yes());
    assert_eq!(try_it("nobody", GOOD), Answer::no("invalid_credentials"));
    // (From an address, an account and its client have a budget each.)
    let answers: Vec<Answer> = (0..10).map(|_| try_it("victim", WRONG)).collect();
    assert_eq!(answers[0], Answer::no("invalid_credentials"));
    assert_eq!(answers.last().unwrap(), &Answer::no("throttled"), "{answers:?}");
    // In every session: it is shared memory.
    attempts += 1;
    let row = here(&site.app).query_one(sql, &[&"victim", &WRONG]).unwrap();
    assert_eq!(row.get::<_, Option<&str>>(1), Some("throttled"));
    // Nothing else works there.
    for call in [
        "pv_create_password('new'::text, $1)",
        "pv_change_password('42'::text, $1, 'velvet anvil under monsoon')",
    ] {
        assert_eq!(
            sqlstate(here(&site.app).query(&format!("SELECT auth.{call}"), &[&GOOD])),
            "25006",
            "{call}"
        );
    }
    assert_eq!(
        sqlstate(here("postgres").query("SELECT auth.pv_disable_user('42'::text)", &[])),
        "25006"
    );

    // Each attempt is a line of the log, with no password in it.
    let log = standby.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains(r#""event":"standby""#)).collect();
    assert_eq!(lines.len(), attempts);
    for line in &lines {
        assert!(
            line.contains(r#""action":"validate""#)
                && line.contains(r#""client_addr":"192.0.2.1""#),
            "{line}"
        );
        assert!(line.contains(&format!(r#""login_role":"{}""#, site.app)), "{line}");
    }
    for (user, outcome) in
        [("42", "valid"), ("nobody", "invalid_credentials"), ("victim", "throttled")]
    {
        let mut of = lines.iter().filter(|line| line.contains(&format!(r#""user_id":"{user}""#)));
        assert!(of.any(|line| line.contains(&format!(r#""outcome":"{outcome}""#))), "{user}");
    }
    assert!(!log.contains(GOOD) && !log.contains(WRONG));
    // Nothing was written.
    let after: String = here("postgres").query_one(trail, &[]).unwrap().get(0);
    assert_eq!(after, before);
    assert_eq!(counts(&mut site.admin())["validate valid"], 1);
    assert_intact(&mut here("postgres"));
    assert_eq!(stat(&mut here("postgres"), "queue_used"), 0);

    // What happens on the primary arrives, and is verified here.
    set(&mut site.admin(), "from the primary", GOOD);
    settle(&mut site.admin());
    wait_until("it has arrived", || {
        of_user(&mut here("postgres"), "from the primary") == ["set committed"]
    });
    assert_intact(&mut here("postgres"));

    site.cluster.down();
    run(standby.command("pg_ctl").arg("-D").arg(standby.data()).args(["-w", "promote"]));
    // A session that was there before goes on.
    let answer = ask(&mut app, sql, &[&"42", &GOOD]).unwrap();
    assert_eq!(answer, Answer::yes());
    let mut admin = here("postgres");
    assert_eq!(create(&mut app, "after promotion", GOOD), Answer::yes());
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "42").last().unwrap(), "validate valid");
    assert_eq!(counts(&mut admin)["validate valid"], 2);
    assert_eq!(of_user(&mut admin, "after promotion"), ["create committed"]);
    assert_eq!(epochs(&mut admin), ["start", "promotion"]);
    assert_intact(&mut admin);
}

////////////////////////////////////////////////////////////////////////////////
// Time
////////////////////////////////////////////////////////////////////////////////

#[test]
fn what_is_older_than_the_retention_goes_epoch_by_epoch() {
    let site = with_clients(server(&[]));
    site.configure(&["audit_retention = '1min'"]);
    let mut admin = site.admin();
    let mut app = site.login();
    let start = Instant::now();
    let first = "SELECT min(epoch) FROM password_verify.event";
    let (mut i, mut seen) = (0, Vec::new());
    while start.elapsed() < Duration::from_secs(86) {
        assert_eq!(create(&mut app, &format!("user{i}"), "short"), Answer::no("too_short"));
        i += 1;
        if i % 10 == 0 {
            assert_intact(&mut admin);
            seen.push(number(&mut admin, first));
        }
        thread::sleep(Duration::from_millis(50));
    }
    seen.dedup();
    println!("first epochs: {seen:?}, {i} calls");
    assert!(seen.len() > 1 && seen.is_sorted(), "{seen:?}");
    let why = epochs_from_there(&mut admin);
    assert!(why.len() >= 3 && why.iter().all(|why| why == "daily"), "{why:?}");
    // Somebody says so, before it happens, in a row of the chain.
    let prunes = "SELECT (detail::json->>'epochs_before')::bigint FROM auth.pv_events WHERE action = 'prune' ORDER BY epoch, seq";
    let prunes: Vec<i64> = admin.query(prunes, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(prunes.is_sorted());
    assert_eq!(*prunes.last().unwrap(), number(&mut admin, first));
    // Nothing younger is gone.
    let sql =
        "SELECT count(*), max(substr(user_id, 5)::bigint) - min(substr(user_id, 5)::bigint) + 1
                 FROM auth.pv_events WHERE action = 'create' AND at > now() - interval '55 s'";
    let row = admin.query_one(sql, &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert!(row.get::<_, i64>(0) > 100);
    let oldest = "SELECT EXTRACT(epoch FROM now() - min(at))::bigint FROM auth.pv_events";
    assert!(number(&mut admin, oldest) >= 59);
    assert_intact(&mut admin);
    // Deleting a prefix oneself is still named.
    let mut open = admin.transaction().unwrap();
    let from = *prunes.last().unwrap();
    open.execute("DELETE FROM password_verify.event WHERE epoch = $1", &[&from]).unwrap();
    assert_eq!(verify(&mut open).at, Some((from + 1, 0)));
    open.rollback().unwrap();
    // And so is a row put where the prefix was.
    let mut open = admin.transaction().unwrap();
    open.batch_execute("INSERT INTO password_verify.event SELECT 1, 0, at, since, count, action, outcome, 'forged', client_addr, login_role, acting_role, peer_addr, application_name, pid, xid, alert, detail, mac FROM password_verify.event WHERE action = 'create' LIMIT 1").unwrap();
    let at = verify(&mut open).at;
    open.rollback().unwrap();
    // An extension created anew, after the worker has left, begins with an epoch 1 that nobody has
    // announced to go.
    let working = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'password_verify'";
    wait_until("the worker leaves", || number(&mut admin, working) == 0);
    admin
        .batch_execute(&format!(
            "DROP EXTENSION password_verify; CREATE EXTENSION password_verify SCHEMA auth;
             SELECT auth.pv_grant('{}', 'enroller')",
            site.app
        ))
        .unwrap();
    let mut app = site.login();
    for i in 0..40 {
        assert_eq!(create(&mut app, &format!("again{i}"), "short"), Answer::no("too_short"));
        thread::sleep(Duration::from_millis(50));
    }
    let again = (counts(&mut admin).get("create too_short").copied(), verify(&mut admin).intact);
    assert_eq!(
        (at, again),
        (Some((1, 0)), (Some(40), true)),
        "where it is named; what is left of 40 calls after CREATE EXTENSION, and is it intact"
    );
}

/// As [`epochs`], where the first that is there is not the first that was.
fn epochs_from_there(client: &mut Client) -> Vec<String> {
    let sql =
        "SELECT detail::json->>'why' FROM auth.pv_events WHERE action = 'epoch' ORDER BY epoch";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}
