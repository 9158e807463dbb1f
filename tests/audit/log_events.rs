//! `password_verify.log_events`: each event is a line of the server log.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use password_verify_tests::calls::{change, create, validate};
use password_verify_tests::cluster::{major, run, server};
use password_verify_tests::feed::Reader;
use password_verify_tests::hold::Stopped;
use password_verify_tests::keyring::{fresh_key, line, reload, sealed_site};
use password_verify_tests::kill::{crash_by, processes};
use password_verify_tests::query::{number, text};
use password_verify_tests::told::{load, with_clients};
use password_verify_tests::trail::{await_no_worker, settle, wait_for, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack};
use postgres::Client;
use serde_json::Value;

const PREFIX: &str = "password_verify: {";

/// The objects of all lines with events of that database, in the order of the log.
fn logged(site: &Site, log: &str) -> Vec<Value> {
    let objects = log.lines().filter_map(|line| line.split_once(PREFIX)).map(|(_, rest)| {
        serde_json::from_str(&format!("{{{rest}")).unwrap_or_else(|_| panic!("no JSON: {rest}"))
    });
    let ours = |object: &Value| object["password_verify"]["database"] == *site.database;
    objects.filter(ours).collect()
}

/// What an object of the log has and one of the feed has not.
fn without_signature(mut object: Value) -> Value {
    let ours = object["password_verify"].as_object_mut().unwrap();
    for name in ["server", "line", "key", "line_mac"] {
        assert!(ours.remove(name).is_some(), "{name}");
    }
    object
}

fn fed(admin: &mut Client) -> Vec<Value> {
    let mut reader = Reader::default();
    reader.rest(admin, 1000).unwrap();
    reader.events
}

/// Changes that are committed and rolled back, and attempts that fail.
fn do_something(site: &Site) {
    let mut app = site.login();
    assert_eq!(create(&mut app, "alice", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "alice", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "alice", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "nobody", GOOD), Answer::wrong());
    let mut open = app.transaction().unwrap();
    let sql = "SELECT auth.pv_create_password('bob'::text, $1)";
    open.query(sql, &[&GOOD]).unwrap();
    open.rollback().unwrap();
    settle(&mut site.admin());
}

/// The lines are there a moment after the rows are.
fn await_lines(site: &Site, log: impl Fn() -> String) -> Vec<Value> {
    let mut admin = site.admin();
    await_no_worker(&mut admin);
    let last = fed(&mut admin).pop().unwrap();
    wait_for("the last line", || {
        let lines = logged(site, &log());
        lines.iter().any(|it| it["event"]["id"] == last["event"]["id"]).then_some(lines)
    })
}

#[test]
fn each_event_is_a_line_as_the_feed_has_it_in_its_order_and_signed() {
    let site = sealed_site(&line("first", &fresh_key()));
    do_something(&site);
    let quiet = site.cluster.log();
    assert!(logged(&site, &quiet).is_empty(), "it is off");
    await_no_worker(&mut site.admin());
    let before = fed(&mut site.admin()).len();
    site.configure(&["log_events = on"]);
    do_something_else(&site);
    let lines = await_lines(&site, || site.cluster.log());
    let expected = fed(&mut site.admin()).split_off(before);
    assert_eq!(expected.len(), 5, "create, prove, change and two ends: {expected:?}");
    let found: Vec<Value> = lines.into_iter().map(without_signature).collect();
    assert_eq!(found, expected);
    // Genuine, and not one that was changed.
    let mut auditor = site.login_with(&["auditor"]);
    let log = site.cluster.log();
    let (genuine, mut checked) = ("SELECT genuine FROM auth.pv_verify_log_line($1)", 0);
    for line in log.lines().filter(|line| line.contains("carol")) {
        for (line, expected) in [(line.to_owned(), true), (line.replace("carol", "alice"), false)] {
            let genuine: bool = auditor.query_one(genuine, &[&line]).unwrap().get(0);
            assert_eq!(genuine, expected, "{line}");
            checked += 1;
        }
    }
    assert_eq!(checked, 6, "of three events, as they are and changed");
    assert!(!log.contains(GOOD) && !log.contains(OTHER));
    site.configure(&["log_events = off"]);
    await_no_worker(&mut site.admin());
    let before = logged(&site, &site.cluster.log()).len();
    do_something_else(&site);
    await_no_worker(&mut site.admin());
    assert_eq!(logged(&site, &site.cluster.log()).len(), before);
}

fn do_something_else(site: &Site) {
    let mut app = site.login();
    let user = format!("carol {}", fresh_key());
    assert_eq!(create(&mut app, &user, GOOD), Answer::yes());
    assert_eq!(change(&mut app, &user, GOOD, OTHER), Answer::yes());
    settle(&mut site.admin());
}

#[test]
fn in_every_format_of_the_log() {
    let formats = if major() >= 15 { "stderr,csvlog,jsonlog" } else { "stderr,csvlog" };
    let site = Site::on(server(&[
        "logging_collector = on",
        &format!("log_destination = '{formats}'"),
        "log_filename = 'log'",
        "log_directory = 'logs'",
        "log_file_mode = 0644",
        "password_verify.log_events = on",
        // What would hide or split a line.
        "log_min_messages = panic",
        "log_error_verbosity = verbose",
        "log_min_error_statement = debug5",
    ]));
    do_something(&site);
    let read = |name: &str| {
        fs::read_to_string(site.cluster.data().join("logs").join(name)).unwrap_or_default()
    };
    // PostgreSQL makes the names of the other formats of this one.
    let lines = await_lines(&site, || read("log"));
    let plain: Vec<_> = lines.into_iter().map(without_signature).collect();
    assert_eq!(plain, fed(&mut site.admin()));
    let csv = read("log.csv");
    let messages = csv.lines().filter(|line| line.contains(PREFIX)).map(|line| {
        // The message is a quoted field, in which quotation marks are doubled.
        let start = line.find(PREFIX).unwrap();
        let rest = line[start..].replace("\"\"", "\u{1}");
        let (message, after) = rest.split_once('"').unwrap();
        assert!(after.contains(r#""password_verify""#), "the kind of process: {after}");
        message.replace('\u{1}', "\"")
    });
    let csv: Vec<_> = logged(&site, &messages.collect::<Vec<_>>().join("\n"));
    assert_eq!(csv.into_iter().map(without_signature).collect::<Vec<_>>(), plain);
    if major() >= 15 {
        let json = read("log.json");
        let objects = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = objects
            .filter(|object| object["message"].as_str().unwrap_or_default().starts_with(PREFIX));
        let messages: Vec<String> = ours
            .inspect(|object| assert_eq!(object["backend_type"], "password_verify"))
            .inspect(|object| assert_eq!(object["error_severity"], "LOG"))
            .map(|object| object["message"].as_str().unwrap().to_owned())
            .collect();
        let json: Vec<_> = logged(&site, &messages.join("\n"));
        assert_eq!(json.into_iter().map(without_signature).collect::<Vec<_>>(), plain);
    }
}

#[test]
fn a_reload_turns_it_on_for_a_worker_that_is_there() {
    let site = Site::on(server(&[]));
    let mut app = site.login();
    create(&mut app, "before", "short");
    site.cluster.configure(&["password_verify.log_events = on"]);
    reload(&site.cluster);
    wait_until("it is on", || {
        create(&mut app, "after", "short");
        logged(&site, &site.cluster.log()).iter().any(|it| it["user"]["id"] == "after")
    });
    // It is nobody's but a superuser's.
    for role in [&mut app, &mut site.login_with(&["manager", "auditor"])] {
        for sql in ["SET password_verify.log_events = off", "SET log_min_messages = panic"] {
            assert!(role.batch_execute(sql).is_err(), "{sql}");
        }
    }
}

/// Whatever is killed when, no committed event is without a line; a few have two.
#[test]
fn no_event_of_a_killed_worker_lacks_its_line() {
    let site = with_clients(server(&["password_verify.log_events = on"]));
    for round in 0..10 {
        create(&mut site.admin(), &format!("before {round}"), "short");
        let mut killer = site.cluster.admin("postgres");
        load(&site, round, 6, || {
            if round % 2 == 0 {
                site.cluster.kill_postmaster();
            } else {
                let look = || worker(&mut killer, &site);
                crash_by(&site.cluster, wait_for("there is a worker", look));
            }
        });
        if round % 2 == 0 {
            site.cluster.up();
        }
    }
    create(&mut site.admin(), "the last", "short");
    settle(&mut site.admin());
    let lines = await_lines(&site, || site.cluster.log());
    let (rows, twice) = compare(&site, &lines);
    println!("{rows} rows, {twice} lines more");
    attack("events without a line after 10 kills", rows, 0);
}

fn worker(client: &mut Client, site: &Site) -> Option<i32> {
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'password_verify'";
    client.query_opt(sql, &[&site.database]).unwrap().map(|row| row.get(0))
}

/// Every row has a line; how many rows, and how many lines are there more than once.
fn compare(site: &Site, lines: &[Value]) -> (usize, usize) {
    let rows = fed(&mut site.admin());
    let mut times = BTreeMap::new();
    let identity = |it: &Value| (it["event"]["id"].to_string(), it["event"]["hash"].to_string());
    lines.iter().for_each(|it| *times.entry(identity(it)).or_insert(0) += 1);
    for row in &rows {
        assert!(times.contains_key(&identity(row)), "there is no line of {row}");
    }
    assert_eq!(times.len(), rows.len(), "no line is of an event that is not there");
    // They come again right behind one another, if at all.
    (rows.len(), lines.len() - rows.len())
}

/// The worker is killed when its transaction is committed and the lines are not written: the log takes none.
#[test]
fn lines_that_a_killed_worker_did_not_write_are_written_by_the_next() {
    let cluster = server(&[
        "logging_collector = on",
        "log_filename = 'log'",
        "log_directory = 'logs'",
        "log_file_mode = 0644",
        "password_verify.log_events = on",
    ]);
    let site = with_clients(Arc::clone(&cluster));
    let path = cluster.data().join("logs").join("log");
    let log = || fs::read_to_string(&path).unwrap_or_default();
    create(&mut site.login(), "first", "short");
    wait_until("its line", || logged(&site, &log()).iter().any(|it| it["user"]["id"] == "first"));
    let mut admin = site.admin();
    // One transaction with many events: it changes a hundred users, and its end has a hundred parts.
    let mut killer = cluster.admin("postgres");
    let logger = logger(&cluster);
    let doomed = {
        let _logger = Stopped::new(logger);
        // More than the pipe to the collector holds, in batches that are committed.
        let mut app = site.login();
        app.batch_execute("SET statement_timeout = '3s'").unwrap();
        for i in 0..400 {
            let user = format!("{i} {}", "\u{1}".repeat(200));
            let sql = "SELECT auth.pv_create_password($1::text, 'short')";
            if app.execute(sql, &[&user]).is_err() {
                break;
            }
        }
        let pid = worker(&mut killer, &site).unwrap();
        let rows = fed(&mut admin).len();
        let written = logged(&site, &log()).len();
        assert!(written < rows, "{written} {rows}");
        run(std::process::Command::new("kill").arg("-9").arg(pid.to_string()));
        std::thread::sleep(Duration::from_millis(200));
        pid
    };
    wait_until("the crash is noticed", || killer.query_one("SELECT 1", &[]).is_err());
    cluster.await_recovery();
    create(&mut site.login(), "last", "short");
    settle(&mut site.admin());
    let lines = await_lines(&site, log);
    let (rows, twice) = compare(&site, &lines);
    println!("{doomed} was killed; {rows} rows, {twice} lines more");
}

/// The process that writes the log.
fn logger(cluster: &Cluster) -> i32 {
    let title = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let found = processes(cluster).into_iter().find(|pid| title(pid).contains("logger"));
    found.unwrap().cast_signed()
}

/// After an orderly restart the lines of the last transaction come again, and none besides.
#[test]
fn a_restart_repeats_the_last_transaction_and_nothing_else() {
    let site = Site::on(server(&["password_verify.log_events = on"]));
    do_something(&site);
    let before = await_lines(&site, || site.cluster.log());
    assert_eq!(compare(&site, &before).1, 0);
    for _ in 0..3 {
        site.cluster.down();
        site.cluster.up();
        create(&mut site.login(), "again", "short");
        settle(&mut site.admin());
    }
    let lines = await_lines(&site, || site.cluster.log());
    let (rows, twice) = compare(&site, &lines);
    assert!((3..10).contains(&twice), "{twice} of {rows}");
    let last = text(&mut site.admin(), "SELECT max(epoch)::text FROM password_verify.event");
    assert!(lines.iter().any(|it| it["event"]["id"] == format!("{last}.0")));
}

/// What a login of the lowest kind can put into a line: it stays one line, short enough to be verified, and says what it is.
#[test]
fn nothing_that_a_login_chooses_forges_or_cuts_a_line() {
    let site = sealed_site(&line("first", &fresh_key()));
    site.configure(&["log_events = on"]);
    let mut admin = site.admin();
    // Names of roles are a DBA's; what is in them is not always hers.
    let role = "x\"}\n2026 LOG:  password_verify: {\\";
    let quoted = role.replace('"', "\"\"");
    admin
        .batch_execute(&format!(
            "CREATE ROLE \"{quoted}\" LOGIN; GRANT USAGE ON SCHEMA auth TO \"{quoted}\"; SELECT auth.pv_grant('\"{quoted}\"', 'enroller')"
        ))
        .unwrap();
    let mut app = site.cluster.connect(role, &site.database);
    let users = [
        "\u{1}".repeat(255),
        "\u{85}".repeat(127),
        "{}\"\\".repeat(63),
        "\u{1f512}".repeat(63),
        "x\n\tpassword_verify: {\"event\":{\"id\":\"9.9\"}}\r\n".to_owned(),
        "password_verify: {\"ecs\":{\"version\":\"8.17.0\"},\"password_verify\":{\"line_mac\":\"\"}}".to_owned(),
    ];
    for user in &users {
        let name = "password_verify: {\"ecs\":1}\n\u{1b}[31m";
        app.execute("SELECT set_config('application_name', $1, false)", &[&name]).unwrap();
        app.execute("SELECT auth.pv_create_password($1::text, 'short')", &[user]).unwrap();
    }
    settle(&mut admin);
    let lines = await_lines(&site, || site.cluster.log());
    let mut auditor = site.login_with(&["auditor"]);
    let mut seen = BTreeSet::new();
    let log = site.cluster.log();
    for line in log.lines().filter(|line| line.contains(r#""ecs":"#) && line.contains("line_mac")) {
        let row = auditor
            .query_one("SELECT genuine, problem FROM auth.pv_verify_log_line($1)", &[&line])
            .unwrap();
        assert!(row.get::<_, bool>(0), "{:?}: {line}", row.get::<_, Option<&str>>(1));
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        seen.insert(line.len());
    }
    println!("the longest line has {:?} bytes", seen.last());
    assert!(seen.last().unwrap() < &8192, "{seen:?}");
    let found: Vec<_> = lines.into_iter().map(without_signature).collect();
    for user in &users {
        let event = found.iter().find(|it| it["user"]["id"] == **user).unwrap();
        assert_eq!(event["event"]["reason"], "too_short");
    }
    // A line that a login has logged itself has the same text, and no MAC of ours.
    let genuine = log.lines().find(|line| line.contains(r#""action":"create""#)).unwrap();
    let json = &genuine[genuine.find(PREFIX).unwrap()..];
    for forged in [
        json.replace("too_short", "committed"),
        format!("x\n2026 LOG:  {}", json.replace("failure", "success")),
    ] {
        app.batch_execute(&format!("DO $$ BEGIN RAISE LOG '%', $line${forged}$line$; END $$"))
            .unwrap();
        let row = auditor
            .query_one("SELECT genuine, problem FROM auth.pv_verify_log_line($1)", &[&forged])
            .unwrap();
        assert!(!row.get::<_, bool>(0));
        assert_eq!(row.get::<_, &str>(1), "forged or changed");
    }
    // The second line of a message is no line of the log by itself.
    assert!(!site.cluster.log().contains("\n2026 LOG"));
}

/// Who may write the tables, and has no key, gets no line signed: the worker that begins anew does not take a row's word.
#[test]
fn a_row_that_somebody_has_planted_has_no_line() {
    let site = sealed_site(&line("first", &fresh_key()));
    site.configure(&["log_events = on"]);
    do_something(&site);
    await_no_worker(&mut site.admin());
    let genuine = fed(&mut site.admin()).len();
    let plant = "INSERT INTO password_verify.event
                 SELECT epoch, seq + 1, at, since, count, 'validate', 'valid', 'planted', client_addr, login_role, acting_role,
                        peer_addr, certificate_subject, certificate_serial, application_name, pid, NULL, alert, detail, user_nonce, mac
                   FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 1";
    site.admin().batch_execute(plant).unwrap();
    assert_eq!(fed_unchecked(&mut site.admin()), genuine as i64 + 1);
    site.cluster.down();
    site.cluster.up();
    create(&mut site.login(), "after", "short");
    let admin = &mut site.admin();
    settle(admin);
    await_no_worker(admin);
    wait_until("the line of what came after", || site.cluster.log().contains(r#""id":"after""#));
    assert!(!site.cluster.log().contains("planted"), "{}", site.cluster.log());
    assert!(site.cluster.log().contains(r#""alert":["tampered"]"#));
}

fn fed_unchecked(admin: &mut Client) -> i64 {
    number(admin, "SELECT count(*) FROM auth.pv_events_after(NULL, NULL, 10000)")
}
