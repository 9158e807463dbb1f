//! Attacks, each told as a story and replayed with the application's login, which holds the kinds
//! verifier and enroller and may create schemas in its database: bending the functions with
//! paths, settings and other ways to call them.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, change, create, validate};
use password_verify_tests::victim::{all_refused, unharmed, verifier, victim};
use password_verify_tests::{Answer, GOOD, OTHER, sqlstate};

/// They put functions and operators of the same names before the real ones, in a schema of their
/// own and in pg_temp, and let the definer's function run into them.
#[test]
fn shadowed_functions_and_operators() {
    let site = victim();
    let before = verifier(&site);
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         CREATE TABLE mine.caught (what text);
         CREATE FUNCTION mine.eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ('eq uuid'); RETURN true; END $$;
         CREATE FUNCTION mine.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ('eq text'); RETURN true; END $$;
         CREATE FUNCTION mine.eq(name, name) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ('eq name'); RETURN true; END $$;
         CREATE OPERATOR mine.=  (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = mine.eq);
         CREATE OPERATOR mine.<= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = mine.eq);
         CREATE OPERATOR mine.=  (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.eq);
         CREATE OPERATOR mine.=  (LEFTARG = name, RIGHTARG = name, FUNCTION = mine.eq);
         CREATE FUNCTION mine.lower(text) RETURNS text LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ($1); RETURN $1; END $$;
         CREATE FUNCTION mine.now() RETURNS timestamptz LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ('now'); RETURN 'epoch'; END $$;
         CREATE FUNCTION pg_temp.octet_length(text) RETURNS int LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO mine.caught VALUES ($1); RETURN 1; END $$;
         CREATE DOMAIN mine.text AS pg_catalog.text;
         CREATE TYPE pg_temp.uuid AS (x int);
         SET search_path = mine, pg_temp, pg_catalog, auth;",
    )
    .unwrap();
    // The trap works: whatever is not qualified falls into it.
    assert!(
        app.query_one("SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text", &[])
            .unwrap()
            .get::<_, bool>(0)
    );
    app.batch_execute("TRUNCATE mine.caught").unwrap();
    for sql in [
        "SELECT (auth.pv_validate_password('victim'::pg_catalog.text, 'guess'::pg_catalog.text)).reason",
        "SELECT (auth.pv_change_password('victim'::pg_catalog.text, 'guess'::pg_catalog.text, 'velvet anvil under monsoon'::pg_catalog.text)).reason",
    ] {
        assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, &str>(0), "invalid_credentials");
    }
    let sql =
        "SELECT (auth.pv_create_password('victim'::pg_catalog.text, $1::pg_catalog.text)).reason";
    assert_eq!(app.query_one(sql, &[&OTHER]).unwrap().get::<_, &str>(0), "already_set");
    let caught = "SELECT pg_catalog.count(*) FROM mine.caught";
    assert_eq!(app.query_one(caught, &[]).unwrap().get::<_, i64>(0), 0);
    unharmed(&site, &before);
}

/// The same against the DBA: pv_grant runs while the DBA's path leads through a hostile schema.
#[test]
fn a_dba_with_a_hostile_path_grants_safely() {
    let site = victim();
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         GRANT USAGE ON SCHEMA mine TO PUBLIC;
         CREATE FUNCTION mine.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
         CREATE OPERATOR mine.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.eq);
         CREATE FUNCTION mine.format(text, text, text, text, name) RETURNS text LANGUAGE sql AS
             $$ SELECT 'ALTER ROLE ' || current_user || ' SUPERUSER' $$;
         CREATE VIEW mine.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE false;",
    )
    .unwrap();
    let mut dba = site.admin();
    dba.batch_execute("SET search_path = mine, auth, pg_catalog").unwrap();
    dba.execute(
        "SELECT auth.pv_grant($1::pg_catalog.text::regrole, $2)",
        &[&site.app, &"registrar"],
    )
    .unwrap();
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'pv_owner'";
    dba.batch_execute("RESET search_path").unwrap();
    assert!(!dba.query_one(sql, &[]).unwrap().get::<_, bool>(0));
}

/// They change every setting of their own session that reaches queries, and listen.
#[test]
fn settings_of_their_own_session() {
    let site = victim();
    let (mut app, heard) = site.cluster.listen(&site.app, &site.database);
    for setting in [
        "row_security = off",
        "enable_indexscan = off",
        "enable_bitmapscan = off",
        "enable_seqscan = off",
        "plan_cache_mode = force_custom_plan",
        "jit = on",
        "jit_above_cost = 0",
        "debug_print_parse = on",
        "debug_print_rewritten = on",
        "debug_print_plan = on",
        "client_min_messages = debug5",
        "transform_null_equals = on",
        "default_transaction_isolation = serializable",
        "lock_timeout = 1",
        "bytea_output = escape",
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Kathmandu'",
        "standard_conforming_strings = off",
        "default_table_access_method = heap",
        "constraint_exclusion = on",
        "search_path = pg_temp",
        "client_encoding = 'UTF8'",
        "trace_sort = on",
        "work_mem = 64",
        "check_function_bodies = off",
        "quote_all_identifiers = on",
    ] {
        app.batch_execute(&format!("SET {setting}")).unwrap();
    }
    heard.lock().unwrap().clear();
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "victim", "guess"), Answer::no("invalid_credentials"));
    assert_eq!(create(&mut app, "new", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "victim", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "victim", OTHER), Answer::yes());
    let heard = heard.lock().unwrap().join("\n");
    assert!(heard.len() > 100, "the test listens");
    assert!(!heard.contains("argon2id"), "a verifier was printed");
}

/// They loosen the policy for themselves.
#[test]
fn policy_settings_are_not_theirs() {
    let site = victim();
    let mut app = site.login();
    for setting in [
        "password_verify.min_length = 8",
        "password_verify.min_strength = 0",
        "password_verify.argon2_memory = 7168",
        "password_verify.argon2_iterations = 20",
        "password_verify.argon2_parallelism = 1",
    ] {
        all_refused(
            &mut app,
            &[
                &format!("SET {setting}"),
                &format!("SET LOCAL {setting}"),
                &format!("ALTER ROLE CURRENT_USER SET {setting}"),
                &format!("ALTER DATABASE {} SET {setting}", site.database),
            ],
        );
    }
    let sql = "SELECT set_config('password_verify.min_length', '8', false)";
    assert_eq!(sqlstate(app.query(sql, &[])), "42501");
}

/// They connect with a setting that only takes effect at connection.
#[test]
fn settings_of_the_connection() {
    let site = victim();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notices = std::sync::Arc::clone(&heard);
    let mut app = postgres::Config::new()
        .host_path(site.cluster.folder())
        .user(&site.app)
        .dbname(&site.database)
        .options("-c ignore_system_indexes=on")
        .notice_callback(move |notice| notices.lock().unwrap().push(notice.message().to_owned()))
        .connect(postgres::NoTls)
        .unwrap();
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "nobody", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(create(&mut app, "another", GOOD), Answer::yes());
    let heard = heard.lock().unwrap().join("\n");
    assert!(!heard.contains("credential"), "{heard}");
    let row = app.query_one("SHOW ignore_system_indexes", &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "on");
}

/// They wrap our functions in objects of their own: an operator, an aggregate, a view, a definer's
/// function, an index expression. Whatever wraps them, they do what they do.
#[test]
fn wrapped_functions_are_the_same_functions() {
    let site = victim();
    let before = verifier(&site);
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         CREATE OPERATOR mine.@@@ (LEFTARG = text, RIGHTARG = text, FUNCTION = auth.pv_check_password);
         CREATE VIEW mine.v AS SELECT * FROM auth.pv_validate_password('victim'::text, 'guess'::text);
         CREATE FUNCTION mine.d() RETURNS text LANGUAGE sql SECURITY DEFINER AS
             $$ SELECT reason FROM auth.pv_validate_password('victim'::text, 'guess'::text) $$;
         CREATE FUNCTION mine.user_as_bigint(text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 7::bigint $$;",
    )
    .unwrap();
    let row =
        app.query_one("SELECT ('victim'::text OPERATOR(mine.@@@) 'x'::text)::text", &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "(f,too_short)");
    assert_eq!(
        app.query_one("SELECT reason FROM mine.v", &[]).unwrap().get::<_, &str>(0),
        "invalid_credentials"
    );
    assert_eq!(
        app.query_one("SELECT mine.d()", &[]).unwrap().get::<_, &str>(0),
        "invalid_credentials"
    );
    // Another login's function does not lend its rights to pg_read_all_data.
    let sql = "SELECT * FROM auth.pv_validate_password('victim', $1)";
    assert_eq!(ask(&mut app, sql, &[&GOOD]).unwrap(), Answer::yes());
    unharmed(&site, &before);
}

/// They wrap a function in one that they call PARALLEL SAFE, and have it run in parallel.
#[test]
fn in_parallel_it_refuses() {
    let site = victim();
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         CREATE FUNCTION mine.v(u text, p text) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN RETURN (SELECT valid FROM auth.pv_validate_password(u, p)); END $$",
    )
    .unwrap();
    app.batch_execute("SET debug_parallel_query = on")
        .or_else(|_| app.batch_execute("SET force_parallel_mode = on"))
        .unwrap();
    let sql = "SELECT mine.v('victim', $1)";
    assert_eq!(sqlstate(app.query(sql, &[&GOOD])), "25000");
}

/// They run it from parallel workers, cursors, prepared statements and DO blocks.
#[test]
fn every_way_to_run_a_statement() {
    let site = victim();
    let mut app = site.login();
    app.batch_execute("SET debug_parallel_query = on;")
        .or_else(|_| app.batch_execute("SET force_parallel_mode = on"))
        .unwrap();
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    app.batch_execute(
        "BEGIN;
         DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT reason FROM generate_series(1, 3), auth.pv_validate_password('victim', 'guess');
         COMMIT;",
    )
    .unwrap();
    let rows = app.query("FETCH ALL FROM c", &[]).unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "invalid_credentials"));
    assert_eq!(rows.len(), 3);
    app.batch_execute(
        "DO $$ DECLARE r record; BEGIN
             SELECT * INTO r FROM auth.pv_validate_password('victim', 'guess');
             ASSERT NOT r.valid AND r.reason = 'invalid_credentials';
             BEGIN PERFORM auth.pv_validate_password(''::text, 'guess');
             EXCEPTION WHEN invalid_parameter_value THEN NULL; END;
             SELECT * INTO r FROM auth.pv_validate_password('victim', 'correct horse battery staple');
             ASSERT r.valid;
         END $$",
    )
    .unwrap();
}
