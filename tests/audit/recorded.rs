//! What is recorded of a call: who made it, where and how it came out.
#![allow(clippy::unwrap_used)]

use std::thread;

use password_verify_tests::calls::{VALIDATE_FROM, ask, change, create, manage, set, validate};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::hold::{Stopped, pid, slots};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{assert_intact, of_user, settle, wait_until};
use password_verify_tests::{ALL_KINDS, Answer, GOOD, OTHER, Site, WRONG, sqlstate};
use postgres::Client;

const CHANGE: &str = "SELECT * FROM auth.pv_change_password($1::text, $2, $3, $4::text::inet)";

#[test]
fn every_call_leaves_its_event_with_who_where_and_how_it_came_out() {
    let site = Site::on(server(&[]));
    // Whatever the server is set to: other libraries may log every statement.
    site.configure(&["redact = on"]);
    let mut admin = site.admin();
    admin.batch_execute("CREATE ROLE front LOGIN; CREATE ROLE back; GRANT back TO front; GRANT USAGE ON SCHEMA auth TO back").unwrap();
    for kind in ALL_KINDS {
        admin.execute("SELECT auth.pv_grant('back', $1)", &[&kind]).unwrap();
    }
    let before = text(&mut admin, "SELECT clock_timestamp()::text");
    let front = &mut site.cluster.connect("front", &site.database);
    front.batch_execute("SET application_name = 'shop'; SET ROLE back").unwrap();
    let pid = pid(front);
    let no = Answer::no;
    let long = "x".repeat(4097);
    let mut expected: Vec<(&str, &str, Option<&str>)> = Vec::new();
    let here = Some("192.0.2.7");

    // Sign up, and log in in every state that an account can be in.
    for user in ["valid", "wrong", "disabled", "expired", "must change", "long", "deleted", "reset"]
    {
        assert_eq!(create(front, user, GOOD), Answer::yes());
        expected.push((user, "create committed", None));
    }
    let log_in = |front: &mut Client, user: &'static str, password: &str, answer: Answer| {
        assert_eq!(
            ask(front, VALIDATE_FROM, &[&user, &password, &"192.0.2.7/24"]).unwrap(),
            answer
        );
    };
    log_in(front, "valid", GOOD, Answer::yes());
    log_in(front, "wrong", WRONG, no("invalid_credentials"));
    log_in(front, "nobody", GOOD, no("invalid_credentials"));
    log_in(front, "long", &long, no("invalid_credentials"));
    assert!(manage(front, "pv_disable_user", "disabled"));
    log_in(front, "disabled", GOOD, no("disabled"));
    assert!(manage(front, "pv_enable_user", "disabled"));
    let sql = "SELECT * FROM auth.pv_set_password('expired', $1, expires_at => clock_timestamp())";
    assert_eq!(ask(front, sql, &[&GOOD]).unwrap(), Answer::yes());
    log_in(front, "expired", GOOD, no("expired"));
    assert!(manage(front, "pv_require_change", "must change"));
    log_in(front, "must change", GOOD, no("change_required"));
    assert!(manage(front, "pv_unlock_user", "wrong"));
    assert!(manage(front, "pv_delete_user", "deleted"));
    assert_eq!(set(front, "reset", OTHER), Answer::yes());
    expected.extend([
        ("valid", "validate valid", here),
        ("wrong", "validate invalid_credentials", here),
        ("nobody", "validate invalid_credentials", here),
        ("long", "validate invalid_credentials", here),
        ("disabled", "disable committed", None),
        ("disabled", "validate disabled", here),
        ("disabled", "enable committed", None),
        ("expired", "set committed", None),
        ("expired", "validate expired", here),
        ("must change", "require_change committed", None),
        ("must change", "validate change_required", here),
        ("wrong", "unlock committed", None),
        ("deleted", "delete committed", None),
        ("reset", "set committed", None),
    ]);
    // What there was nothing to do for is no event.
    for (function, user) in [
        ("pv_enable_user", "valid"),
        ("pv_unlock_user", "valid"),
        ("pv_delete_user", "deleted"),
        ("pv_disable_user", "nobody"),
        ("pv_require_change", "must change"),
    ] {
        assert!(!manage(front, function, user), "{function}");
    }

    // A change: the old password is an attempt of its own.
    let there = Some("2001:db8::7");
    let change_it = |front: &mut Client, user: &str, old: &str, new: &str, answer: Answer| {
        let args: [&(dyn postgres::types::ToSql + Sync); 4] = [&user, &old, &new, &"2001:db8::7"];
        assert_eq!(ask(front, CHANGE, &args).unwrap(), answer, "{user}");
    };
    for user in ["changes", "repeats", "lies", "policy"] {
        assert_eq!(create(front, user, GOOD), Answer::yes());
        expected.push((user, "create committed", None));
    }
    change_it(front, "changes", GOOD, OTHER, Answer::yes());
    change_it(front, "repeats", GOOD, GOOD, no("reused"));
    change_it(front, "lies", WRONG, OTHER, no("invalid_credentials"));
    change_it(front, "policy", GOOD, "too short", no("too_short"));
    change_it(front, "policy", GOOD, &long, no("too_long"));
    change_it(front, "policy", GOOD, "vzvzvzvzvzvzvzvz", no("too_weak"));
    change_it(front, "policy", GOOD, "the best policy of anvils", no("contains_user_id"));
    expected.extend([
        ("changes", "prove valid", there),
        ("changes", "change committed", there),
        ("repeats", "prove valid", there),
        ("repeats", "change reused", there),
        ("lies", "prove invalid_credentials", there),
        ("policy", "change too_short", there),
        ("policy", "change too_long", there),
        ("policy", "change too_weak", there),
        ("policy", "change contains_user_id", there),
    ]);

    // What the policy refuses of a new password.
    for (action, refuse) in
        [("create", create as fn(&mut Client, &str, &str) -> Answer), ("set", set)]
    {
        for (password, reason) in [
            ("too short", "too_short"),
            (&long, "too_long"),
            ("vzvzvzvzvzvzvzvz", "too_weak"),
            ("a monsoon of refused anvils", "contains_user_id"),
        ] {
            assert_eq!(refuse(front, "refused", password), no(reason));
            expected.push((
                "refused",
                Box::leak(format!("{action} {reason}").into_boxed_str()),
                None,
            ));
        }
    }
    assert_eq!(create(front, "valid", OTHER), no("already_set"));
    expected.push(("valid", "create already_set", None));

    settle(&mut admin);
    let sql = "SELECT user_id, action || ' ' || outcome, host(client_addr), xid IS NOT NULL,
                      count = 1 AND alert = 0 AND detail IS NULL AND since = at AND octet_length(mac) = 32
                      AND epoch >= 1 AND seq >= 1
                      AND login_role = 'front' AND acting_role = 'back' AND peer_addr = 'local'
                      AND certificate_subject IS NULL AND certificate_serial IS NULL
                      AND application_name = 'shop' AND pid = $1
                      AND at BETWEEN $2::text::timestamptz AND clock_timestamp(), e::text
                 FROM auth.pv_events e WHERE action NOT IN ('epoch', 'end') ORDER BY epoch, seq";
    let rows = admin.query(sql, &[&pid, &before]).unwrap();
    for row in &rows {
        let (what, changed): (&str, bool) = (row.get(1), row.get(3));
        assert_eq!(changed, what.ends_with("committed"), "{what}");
        assert!(row.get::<_, bool>(4), "{}", row.get::<_, &str>(5));
    }
    let mut found: Vec<(&str, &str, Option<&str>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    // Each user's in the order in which they happened.
    expected.sort_by_key(|(user, ..)| *user);
    found.sort_by_key(|(user, ..)| *user);
    assert_eq!(found, expected);
    // The auditor sees the same.
    let sql = "SELECT count(*) FROM auth.pv_events WHERE action NOT IN ('epoch', 'end')";
    assert_eq!(number(front, sql), expected.len() as i64);
    assert_intact(front);

    // Nowhere is a password, or what one was made into.
    let mut pg_dump = site.cluster.command("pg_dump");
    let dump = String::from_utf8(run(pg_dump.arg(&site.database)).stdout).unwrap();
    assert!(dump.contains("contains_user_id"), "the dump has the events");
    let mut kept = String::new();
    for table in ["event", "event_fold", "open_change", "throttle"] {
        let rows =
            admin.query(&format!("SELECT t::text FROM password_verify.{table} t"), &[]).unwrap();
        rows.iter().for_each(|row| kept.push_str(row.get(0)));
    }
    assert!(kept.contains("192.0.2.7") && kept.len() > 5000, "the test looks");
    let log = site.cluster.log();
    assert!(log.contains("password_verify: {"), "the log has the heads");
    for secret in [GOOD, OTHER, WRONG, &long, "vzvzvzvzvzvzvzvz", "refused anvils", "$argon2id"] {
        assert!(!kept.contains(secret), "{secret}");
        assert!(!log.contains(secret), "{secret}");
        assert!(secret == "$argon2id" || !dump.contains(secret), "{secret}");
    }
    for verifier in admin
        .query("SELECT verifier FROM password_verify.credential WHERE user_id <> ''", &[])
        .unwrap()
    {
        let verifier: &str = verifier.get(0);
        for part in verifier.rsplit('$').take(2) {
            assert!(!kept.contains(part) && !log.contains(part));
        }
    }
}

#[test]
fn refusals_of_the_throttle_and_of_others_are_events_too() {
    let site = Site::new();
    site.configure(&[
        "throttle_free_failures = 2",
        "throttle_lock_after = 4",
        "throttle_first_wait = 60",
    ]);
    let (mut admin, mut app) = (site.admin(), site.login());
    for _ in 0..2 {
        assert_eq!(validate(&mut app, "waits", WRONG), Answer::no("invalid_credentials"));
    }
    for _ in 0..2 {
        assert_eq!(validate(&mut app, "waits", WRONG), Answer::no("throttled"));
    }
    assert_eq!(change(&mut app, "waits", WRONG, GOOD), Answer::no("throttled"));
    admin.batch_execute("SET password_verify.throttle_lock_after = 1").unwrap();
    assert_eq!(validate(&mut admin, "locked", WRONG), Answer::no("invalid_credentials"));
    assert_eq!(validate(&mut admin, "locked", WRONG), Answer::no("locked"));
    assert_eq!(change(&mut admin, "locked", WRONG, GOOD), Answer::no("locked"));

    site.enroll("held", GOOD);
    let mut other = site.login_with(&["verifier", "registrar", "enroller"]);
    let mut open = admin.transaction().unwrap();
    open.execute("SELECT auth.pv_set_password('held', $1)", &[&GOOD]).unwrap();
    open.execute("SELECT auth.pv_create_password('new', $1)", &[&GOOD]).unwrap();
    assert_eq!(set(&mut other, "held", GOOD), Answer::no("busy"));
    assert_eq!(change(&mut other, "held", GOOD, OTHER), Answer::no("busy"));
    assert_eq!(create(&mut other, "new", OTHER), Answer::no("busy"));
    open.rollback().unwrap();

    settle(&mut admin);
    let mut of = |user: &str| {
        let sql = "SELECT action || ' ' || outcome || ' ' || sum(count) || ' ' || max(alert) FROM auth.pv_events
                    WHERE user_id = $1 GROUP BY action, outcome ORDER BY min(since)";
        let rows = admin.query(sql, &[&user]).unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    // The second failure began the wait: alert 1. The failure at the line locked: 2.
    assert_eq!(
        of("waits"),
        ["validate invalid_credentials 2 1", "validate throttled 2 0", "prove throttled 1 0"]
    );
    assert_eq!(
        of("locked"),
        ["validate invalid_credentials 1 2", "validate locked 1 0", "prove locked 1 0"]
    );
    assert_eq!(
        of("held"),
        [
            "create committed 1 0",
            "set rolled_back 1 0",
            "set busy 1 0",
            "prove valid 1 0",
            "change busy 1 0"
        ]
    );
    assert_eq!(of("new"), ["create rolled_back 1 0", "create busy 1 0"]);
    assert_intact(&mut admin);
    // Alerts are lines in the server log.
    let log = site.cluster.log();
    for alert in ["account_waits", "account_locked"] {
        let line =
            format!(r#"password_verify: {{"alert":["{alert}"],"database":"{}""#, site.database);
        assert!(log.contains(&line), "{line}");
    }
}

#[test]
fn what_does_not_come_to_an_answer_is_recorded() {
    let site = Site::new();
    site.enroll("corrupt", GOOD);
    let mut admin = site.admin();
    admin
        .execute(
            "UPDATE password_verify.credential SET verifier = 'x' WHERE user_id = 'corrupt'",
            &[],
        )
        .unwrap();
    assert_eq!(
        sqlstate(site.login().query(VALIDATE_FROM, &[&"corrupt", &GOOD, &None::<&str>])),
        "XX001"
    );
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "corrupt"), ["create committed", "validate abandoned"]);
    assert_intact(&mut admin);

    // Hashes of a second or so, also for who is not there: whoever is has one like that. On a server of
    // their own, whose slots nobody else waits for.
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    admin
        .batch_execute(&format!(
            "ALTER ROLE {app} IN DATABASE {db} SET password_verify.argon2_memory = '128MB';
         ALTER ROLE {app} IN DATABASE {db} SET password_verify.argon2_iterations = 20",
            app = site.app,
            db = site.database,
        ))
        .unwrap();
    for there in ["timed out", "terminated"] {
        site.enroll(there, GOOD);
    }
    settle(&mut admin);
    let mut app = site.login();
    app.batch_execute("SET statement_timeout = 400").unwrap();
    for user in ["timed out", "timed out, and nobody"] {
        assert_eq!(sqlstate(app.query(VALIDATE_FROM, &[&user, &GOOD, &None::<&str>])), "57014");
    }
    for user in ["terminated", "terminated, and nobody"] {
        thread::scope(|scope| {
            let mut session = site.login();
            let pid = pid(&mut session);
            let terminated = scope.spawn(move || {
                sqlstate(session.query(VALIDATE_FROM, &[&user, &GOOD, &None::<&str>]))
            });
            wait_until("it hashes", || slots(&mut admin).0 > 0);
            let stopped = Stopped::with_a_slot(pid);
            admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
            drop(stopped);
            assert_ne!(terminated.join().unwrap(), "no error");
        });
    }
    settle(&mut admin);
    for user in ["timed out", "terminated"] {
        let events = of_user(&mut admin, user);
        let once = ["validate abandoned", "validate valid"];
        assert_eq!(events[0], "create committed", "{user}: {events:?}");
        assert!(events.len() == 2 && once.contains(&events[1].as_str()), "{user}: {events:?}");
        let events = of_user(&mut admin, &format!("{user}, and nobody"));
        let once = ["validate abandoned", "validate invalid_credentials"];
        assert!(events.len() == 1 && once.contains(&events[0].as_str()), "{user}: {events:?}");
    }
    assert_intact(&mut admin);
}

#[test]
fn the_peer_is_who_is_at_the_other_end_whatever_is_claimed() {
    // An address of its own, so that no other server is in the way.
    let pid = std::process::id();
    let address = format!("127.{}.{}.7", pid / 256 % 256, pid % 256);
    let site = Site::on(server(&[&format!("listen_addresses = '{address}'")]));
    let mut config = postgres::Config::new();
    config.host(&address).port(5432).user(&site.app).dbname(&site.database);
    let mut app = config.connect(postgres::NoTls).unwrap();
    let peer = text(&mut app, "SELECT host(inet_client_addr())");
    assert_eq!(
        ask(&mut app, VALIDATE_FROM, &[&"42", &GOOD, &"198.51.100.1"]).unwrap(),
        Answer::no("invalid_credentials")
    );
    let row = site
        .admin()
        .query_one(
            "SELECT peer_addr, host(client_addr) FROM auth.pv_events WHERE user_id = '42'",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (peer.as_str(), "198.51.100.1"));
    assert!(peer.starts_with("127."));
}
