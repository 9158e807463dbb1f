//! Attacks, each told as a story and replayed with the application's login, which holds the kinds
//! verifier and enroller and may create schemas in its database.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, change, create, validate};
use password_verify_tests::cluster::major;
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::{Client, SimpleQueryMessage};

fn victim() -> Site {
    let site = Site::new();
    site.admin()
        .batch_execute(&format!("GRANT CREATE, TEMP ON DATABASE {} TO {}", site.database, site.app))
        .unwrap();
    site.enroll("victim", GOOD);
    site
}

/// The stored verifier, as only a superuser can see it.
fn verifier(site: &Site) -> String {
    let sql = "SELECT verifier FROM password_verify.credential WHERE user_id = 'victim'";
    site.admin().query_one(sql, &[]).unwrap().get(0)
}

/// After whatever was tried: the record is what it was, and the password is right.
fn unharmed(site: &Site, before: &str) {
    assert_eq!(verifier(site), before);
    assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::yes());
}

fn all_refused(client: &mut Client, attacks: &[&str]) {
    for sql in attacks {
        let state = sqlstate(client.batch_execute(sql));
        assert!(["42501", "42809"].contains(&state.as_str()), "{state} for: {sql}");
    }
}

/// They read the table, write it, or copy it out.
#[test]
fn touching_the_tables() {
    let site = victim();
    let before = verifier(&site);
    all_refused(
        &mut site.login(),
        &[
            "SELECT * FROM password_verify.credential",
            "SELECT count(*) FROM password_verify.credential",
            "SELECT verifier FROM ONLY password_verify.credential",
            "TABLE password_verify.blind_index_key",
            "COPY password_verify.credential TO STDOUT",
            "COPY (SELECT * FROM password_verify.credential) TO STDOUT",
            "COPY password_verify.credential FROM STDIN",
            "INSERT INTO password_verify.credential SELECT * FROM password_verify.credential",
            "UPDATE password_verify.credential SET verifier = 'x'",
            "DELETE FROM password_verify.credential",
            "TRUNCATE password_verify.credential",
            "DO $$ BEGIN LOCK TABLE password_verify.credential; END $$",
            "SELECT * FROM password_verify.credential FOR UPDATE",
            "SELECT * FROM password_verify.kind",
            "SELECT * FROM auth.pv_users",
            "SELECT * FROM auth.pv_grants",
            "MERGE INTO password_verify.credential c USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
        ][..if major() >= 15 { 17 } else { 16 }],
    );
    unharmed(&site, &before);
}

/// They have been given pg_read_all_data, "for reporting", which reads every table and reaches every
/// schema. There is row security without a policy, and that role does not bypass it.
#[test]
fn pg_read_all_data() {
    let site = victim();
    site.admin().batch_execute(&format!("GRANT pg_read_all_data TO {}", site.app)).unwrap();
    let mut app = site.login();
    for sql in [
        "SELECT count(*) FROM password_verify.credential",
        "SELECT count(*) FROM password_verify.blind_index_key",
        "SELECT count(*) FROM pg_statistic WHERE starelid = 'password_verify.credential'::regclass",
        "SELECT count(*) FROM pg_stats WHERE schemaname = 'password_verify'",
    ] {
        assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0, "{sql}");
    }
    // They ask not to be filtered: an error, not rows.
    app.batch_execute("SET row_security = off").unwrap();
    assert_eq!(sqlstate(app.query("SELECT * FROM password_verify.credential", &[])), "42501");
    // A leaky function in the condition sees no row either.
    app.batch_execute(
        "SET row_security = on;
         CREATE SCHEMA mine;
         CREATE FUNCTION mine.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
             $$ BEGIN RAISE EXCEPTION 'leaked %', $1; END $$",
    )
    .unwrap();
    let sql = "SELECT * FROM password_verify.credential WHERE mine.leak(verifier)";
    assert!(app.query(sql, &[]).unwrap().is_empty());
}

/// They have been given pg_write_all_data, which writes every table.
#[test]
fn pg_write_all_data() {
    let site = victim();
    let before = verifier(&site);
    site.admin()
        .batch_execute(&format!("GRANT pg_write_all_data, pg_read_all_data TO {}", site.app))
        .unwrap();
    let mut app = site.login();
    for sql in [
        "UPDATE password_verify.credential SET verifier = 'x'",
        "UPDATE password_verify.credential SET user_id = 'mine' WHERE user_id = 'victim'",
        "DELETE FROM password_verify.credential",
        "UPDATE password_verify.account SET disabled_at = NULL",
        "DELETE FROM password_verify.account",
        "DELETE FROM password_verify.blind_index_key",
        "DELETE FROM password_verify.throttle",
        "UPDATE password_verify.event SET user_id = 'somebody else'",
        "DELETE FROM password_verify.event",
        "DELETE FROM password_verify.event_fold",
        "DELETE FROM password_verify.open_change",
        "DELETE FROM password_verify.cost_class",
    ] {
        assert_eq!(app.execute(sql, &[]).unwrap(), 0, "{sql}");
    }
    let forged = "INSERT INTO password_verify.credential VALUES (gen_random_uuid(), 'x', 'y', false, NULL, now(), now())";
    assert_eq!(sqlstate(app.execute(forged, &[])), "42501");
    let forged = "INSERT INTO password_verify.blind_index_key VALUES (decode(repeat('00', 32), 'hex'), true)";
    assert_eq!(sqlstate(app.execute(forged, &[])), "42501");
    assert_eq!(sqlstate(app.execute("TRUNCATE password_verify.credential", &[])), "42501");
    unharmed(&site, &before);
}

/// The same, by way of the views, which belong to the owner: whoever may write every table and view
/// might write credentials through them.
#[test]
fn data_roles_and_the_views() {
    let site = victim();
    let before = verifier(&site);
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("GRANT pg_write_all_data, pg_read_all_data TO {}", site.app))
        .unwrap();
    let sql = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
                WHERE c.relkind = 'v' AND c.relowner = 'pv_owner'::regrole";
    let views: Vec<String> = admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(views.len(), 7);
    let mut app = site.login();
    for view in views {
        let writable = format!("SELECT pg_relation_is_updatable('{view}'::regclass, true)");
        assert_eq!(admin.query_one(&writable, &[]).unwrap().get::<_, i32>(0), 0, "{view}");
        assert_eq!(sqlstate(app.batch_execute(&format!("DELETE FROM {view}"))), "55000", "{view}");
    }
    all_refused(
        &mut app,
        &["SELECT * FROM auth.pv_users", "SELECT * FROM password_verify.users()"],
    );
    unharmed(&site, &before);
}

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

/// They become the owner.
#[test]
fn becoming_the_owner() {
    let site = victim();
    let app = &site.app;
    all_refused(
        &mut site.login(),
        &[
            "SET ROLE pv_owner",
            "SET SESSION AUTHORIZATION pv_owner",
            &format!("GRANT pv_owner TO {app}"),
            "ALTER ROLE pv_owner LOGIN PASSWORD 'x'",
            "ALTER ROLE pv_owner SET session_preload_libraries = 'x'",
            "DROP ROLE pv_owner",
            "REASSIGN OWNED BY pv_owner TO CURRENT_USER",
            "DROP OWNED BY pv_owner",
            "SET ROLE postgres",
            &format!("SELECT auth.pv_grant('{app}', 'manager')"),
            &format!("SELECT auth.pv_revoke('{app}', 'verifier')"),
            &format!(
                "SELECT password_verify.change_grant('{app}', 'manager', 'GRANT %s ON %s %s TO %I')"
            ),
            &format!(
                "GRANT EXECUTE ON FUNCTION auth.pv_set_password(text, text, boolean, timestamptz) TO {app}"
            ),
        ],
    );
    // What they hold they cannot pass on: PostgreSQL warns and grants nothing.
    let mut login = site.login();
    let _ = login.batch_execute(
        "GRANT EXECUTE ON FUNCTION auth.pv_validate_password(text, text, inet) TO PUBLIC",
    );
    let sql = "SELECT has_function_privilege('public', 'auth.pv_validate_password(text, text, inet)', 'EXECUTE')";
    assert!(!site.admin().query_one(sql, &[]).unwrap().get::<_, bool>(0));
}

/// They replace the functions, or stand in front of them.
#[test]
fn replacing_the_functions() {
    let site = victim();
    let before = verifier(&site);
    let fake = "LANGUAGE sql AS $$ SELECT true, NULL::text, NULL::interval $$";
    all_refused(
        &mut site.login(),
        &[
            &format!(
                "CREATE OR REPLACE FUNCTION auth.pv_validate_password(user_id text, password text, client_addr inet DEFAULT NULL, OUT valid boolean, OUT reason text, OUT retry_after interval) {fake}"
            ),
            &format!(
                "CREATE FUNCTION auth.pv_validate_password(user_id int, password text, OUT valid boolean, OUT reason text, OUT retry_after interval) {fake}"
            ),
            &format!(
                "CREATE FUNCTION password_verify.f(OUT a boolean, OUT b text, OUT c interval) {fake}"
            ),
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) SECURITY INVOKER",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) RESET search_path",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) SET search_path = mine",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) RENAME TO x",
            "DROP FUNCTION auth.pv_validate_password(text, text, inet)",
            "ALTER EXTENSION password_verify SET SCHEMA public",
            "ALTER EXTENSION password_verify DROP TABLE password_verify.credential",
            "ALTER EXTENSION password_verify UPDATE",
            "DROP EXTENSION password_verify CASCADE",
            "DROP SCHEMA password_verify CASCADE",
            "ALTER SCHEMA password_verify RENAME TO x",
            "CREATE FUNCTION pg_temp.raw(text) RETURNS boolean LANGUAGE c AS '$libdir/password_verify', 'pv_has_password_wrapper'",
        ],
    );
    unharmed(&site, &before);
}

/// They hang something onto the table: a trigger, a rule, a policy, an index, a view, a child.
#[test]
fn hanging_something_onto_the_table() {
    let site = victim();
    let before = verifier(&site);
    site.admin().batch_execute(&format!("GRANT pg_read_all_data TO {}", site.app)).unwrap();
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         CREATE FUNCTION mine.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
    )
    .unwrap();
    all_refused(
        &mut app,
        &[
            "CREATE TRIGGER t BEFORE UPDATE ON password_verify.credential FOR EACH ROW EXECUTE FUNCTION mine.t()",
            "CREATE RULE r AS ON UPDATE TO password_verify.credential DO ALSO NOTHING",
            "CREATE POLICY p ON password_verify.credential USING (true)",
            "ALTER TABLE password_verify.credential NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE password_verify.credential DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE password_verify.credential ALTER verifier SET STATISTICS 100",
            "CREATE INDEX i ON password_verify.credential ((mine.leak(verifier)))",
            "CREATE TABLE mine.child () INHERITS (password_verify.credential)",
            "CREATE TABLE mine.f (b uuid REFERENCES password_verify.credential)",
            "CREATE STATISTICS mine.s ON user_id, verifier FROM password_verify.credential",
            "CREATE PUBLICATION p FOR TABLE password_verify.credential",
            "ALTER TABLE password_verify.credential ADD CHECK (verifier IS NULL)",
            "COMMENT ON TABLE password_verify.credential IS 'x'",
            "CREATE VIEW password_verify.v AS SELECT 1",
            "REINDEX TABLE password_verify.credential",
            "CLUSTER password_verify.credential USING credential_pkey",
        ],
    );
    // With USAGE on every schema they can name the row type, and so stand in the way of an upgrade. Of no row.
    app.batch_execute("CREATE TABLE mine.c (c password_verify.credential)").unwrap();
    // A view of their own runs with their own rights, and sees what they see: nothing.
    app.batch_execute("CREATE VIEW mine.v AS SELECT * FROM password_verify.credential").unwrap();
    assert!(app.query("SELECT * FROM mine.v", &[]).unwrap().is_empty());
    unharmed(&site, &before);
}

/// They put tables of the same names where a careless function would find them first.
#[test]
fn tables_of_the_same_names() {
    let site = victim();
    let before = verifier(&site);
    let mut app = site.login();
    app.batch_execute(
        "CREATE TEMP TABLE credential (blind_index uuid PRIMARY KEY, user_id text, verifier text,
             must_change boolean, expires_at timestamptz, disabled_at timestamptz, created_at timestamptz, changed_at timestamptz);
         CREATE TEMP TABLE blind_index_key (key bytea, in_use boolean);
         INSERT INTO blind_index_key VALUES (decode(repeat('00', 32), 'hex'), true);
         SET search_path = pg_temp",
    )
    .unwrap();
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    assert_eq!(create(&mut app, "other", OTHER), Answer::yes());
    let sql = "SELECT count(*) FROM pg_temp.credential";
    assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    assert_eq!(sqlstate(app.batch_execute("CREATE SCHEMA password_verify")), "42P06");
    unharmed(&site, &before);
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

/// They have plans and activity explained to them, and look for the verifier in what they read.
#[test]
fn plans_and_activity() {
    let site = victim();
    let mut app = site.login();
    let mut seen = String::new();
    for sql in [
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM auth.pv_validate_password('victim', 'guess')",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT auth.pv_create_password('another', 'correct horse battery staple')",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_locks",
        "SELECT * FROM pg_prepared_statements",
        "SELECT * FROM pg_cursors",
        "SELECT * FROM pg_stat_all_tables WHERE schemaname = 'password_verify'",
        "SELECT * FROM pg_stats",
        "SELECT * FROM pg_settings WHERE name LIKE 'password_verify%'",
        "SELECT prosrc, proconfig FROM pg_proc WHERE proname LIKE 'pv%'",
    ] {
        for message in app.simple_query(sql).unwrap() {
            if let SimpleQueryMessage::Row(row) = message {
                for i in 0..row.len() {
                    seen.push_str(row.get(i).unwrap_or_default());
                }
            }
        }
    }
    assert!(seen.contains("pv_validate_password"), "the test looks");
    assert!(!seen.contains("$argon2id"));
    assert!(!seen.contains(&verifier(&site)));
}

/// They watch the locks while somebody signs up: the place of a record is a secret, because whoever
/// knows it for chosen ids could put a record of their own beside a victim's.
#[test]
fn locks_do_not_tell_places() {
    let site = victim();
    for i in 0..10 {
        site.enroll(&format!("user{i}"), GOOD);
    }
    let watched = std::sync::atomic::AtomicBool::new(false);
    let all: Vec<(u32, u32)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = site.login_with(&["manager"]);
            let sql = "SELECT auth.pv_disable_user('user' || i), auth.pv_enable_user('user' || i) FROM generate_series(0, 9) i";
            while !watched.load(std::sync::atomic::Ordering::Relaxed) {
                session.query(sql, &[]).unwrap();
            }
        });
        let mut app = site.login();
        app.batch_execute(
            "CREATE TEMP TABLE seen (a oid, b oid, UNIQUE (a, b));
             DO $$ BEGIN
                 FOR i IN 1..500000 LOOP
                     INSERT INTO seen SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' ON CONFLICT DO NOTHING;
                     EXIT WHEN (SELECT count(*) FROM seen) >= 4;
                 END LOOP;
             END $$",
        )
        .unwrap();
        watched.store(true, std::sync::atomic::Ordering::Relaxed);
        let rows = app.query("SELECT a, b FROM seen", &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    });
    assert!(all.len() >= 4, "the test sees locks");
    let places =
        site.admin().query("SELECT blind_index FROM password_verify.credential", &[]).unwrap();
    assert_eq!(places.len(), 12);
    for row in places {
        let words = row.get::<_, uuid::Uuid>(0).as_u128().to_be_bytes();
        for word in words.chunks(4) {
            let word = u32::from_be_bytes(word.try_into().unwrap());
            assert!(word == 0 || all.iter().all(|(a, b)| word != *a && word != *b), "{word:x}");
        }
    }
    // Holding advisory locks of the same numbers stands in nobody's way.
    let mut app = site.login();
    for (a, b) in all {
        let (a, b) = (a.cast_signed(), b.cast_signed());
        let both = (i64::from(a) << 32) | i64::from(b.cast_unsigned());
        app.query("SELECT pg_advisory_lock($1, $2), pg_advisory_lock($3)", &[&a, &b, &both])
            .unwrap();
    }
    let mut registrar = site.login_with(&["registrar"]);
    for i in 0..10 {
        let sql = "SELECT success FROM auth.pv_set_password($1::text, $2)";
        let row = registrar.query_one(sql, &[&format!("user{i}"), &GOOD]).unwrap();
        assert!(row.get::<_, bool>(0));
    }
}

/// They read in SERIALIZABLE, where PostgreSQL notes in pg_locks which page and row was read, and
/// anybody can read that.
#[test]
fn serializable_leaves_no_trace_of_the_row() {
    let site = victim();
    let mut app = site.login();
    for user in ["victim", "nobody"] {
        let mut transaction = app
            .build_transaction()
            .isolation_level(postgres::IsolationLevel::Serializable)
            .start()
            .unwrap();
        let sql = "SELECT * FROM auth.pv_validate_password($1::text, 'guess')";
        transaction.query(sql, &[&user]).unwrap();
        let sql = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                    WHERE l.mode = 'SIReadLock' AND c.relname IN ('credential', 'credential_pkey', 'blind_index_key')";
        assert_eq!(transaction.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0, "{user}");
    }
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
