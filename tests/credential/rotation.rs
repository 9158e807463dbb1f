//! Rotation: every record comes under the newest key, whatever comes in between, and nobody notices.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{change, create, set, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::hold::pid;
use password_verify_tests::keyring::{
    active_key, fresh_key, key_of, line, put, reload, restart, sealed_site, setting,
};
use password_verify_tests::kill::kill_9;
use password_verify_tests::query::text;
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, sqlstate};
use postgres::Client;

const ROTATE: &str = "CALL auth.pv_rotate_keys()";

fn left(client: &mut Client) -> i64 {
    client.query_one("SELECT auth.pv_rotation_left()", &[]).unwrap().get(0)
}

/// `pv_keys`, sorted: id, is it active, how many records.
fn keys(client: &mut Client) -> String {
    let sql = "SELECT string_agg(concat_ws(' ', COALESCE(key_id, 'none'), CASE WHEN active THEN 'active' END, records), ', '
                      ORDER BY key_id NULLS FIRST) FROM auth.pv_keys WHERE (key_id IS NULL) = (fingerprint IS NULL)";
    text(client, sql)
}

/// Adds records that nobody logs in with: copies of one user's, not sealed, in places of their own.
fn fill(site: &Site, phc: &str, records: i32) {
    let sql = "WITH new AS (INSERT INTO password_verify.credential
               SELECT gen_random_uuid(), 'copy ' || i, $1, false, NULL, now(), now() FROM generate_series(1, $2) i
               RETURNING *)
               INSERT INTO password_verify.account
               SELECT blind_index, user_id, NULL, NULL, NULL, created_at, '' FROM new";
    site.admin().execute(sql, &[&phc, &records]).unwrap();
}

/// Somebody's PHC string.
const PHC: &str = "$argon2id$v=19$m=7168,t=5,p=1$c29tZSBzYWx0IG9mIDE2$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Everything of all records but the seal.
fn contents(client: &mut Client) -> String {
    let sql = "SELECT count(*) || ' ' || md5(string_agg(concat_ws(',', blind_index, user_id, must_change, expires_at, disabled_at,
                      change_required_at, tokens_revoked_at, created_at, changed_at), ';' ORDER BY blind_index))
                 FROM password_verify.credential JOIN password_verify.account USING (blind_index, user_id, created_at)";
    text(client, sql)
}

/// New records are sealed with that key from now on, in every session.
fn activate(site: &Site, keys: &str, id: &str) {
    let mut admin = site.admin();
    // One that has just begun reads the file as it is. This one has to hear of the reload.
    assert_ne!(active_key(&mut admin).as_deref(), Some(id));
    put(&site.cluster, keys);
    reload(&site.cluster);
    wait_until("the new key is active", || active_key(&mut admin).as_deref() == Some(id));
}

#[test]
fn records_from_before_the_keyring_are_sealed_and_sealed_again() {
    let cluster = Cluster::start(PRELOADED);
    let site = Site::on(Arc::new(cluster));
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    let service = ["manager", "auditor"];
    let logs_in = |users: &[&str]| {
        let mut app = site.login();
        for user in users {
            assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
        }
    };
    assert_eq!(keys(&mut site.login_with(&service)), "none active 3");
    assert_eq!(left(&mut site.admin()), 0);
    site.admin().batch_execute(ROTATE).unwrap();

    // A keyring comes later: what is there still works, what is new is sealed.
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    put(&site.cluster, &a);
    site.cluster.configure(&[&setting(&site.cluster.folder().join("keys"))]);
    restart(&site.cluster, &a);
    site.enroll("u4", GOOD);
    logs_in(&["u1", "u2", "u4"]);
    assert_eq!(change(&mut site.login(), "u3", GOOD, OTHER), Answer::yes());
    assert_eq!(change(&mut site.login(), "u3", OTHER, GOOD), Answer::yes());
    let mut admin = site.admin();
    // Of u3 the account is still what it was, which its owner does not write.
    assert_eq!(keys(&mut admin), "none 3, a active 2");
    assert_eq!((key_of(&mut admin, "u1"), key_of(&mut admin, "u3")), (None, Some("a".into())));
    assert_eq!(left(&mut admin), 3);
    let before = contents(&mut admin);

    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    let notices = || std::mem::take(&mut *heard.lock().unwrap());
    manager.batch_execute(ROTATE).unwrap();
    let said = notices();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("NOTICE") && said[0].contains("\"3 records sealed, 0 left, "),
        "{said:?}"
    );
    assert!(said[0].contains(" a second\""), "{said:?}");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("a active 4".into(), 0));
    logs_in(&["u1", "u2", "u3", "u4"]);

    // Another key.
    activate(&site, &format!("{a}{b}"), "b");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("a 4, b active 0".into(), 4));
    logs_in(&["u1", "u4"]);
    manager.batch_execute("CALL auth.pv_rotate_keys(batch_size => 1)").unwrap();
    let said = notices();
    assert!(said.last().unwrap().contains("\"4 records sealed, 0 left, "), "{said:?}");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("b active 4".into(), 0));
    let shown = "SELECT string_agg(DISTINCT key_id || ' ' || algorithm || ' ' || parameters, ', ') FROM auth.pv_users";
    assert_eq!(text(&mut admin, shown), "b argon2id m=7168,t=5,p=1");
    assert_eq!(contents(&mut admin), before, "nothing but the seal is new");
    // Nothing to do.
    manager.batch_execute(ROTATE).unwrap();
    assert!(notices()[0].contains("\"0 records sealed, 0 left, "));
    // The old key can go.
    restart(&site.cluster, &b);
    logs_in(&["u1", "u2", "u3", "u4"]);
}

#[test]
fn records_that_cannot_be_opened_are_left_and_counted() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "moved"] {
        site.enroll(user, GOOD);
    }
    let sql = "UPDATE password_verify.credential SET verifier = (SELECT verifier FROM password_verify.credential WHERE user_id = 'u1')
                WHERE user_id = 'moved'";
    site.admin().batch_execute(sql).unwrap();
    activate(&site, &format!("{a}{b}"), "b");
    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    manager.batch_execute(ROTATE).unwrap();
    let said = heard.lock().unwrap().join("\n");
    assert!(said.contains("\"2 records sealed, 1 left, ") && said.contains("WARNING"), "{said}");
    assert!(said.contains("1 records could not be opened") && said.contains("pv_keys"), "{said}");
    assert_eq!(left(&mut manager), 1);
    assert_eq!(keys(&mut manager), "a 1, b active 2");
    // It is not made good by being sealed again.
    let sql = "SELECT auth.pv_validate_password('moved', $1)";
    assert_eq!(sqlstate(site.login().query(sql, &[&GOOD])), "XX001");

    // Without the old key nothing of it is lost, or sealed with nothing.
    restart(&site.cluster, &a);
    assert_eq!(
        sqlstate(site.login().query("SELECT auth.pv_validate_password('u1', $1)", &[&GOOD])),
        "55000"
    );
    site.admin().batch_execute(ROTATE).unwrap();
    assert_eq!(keys(&mut site.admin()), "a active 1, b 2");
    site.cluster.configure(&["password_verify.keyring_file = ''"]);
    restart(&site.cluster, "");
    let mut admin = site.admin();
    assert_eq!((left(&mut admin), keys(&mut admin)), (3, "none active 0, a 1, b 2".into()));
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!((left(&mut admin), keys(&mut admin)), (3, "none active 0, a 1, b 2".into()));
}

#[test]
fn an_interrupted_rotation_goes_on_where_it_was() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    let records = 30_000;
    fill(&site, PHC, records);
    activate(&site, &format!("{a}{b}"), "b");
    let before = contents(&mut site.admin());
    let mut last = left(&mut site.admin());
    assert_eq!(last, i64::from(records) + 3);
    for how in ["pg_cancel_backend", "pg_terminate_backend", "kill -9"] {
        let (mut doomed, mut admin) = (site.admin(), site.admin());
        let pid = pid(&mut doomed);
        let working =
            thread::spawn(move || sqlstate(doomed.batch_execute("CALL auth.pv_rotate_keys(2)")));
        wait_until("it has begun", || left(&mut admin) < last - 100);
        if how == "kill -9" {
            kill_9(pid.cast_unsigned());
            wait_until("the crash is noticed", || admin.query_one("SELECT 1", &[]).is_err());
            site.cluster.await_recovery();
        } else {
            admin.execute(&format!("SELECT {how}($1)"), &[&pid]).unwrap();
        }
        let state = working.join().unwrap();
        assert!(state != "no error", "{how}: it was done before");
        if how == "pg_cancel_backend" {
            assert_eq!(state, "57014");
        }
        let mut admin = site.admin();
        let now = left(&mut admin);
        assert!(0 < now && now < last, "{how}: {now} of {last}");
        assert_eq!(contents(&mut admin), before, "{how}");
        assert_eq!(validate(&mut site.login(), "u1", GOOD), Answer::yes(), "{how}");
        last = now;
    }
    let mut admin = site.admin();
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!((left(&mut admin), contents(&mut admin)), (0, before));
    restart(&site.cluster, &b);
    let mut app = site.login();
    for user in ["u1", "u2", "u3"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
    // What the records hold is what they held: sealed once more, all of them opened.
    activate(&site, &format!("{b}{a}"), "a");
    let (mut admin, heard) = site.cluster.listen("postgres", &site.database);
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!(left(&mut admin), 0);
    assert!(!heard.lock().unwrap().join("").contains("WARNING"));
}

#[test]
fn a_record_that_somebody_holds_is_left_for_the_next_call() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    activate(&site, &format!("{a}{b}"), "b");
    let mut holder = site.admin();
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM password_verify.credential WHERE user_id = 'u2' FOR UPDATE", &[])
        .unwrap();
    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    manager.batch_execute(ROTATE).unwrap();
    let said = std::mem::take(&mut *heard.lock().unwrap()).join("\n");
    assert!(
        said.contains("WARNING") && said.contains("1 records were held by other transactions"),
        "{said}"
    );
    assert!(said.contains("Call pv_rotate_keys again"), "{said}");
    assert_eq!(keys(&mut manager), "a 1, b active 2");
    assert_eq!(validate(&mut site.login(), "u2", GOOD), Answer::yes());
    held.rollback().unwrap();
    manager.batch_execute(ROTATE).unwrap();
    let said = heard.lock().unwrap().join("\n");
    assert!(said.contains("\"1 records sealed, 0 left, ") && !said.contains("WARNING"), "{said}");

    // Held only for a while: one call is enough.
    activate(&site, &format!("{b}{a}"), "a");
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM password_verify.credential WHERE user_id = 'u2' FOR UPDATE", &[])
        .unwrap();
    thread::scope(|scope| {
        let working = scope.spawn(|| site.admin().batch_execute(ROTATE).unwrap());
        wait_until("the others are done", || left(&mut manager) == 1);
        held.rollback().unwrap();
        working.join().unwrap();
    });
    assert_eq!(left(&mut manager), 0);
}

////////////////////////////////////////////////////////////////////////////////
// Who may call it, and how
////////////////////////////////////////////////////////////////////////////////

#[test]
fn managers_rotate_with_whatever_settings_and_objects_they_have() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    activate(&site, &format!("{a}{b}"), "b");
    let batch = "SELECT * FROM auth.pv_rotate_batch($1::text::uuid, $2)";
    let mut manager = site.login_with(&["manager"]);
    // The application may not, nor anybody with another kind.
    let mut others = site.login_with(&["verifier", "enroller", "registrar", "auditor"]);
    for client in [&mut site.login(), &mut others] {
        assert_eq!(sqlstate(client.batch_execute(ROTATE)), "42501");
        assert_eq!(sqlstate(client.query("SELECT auth.pv_rotation_left()", &[])), "42501");
        assert_eq!(sqlstate(client.query(batch, &[&None::<&str>, &1])), "42501");
    }
    assert_eq!(sqlstate(manager.query("SELECT * FROM auth.pv_keys", &[])), "42501");
    // It commits, so it can be no part of a transaction. Nothing of it stays.
    for sql in [
        format!("BEGIN; {ROTATE}"),
        format!("{ROTATE}; SELECT 1"),
        "DO $$ BEGIN BEGIN CALL auth.pv_rotate_keys(); EXCEPTION WHEN division_by_zero THEN END; END $$".into(),
    ] {
        assert_eq!(sqlstate(manager.batch_execute(&sql)), "2D000", "{sql}");
        manager.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(left(&mut manager), 3);
    // Nor in one that only reads.
    manager.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(sqlstate(manager.batch_execute(ROTATE)), "25006");
    assert_eq!(sqlstate(manager.query(batch, &[&None::<&str>, &1])), "25006");
    manager.batch_execute("RESET default_transaction_read_only").unwrap();
    assert_eq!(left(&mut manager), 3);

    // Whatever names and operators it could meet are theirs, and must not be called.
    let role = text(&mut manager, "SELECT current_user::text");
    site.admin().batch_execute(&format!("CREATE SCHEMA theirs AUTHORIZATION {role}")).unwrap();
    let mut hostile = String::from("SET search_path = theirs;");
    let mut function = |schema: &str, name: &str, args: &str, returns: &str| {
        hostile += &format!(
            "CREATE FUNCTION {schema}.{name}({args}) RETURNS {returns} LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'theirs'; END $f$;"
        );
    };
    for schema in ["theirs", "pg_temp"] {
        function(
            schema,
            "pv_rotate_batch",
            "pg_catalog.uuid, pg_catalog.int4, OUT last pg_catalog.uuid, OUT sealed pg_catalog.int8, OUT busy pg_catalog.int8, OUT unopened pg_catalog.int8, OUT finished pg_catalog.bool",
            "pg_catalog.record",
        );
        function(schema, "pv_rotation_left", "", "pg_catalog.int8");
        function(schema, "clock_timestamp", "", "pg_catalog.timestamptz");
        function(schema, "pg_sleep", "pg_catalog.float8", "pg_catalog.void");
        function(schema, "pg_sleep", "pg_catalog.numeric", "pg_catalog.void");
        function(schema, "round", "pg_catalog.numeric", "pg_catalog.numeric");
        function(
            schema,
            "format",
            "pg_catalog.text, VARIADIC pg_catalog.anyarray",
            "pg_catalog.text",
        );
        function(schema, "format", "pg_catalog.text, pg_catalog.int8", "pg_catalog.text");
        function(schema, "extract", "pg_catalog.text, pg_catalog.interval", "pg_catalog.numeric");
        function(schema, "date_part", "pg_catalog.text, pg_catalog.interval", "pg_catalog.float8");
        for types in [
            "pg_catalog.int8, pg_catalog.int8",
            "pg_catalog.int8, pg_catalog.int4",
            "pg_catalog.int4, pg_catalog.int4",
        ] {
            function(schema, "greatest_of", types, "pg_catalog.bool");
            function(schema, "sum_of", types, "pg_catalog.int8");
        }
        function(
            schema,
            "of_times",
            "pg_catalog.timestamptz, pg_catalog.timestamptz",
            "pg_catalog.interval",
        );
        function(
            schema,
            "of_intervals",
            "pg_catalog.interval, pg_catalog.interval",
            "pg_catalog.bool",
        );
        function(
            schema,
            "of_numerics",
            "pg_catalog.numeric, pg_catalog.numeric",
            "pg_catalog.numeric",
        );
    }
    let mut operator = |name: &str, function: &str, types: &str| {
        let (left, right) = types.split_once(' ').unwrap();
        hostile += &format!(
            "CREATE OPERATOR theirs.{name} (FUNCTION = theirs.{function}, LEFTARG = pg_catalog.{left}, RIGHTARG = pg_catalog.{right});"
        );
    };
    for types in ["int8 int8", "int8 int4", "int4 int4"] {
        for name in ["=", "<", ">", "<=", ">=", "<>"] {
            operator(name, "greatest_of", types);
        }
        for name in ["+", "-", "*", "/"] {
            operator(name, "sum_of", types);
        }
    }
    operator("-", "of_times", "timestamptz timestamptz");
    [">", "<", "="].iter().for_each(|name| operator(name, "of_intervals", "interval interval"));
    ["/", "*", "-", "+"].iter().for_each(|name| operator(name, "of_numerics", "numeric numeric"));
    for name in ["uuid", "int8", "int4", "timestamptz", "interval", "numeric", "record"] {
        hostile += &format!(
            "CREATE DOMAIN theirs.{name} AS pg_catalog.text CHECK (VALUE OPERATOR(pg_catalog.=) 'theirs');"
        );
    }
    hostile += "CREATE TEMP TABLE batch (last pg_catalog.text); CREATE TEMP TABLE b (last pg_catalog.text);
                SET search_path = theirs, pg_temp, pg_catalog;
                SET plpgsql.extra_errors = 'all'; SET default_transaction_isolation = 'serializable';
                SET check_function_bodies = off; SET row_security = off; SET enable_indexscan = off;
                SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -15";
    let temporary = format!("GRANT TEMP ON DATABASE {} TO {role}", site.database);
    site.admin().batch_execute(&temporary).unwrap();
    // (For the first session, they were compiled with another path.)
    for mut client in [manager, site.cluster.connect(&role, &site.database)] {
        let again =
            hostile.replace("CREATE FUNCTION theirs.", "CREATE OR REPLACE FUNCTION theirs.");
        client.batch_execute("DROP SCHEMA theirs CASCADE").unwrap();
        site.admin().batch_execute(&format!("CREATE SCHEMA theirs AUTHORIZATION {role}")).unwrap();
        client.batch_execute(&again).unwrap();
        assert!(
            client.query("SELECT 1::pg_catalog.int4 + 1::pg_catalog.int4", &[]).is_err(),
            "theirs is called"
        );
        client.batch_execute("CALL auth.pv_rotate_keys(1)").unwrap();
        assert_eq!((left(&mut client), keys(&mut site.admin())), (0, "b active 3".into()));
        activate(&site, &format!("{b}{a}"), "a");
        client.batch_execute("CALL auth.pv_rotate_keys(1)").unwrap();
        assert_eq!((left(&mut client), keys(&mut site.admin())), (0, "a active 3".into()));
        activate(&site, &format!("{a}{b}"), "b");
    }
}

#[test]
fn batches_are_of_any_size_and_take_a_server_that_writes() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    fill(&site, PHC, 40);
    let mut manager = site.login_with(&["manager"]);
    type Batch = (i64, bool);
    let batch = |client: &mut Client, after: Option<&str>, size: Option<i32>| -> Batch {
        let sql =
            "SELECT sealed, busy, unopened, finished FROM auth.pv_rotate_batch($1::text::uuid, $2)";
        let row = client.query_one(sql, &[&after, &size]).unwrap();
        assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0));
        (row.get(0), row.get(3))
    };
    // At least one, and at most what there is.
    for (size, sealed) in
        [(None, 1), (Some(-1), 1), (Some(i32::MIN), 1), (Some(0), 1), (Some(5), 5)]
    {
        assert_eq!(batch(&mut manager, None, size), (sealed, false), "{size:?}");
    }
    assert_eq!(left(&mut manager), 31);
    let end = Some("ffffffff-ffff-ffff-ffff-ffffffffffff");
    assert_eq!(batch(&mut manager, end, Some(5)), (0, true));
    // What is rolled back was not sealed.
    manager.batch_execute("BEGIN").unwrap();
    assert_eq!(batch(&mut manager, None, Some(i32::MAX)), (31, true));
    manager.batch_execute("ROLLBACK").unwrap();
    assert_eq!(left(&mut manager), 31);
    assert_eq!(batch(&mut manager, None, Some(i32::MAX)), (31, true));
    assert_eq!((left(&mut manager), batch(&mut manager, None, Some(1)).0), (0, 0));
    activate(&site, &format!("{a}{b}"), "b");
    manager.batch_execute("CALL auth.pv_rotate_keys(NULL)").unwrap();
    activate(&site, &format!("{b}{a}"), "a");
    manager.batch_execute("CALL auth.pv_rotate_keys(-7)").unwrap();
    assert_eq!(left(&mut manager), 0);

    // A standby has the file too, but nothing to write.
    site.enroll("42", GOOD);
    site.cluster.down();
    let standby = Cluster::copy_of(&site.cluster);
    put(&standby, &format!("{a}{b}"));
    standby.configure(&[
        &setting(&standby.folder().join("keys")),
        "password_verify.standby_validation = on",
    ]);
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    standby.up();
    let mut admin = standby.admin(&site.database);
    assert_eq!((left(&mut admin), keys(&mut admin)), (41, "a 41, b active 0".into()));
    for sql in [ROTATE, "SELECT auth.pv_rotate_batch(NULL, 1)"] {
        assert_eq!(sqlstate(admin.batch_execute(sql)), "25006", "{sql}");
    }
    assert_eq!(
        validate(&mut standby.connect(&site.app, &site.database), "42", GOOD),
        Answer::yes()
    );
}

////////////////////////////////////////////////////////////////////////////////
// While others work
////////////////////////////////////////////////////////////////////////////////

/// One client until `stop`: logs in, changes and sets passwords of users of its own. How long each login
/// took.
fn client(site: &Site, name: usize, service: &mut Client, stop: &AtomicBool) -> Vec<Duration> {
    let mut app = site.login();
    let user = format!("client {name}");
    let mut times = Vec::new();
    assert_eq!(create(&mut app, &user, GOOD), Answer::yes());
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        assert_eq!(validate(&mut app, &user, GOOD), Answer::yes(), "{user}");
        times.push(start.elapsed());
        assert_eq!(change(&mut app, &user, GOOD, OTHER), Answer::yes(), "{user}");
        assert_eq!(validate(&mut app, &user, OTHER), Answer::yes(), "{user}");
        assert_eq!(set(service, &user, GOOD), Answer::yes(), "{user}");
    }
    times
}

#[test]
fn nobody_notices_a_rotation() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    // With PV_RECORDS=1000000 it is a measurement.
    let records = std::env::var("PV_RECORDS").map_or(100_000, |records| records.parse().unwrap());
    fill(&site, PHC, records);
    let mut manager = site.login_with(&["manager"]);
    let services: Vec<_> = (0..6).map(|_| site.login_with(&["registrar"])).collect();
    let stop = &AtomicBool::new(false);
    let (took, mut times) = thread::scope(|scope| {
        let site = &site;
        let working = |(name, mut service): (usize, Client)| {
            scope.spawn(move || client(site, name, &mut service, stop))
        };
        let clients: Vec<_> = services.into_iter().enumerate().map(working).collect();
        // Whatever becomes of it, the clients end.
        let rotating = scope.spawn(|| {
            let mut timed = || {
                let start = Instant::now();
                manager.batch_execute(ROTATE).map(|()| start.elapsed())
            };
            let first = timed();
            activate(site, &format!("{a}{b}"), "b");
            [first, timed()]
        });
        let took = rotating.join();
        stop.store(true, Ordering::Relaxed);
        let times: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (took.unwrap().map(Result::unwrap), times)
    });
    let mut admin = site.admin();
    assert_eq!(left(&mut admin), 0);
    assert_eq!(keys(&mut admin), format!("b active {}", records + 6));
    times.sort();
    for (what, took) in ["unsealed to a", "a to b"].into_iter().zip(took) {
        let a_second = f64::from(records) / took.as_secs_f64();
        println!("rotation: {what}: {records} records in {took:?}, {a_second:.0} a second");
    }
    println!("rotation: {} logins meanwhile, p99 {:?}", times.len(), times[times.len() * 99 / 100]);
    restart(&site.cluster, &b);
    let mut app = site.login();
    for name in 0..6 {
        assert_eq!(validate(&mut app, &format!("client {name}"), GOOD), Answer::yes());
    }
}
