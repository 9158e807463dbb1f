//! Copies of a server: what is restored or promoted has a chain of events that is whole.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use password_verify_tests::calls::{ask, create, set, validate};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::keyring::{fresh_key, keyring, line, sealed_site, setting};
use password_verify_tests::query::number;
use password_verify_tests::roles::globals;
use password_verify_tests::site::CHEAP;
use password_verify_tests::told::{assert_on_record, load, with_clients};
use password_verify_tests::trail::{
    assert_intact, counts, epochs, of_user, settle, stat, wait_until,
};
use password_verify_tests::whole::{assert_whole, problem};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, WRONG, refused, sqlstate};
use postgres::Client;
use serde_json::{Value, json};

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
    assert_on_record(&site, &told, true);
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
    let mut admin = elsewhere.admin("postgres");
    admin.batch_execute(&globals(&site.cluster)).unwrap();
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
    assert!(!standby.log().contains(r#""ecs":"#));

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
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| line.contains(r#""ecs":"#))
        .map(|line| serde_json::from_str(&line[line.find("{").unwrap()..]).unwrap())
        .collect();
    assert_eq!(lines.len(), attempts);
    for line in &lines {
        assert_eq!(line["event"]["action"], "validate", "{line}");
        assert_eq!(line["source"]["ip"], "192.0.2.1");
        let ours = &line["password_verify"];
        assert_eq!(
            (&ours["login_role"], &ours["database"]),
            (&json!(site.app), &json!(site.database))
        );
        assert_eq!(ours["left_out"], 0);
        // It has no place.
        assert!(line["event"].get("id").is_none() && ours.get("epoch").is_none(), "{line}");
    }
    for (user, outcome) in
        [("42", "valid"), ("nobody", "invalid_credentials"), ("victim", "throttled")]
    {
        let mut of = lines.iter().filter(|line| line["user"]["id"] == user);
        assert!(of.any(|line| line["event"]["reason"] == outcome), "{user}");
    }
    let mut auditor = here("postgres");
    for line in log.lines().filter(|line| line.contains(r#""ecs":"#)) {
        let sql = "SELECT genuine FROM auth.pv_verify_log_line($1)";
        assert!(auditor.query_one(sql, &[&line]).unwrap().get::<_, bool>(0), "{line}");
    }
    // Whatever messages a caller asks for, the lines are not for her.
    let (mut curious, heard) = standby.listen(&site.app, &site.database);
    curious.batch_execute("SET client_min_messages = debug5").unwrap();
    curious.query(sql, &[&"victim", &WRONG]).unwrap();
    let heard = heard.lock().unwrap().join("\n");
    assert!(!heard.contains("ecs") && !heard.contains("line_mac"), "{heard}");
    let logged = standby.log();
    assert!(logged.matches(r#""ecs":"#).count() > attempts, "it was logged");
    let log = logged;
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

/// With a keyring, the rows of the primary are whole on the standby, and what is planted there opens nothing.
#[test]
fn a_standby_with_a_keyring_refuses_what_has_no_key_and_goes_on_after_promotion() {
    let keys = line("a", &fresh_key());
    let site = sealed_site(&keys);
    ["42", "43"].iter().for_each(|user| site.enroll(user, GOOD));
    settle(&mut site.admin());
    let standby = Cluster::empty();
    let mut copy = standby.command("pg_basebackup");
    copy.arg("-D").arg(standby.data()).arg("-h").arg(site.cluster.folder());
    run(copy.args(["-R", "-c", "fast"]));
    let path = keyring(&standby, "keys", &keys, 0o600);
    // A standby cannot know whether a move to a keyring is over: only `on` opens unsealed rows there.
    let settings = [
        &setting(&path),
        "password_verify.standby_validation = on",
        "password_verify.accept_unsealed = 'until_rotated'",
    ];
    standby.configure(&[PRELOADED, &settings].concat());
    standby.up();
    let mut app = standby.connect(&site.app, &site.database);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    // Written on the primary by somebody without the key.
    let elsewhere = Site::new();
    elsewhere.enroll("mallory", OTHER);
    let sql = "SELECT verifier FROM password_verify.credential WHERE user_id = 'mallory'";
    let planted = password_verify_tests::query::text(&mut elsewhere.admin(), sql);
    let mut admin = site.admin();
    let sql = format!(
        "UPDATE password_verify.credential SET verifier = '{planted}', mac = '' WHERE user_id = '43'"
    );
    admin.batch_execute(&sql).unwrap();
    wait_until("it has arrived", || {
        sqlstate(app.query("SELECT auth.pv_validate_password('43'::text, $1)", &[&OTHER]))
            == "XX001"
    });
    set(&mut admin, "43", GOOD);
    settle(&mut admin);
    wait_until("it has arrived", || {
        let mut here = standby.admin(&site.database);
        of_user(&mut here, "43").last().is_some_and(|last| last == "set committed")
    });
    assert_intact(&mut standby.admin(&site.database));

    site.cluster.down();
    run(standby.command("pg_ctl").arg("-D").arg(standby.data()).args(["-w", "promote"]));
    let mut app = standby.connect(&site.app, &site.database);
    assert_eq!(create(&mut app, "after promotion", GOOD), Answer::yes());
    let mut admin = standby.admin(&site.database);
    settle(&mut admin);
    assert_eq!(epochs(&mut admin), ["start", "promotion"]);
    assert_intact(&mut admin);
    // That a record was not what it had been stays known until a superuser has taken note of it.
    assert!(problem(&mut admin).is_some());
    admin
        .batch_execute("SELECT auth.pv_accept_restore('43 was planted, and has a new password')")
        .unwrap();
    assert_whole(&mut admin);
    assert_intact(&mut admin);
}
