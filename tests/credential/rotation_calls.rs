//! Who may rotate keys, and how: with any settings and objects of their own, in batches of any size.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::validate;
use password_verify_tests::keeper;
use password_verify_tests::keeper::VAULT;
use password_verify_tests::keyring::{fresh_key, line, open_site, put, sealed_site, setting};
use password_verify_tests::query::text;
use password_verify_tests::rotation::{PHC, ROTATE, activate, fill, keys, left};
use password_verify_tests::{Answer, Cluster, GOOD, sqlstate};
use postgres::Client;

#[test]
fn managers_rotate_with_whatever_settings_and_objects_they_have() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    activate(&site, &format!("{a}{b}"), "b");
    let batch = "SELECT * FROM auth.pv_rotate_batch(0, $1::text::uuid, $2)";
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
            "pg_catalog.int4, pg_catalog.uuid, pg_catalog.int4, OUT next_step pg_catalog.int4, OUT last pg_catalog.uuid, OUT sealed pg_catalog.int8, OUT busy pg_catalog.int8, OUT unopened pg_catalog.int8, OUT finished pg_catalog.bool",
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

/// How many rows of a table a batch has sealed, and where the next one begins; whether that was all.
fn batch(
    client: &mut Client,
    step: Option<i32>,
    after: Option<&str>,
    size: Option<i32>,
) -> (i64, i32, bool) {
    let sql = "SELECT sealed, busy, unopened, next_step, finished
                 FROM auth.pv_rotate_batch($1, $2::text::uuid, $3)";
    let row = client.query_one(sql, &[&step, &after, &size]).unwrap();
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0));
    (row.get(0), row.get(3), row.get(4))
}

/// One table after the other: credentials, and what the keeper keeps.
#[test]
fn every_table_is_a_step() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    let mut admin = site.admin();
    site.enroll("Ann", GOOD);
    for name in ["mail", "chat", "news"] {
        keeper::store(&mut admin, "Ann", name, "hunter2");
        keeper::request(&mut admin, "Ann", name);
    }
    let job = keeper::take(&mut admin).unwrap();
    for _ in 0..4 {
        keeper::deliver(&mut admin, job, "{}");
    }
    assert_eq!(keeper::create_vault(&mut admin, "Ann", VAULT), Answer::yes());
    keeper::store_in_vault(&mut admin, "Ann", "bank", "hunter3");
    activate(&site, &format!("{a}{b}"), "b");
    let mut manager = site.login_with(&["manager"]);
    let rows = [1, 4, 3, 4, 1];
    assert_eq!(left(&mut manager), 13);
    assert_eq!(keys(&mut admin), "a 13, b active 0");
    // In any order, and from any place on.
    assert_eq!(batch(&mut manager, Some(3), None, Some(2)), (2, 3, false));
    assert_eq!(batch(&mut manager, Some(2), None, Some(1)), (1, 2, false));
    assert_eq!(left(&mut manager), 10);
    for (step, rows) in (0..).zip(rows) {
        let left_of_it = rows - [0, 0, 1, 2, 0][step as usize];
        let next = if step < 4 { (step + 1, false) } else { (4, true) };
        let told = batch(&mut manager, Some(step), None, Some(i32::MAX));
        assert_eq!(told, (left_of_it, next.0, next.1), "{step}");
        assert_eq!(batch(&mut manager, Some(step), None, None).0, 0, "{step}");
    }
    assert_eq!((left(&mut manager), keys(&mut admin)), (0, "b active 13".into()));
    // What is no step is the last one, or the first.
    for step in [Some(5), Some(i32::MAX), Some(i32::MIN)] {
        let (sealed, _, finished) = batch(&mut manager, step, None, Some(1));
        assert_eq!((sealed, finished), (0, true), "{step:?}");
    }
    assert_eq!(batch(&mut manager, None, None, Some(1)), (0, 1, false));
    // Without the old key everything still opens.
    put(&site.cluster, &b);
    site.cluster.down();
    site.cluster.up();
    let mut admin = site.admin();
    assert_eq!(validate(&mut site.login(), "Ann", GOOD), Answer::yes());
    assert_eq!(keeper::open(&mut admin, job), Ok("hunter2".into()));
    assert_eq!(keeper::results(&mut admin, job, 0).len(), 4);
    assert!(keeper::try_unlock(&mut admin, "Ann", VAULT, "1 minute").unwrap().is_ok());
    assert_eq!(left(&mut admin), 0);
}

#[test]
fn batches_are_of_any_size_and_take_a_server_that_writes() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = open_site(&a);
    fill(&site, PHC, 40);
    let mut manager = site.login_with(&["manager"]);
    let batch = |client: &mut Client, after: Option<&str>, size: Option<i32>| {
        batch(client, Some(0), after, size)
    };
    // At least one, and at most what there is.
    for (size, sealed) in
        [(None, 1), (Some(-1), 1), (Some(i32::MIN), 1), (Some(0), 1), (Some(5), 5)]
    {
        assert_eq!(batch(&mut manager, None, size), (sealed, 0, false), "{size:?}");
    }
    assert_eq!(left(&mut manager), 31);
    let end = Some("ffffffff-ffff-ffff-ffff-ffffffffffff");
    assert_eq!(batch(&mut manager, end, Some(5)), (0, 1, false));
    // What is rolled back was not sealed.
    manager.batch_execute("BEGIN").unwrap();
    assert_eq!(batch(&mut manager, None, Some(i32::MAX)), (31, 1, false));
    manager.batch_execute("ROLLBACK").unwrap();
    assert_eq!(left(&mut manager), 31);
    assert_eq!(batch(&mut manager, None, Some(i32::MAX)), (31, 1, false));
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
    for sql in [ROTATE, "SELECT auth.pv_rotate_batch(0, NULL, 1)"] {
        assert_eq!(sqlstate(admin.batch_execute(sql)), "25006", "{sql}");
    }
    assert_eq!(
        validate(&mut standby.connect(&site.app, &site.database), "42", GOOD),
        Answer::yes()
    );
}
