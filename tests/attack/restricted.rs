//! Functions are for a client's own statements. Whatever evaluates somebody's expressions in somebody else's
//! session is refused: attempts would be charged to that session, and on record as its login's.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::cluster::server;
use password_verify_tests::trail::{counts, settle, wait_for, wait_until};
use password_verify_tests::{GOOD, Site, attack};
use postgres::Client;

/// A site with a victim, and a schema in which its application may make what it likes.
fn site(settings: &[&str]) -> Site {
    let site = Site::on(server(settings));
    site.enroll("victim", GOOD);
    let app = &site.app;
    site.admin().batch_execute(&format!("CREATE SCHEMA mine AUTHORIZATION {app}")).unwrap();
    site
}

/// A function that guesses, unless it is called by the application itself, and a table of guesses with an
/// index over it.
fn trap(site: &Site) -> Client {
    let mut app = site.login();
    app.batch_execute(&format!(
        "CREATE FUNCTION mine.guess(word text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
         DECLARE answer text;
         BEGIN
             IF session_user = '{}' THEN RETURN 'not yet'; END IF;
             SELECT COALESCE(reason, 'valid') INTO answer FROM auth.pv_validate_password('victim', word);
             RAISE WARNING 'guess: %', answer;
             RETURN answer;
         EXCEPTION WHEN OTHERS THEN
             RAISE WARNING 'guess: %', SQLSTATE;
             RETURN SQLSTATE;
         END $$;
         CREATE TABLE mine.guesses (word text)
             WITH (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0);
         CREATE INDEX answers ON mine.guesses (mine.guess(word));
         INSERT INTO mine.guesses SELECT 'guess ' || i FROM generate_series(1, 40) i;
         CREATE MATERIALIZED VIEW mine.answered AS SELECT mine.guess(word) AS answer FROM mine.guesses",
        site.app
    ))
    .unwrap();
    app
}

/// Nothing but the victim's sign-up is on record or counted.
fn assert_nothing_happened(site: &Site) {
    let mut admin = site.admin();
    settle(&mut admin);
    assert_eq!(counts(&mut admin), [("create committed".to_owned(), 1)].into());
    let hashes: i64 = admin
        .query_one(
            "SELECT COALESCE(sum(value), 0)::bigint FROM auth.pv_stats WHERE statistic = 'hashes'
                        OR statistic LIKE 'validate%'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(hashes, 0);
}

#[test]
fn autovacuum_makes_no_guesses_for_whoever_owns_an_index() {
    let site = site(&["autovacuum = on", "autovacuum_naptime = 1s"]);
    let mut app = trap(&site);
    let sql = "SELECT most_common_vals::text FROM pg_stats WHERE schemaname = 'mine' AND tablename = 'answers'";
    let answers = wait_for("autovacuum has analyzed the table", || {
        app.query_opt(sql, &[]).unwrap().and_then(|row| row.get::<_, Option<String>>(0))
    });
    assert_eq!(answers, "{0A000}");
    attack("guesses by way of autovacuum", 40, usize::from(answers != "{0A000}"));
    assert_nothing_happened(&site);
}

#[test]
fn maintenance_by_a_superuser_makes_no_guesses_in_the_superusers_name() {
    let site = site(&["autovacuum = off"]);
    let _app = trap(&site);
    let (mut dba, heard) = site.cluster.listen("postgres", &site.database);
    let mut through = 0;
    let maintenance = [
        "ANALYZE mine.guesses",
        "VACUUM ANALYZE mine.guesses",
        "VACUUM FULL mine.guesses",
        "CLUSTER mine.guesses USING answers",
        "REINDEX TABLE mine.guesses",
        "REINDEX TABLE CONCURRENTLY mine.guesses",
        "CREATE INDEX again ON mine.guesses (mine.guess(word))",
        "CREATE INDEX CONCURRENTLY once_more ON mine.guesses (mine.guess(word))",
        "REFRESH MATERIALIZED VIEW mine.answered",
    ];
    for statement in maintenance {
        dba.batch_execute(statement).unwrap();
        // What the server says arrives with the next answer.
        dba.batch_execute("SELECT 1").unwrap();
        let said = std::mem::take(&mut *heard.lock().unwrap());
        let guesses: Vec<_> = said.iter().filter(|line| line.contains("guess: ")).collect();
        assert!(!guesses.is_empty(), "{statement} has evaluated nothing");
        through += guesses.iter().filter(|line| !line.contains("guess: 0A000")).count();
    }
    attack("guesses by way of a superuser's maintenance", maintenance.len() * 40, through);
    assert_nothing_happened(&site);
}

#[test]
fn a_trigger_that_replication_fires_makes_no_guesses() {
    let site = site(&["wal_level = logical"]);
    let source = Site::bare(Arc::clone(&site.cluster), "");
    source
        .admin()
        .batch_execute("CREATE TABLE public.fed (word text PRIMARY KEY); CREATE PUBLICATION feed FOR TABLE public.fed")
        .unwrap();
    source
        .admin()
        .query("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')", &[])
        .unwrap();
    let (mut admin, app) = (site.admin(), &site.app);
    admin
        .batch_execute(&format!(
            "CREATE TABLE public.fed (word text PRIMARY KEY); ALTER TABLE public.fed OWNER TO {app};
             GRANT CREATE ON SCHEMA public TO {app}"
        ))
        .unwrap();
    site.login()
        .batch_execute(
            "CREATE TABLE mine.answers (answer text);
             CREATE FUNCTION mine.guess() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN
                 INSERT INTO mine.answers SELECT COALESCE(reason, 'valid') FROM auth.pv_validate_password('victim', NEW.word);
                 RETURN NULL;
             EXCEPTION WHEN OTHERS THEN
                 INSERT INTO mine.answers VALUES (SQLSTATE);
                 RETURN NULL;
             END $$;
             CREATE TRIGGER guess AFTER INSERT ON public.fed FOR EACH ROW EXECUTE FUNCTION mine.guess();
             ALTER TABLE public.fed ENABLE ALWAYS TRIGGER guess",
        )
        .unwrap();
    let connection = format!(
        "host={} port=5432 user=postgres dbname={}",
        site.cluster.folder().display(),
        source.database
    );
    admin
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION feed CONNECTION '{connection}' PUBLICATION feed
               WITH (create_slot = false, slot_name = 'feed', copy_data = false)"
        ))
        .unwrap();
    source
        .admin()
        .batch_execute("INSERT INTO public.fed SELECT 'guess ' || i FROM generate_series(1, 40) i")
        .unwrap();
    let mut answers = Vec::new();
    wait_until("the rows are applied", || {
        let rows = admin.query("SELECT answer FROM mine.answers", &[]).unwrap();
        answers = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        answers.len() == 40
    });
    admin
        .batch_execute("ALTER SUBSCRIPTION feed DISABLE; ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed")
        .unwrap();
    let through = answers.iter().filter(|answer| *answer != "0A000").count();
    attack("guesses by way of logical replication", 40, through);
    assert_nothing_happened(&site);
}

#[test]
fn a_replication_connection_is_no_client() {
    let site = site(&[]);
    let run = |replication: &str, sql: &str| {
        let connection = format!("dbname={} {replication}", site.database);
        let mut psql = site.cluster.command("psql");
        psql.args(["-XAt", "-v", "VERBOSITY=sqlstate", "-d", &connection, "-c", sql]);
        let output = psql.output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let has = "SELECT auth.pv_has_password('victim'::text)";
    assert_eq!(run("", has), "t\n");
    let answer = run("replication=database", has);
    assert!(answer.contains("0A000"), "{answer}");
}

/// Every function that there is, called while an index is built; those that come later, too.
#[test]
fn no_function_is_left_out() {
    let site = site(&[]);
    let (mut dba, heard) = site.cluster.listen("postgres", &site.database);
    dba.batch_execute(
        "CREATE SCHEMA dba;
         CREATE FUNCTION dba.try(call text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
         BEGIN
             EXECUTE call;
             RAISE WARNING 'no error: %', call;
             RETURN 'none';
         EXCEPTION WHEN OTHERS THEN
             IF SQLSTATE <> '0A000' THEN RAISE WARNING '%: %', SQLSTATE, call; END IF;
             RETURN SQLSTATE;
         END $$;
         CREATE TABLE dba.calls AS
             SELECT format('%s %s(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.oid::regproc,
                           (SELECT string_agg('NULL::' || t::regtype, ', ' ORDER BY i)
                              FROM unnest(p.proargtypes) WITH ORDINALITY AS args (t, i))) AS call
               FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
               JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
              WHERE e.extname = 'password_verify' AND d.deptype = 'e'
                -- What runs as its caller, and is no language's but SQL's, has no rights but the caller's.
                AND (p.prosecdef OR p.pronamespace <> 'password_verify'::regnamespace
                     OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'sql'))
                -- What is written in SQL and names nothing of the extension does nothing that anybody could not do.
                AND (p.prosqlbody IS NULL
                     OR EXISTS (SELECT FROM pg_depend named
                                  JOIN pg_depend ours ON ours.classid = named.refclassid AND ours.objid = named.refobjid
                                 WHERE named.classid = 'pg_proc'::regclass AND named.objid = p.oid
                                   AND named.refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass)
                                   AND ours.refclassid = 'pg_extension'::regclass AND ours.refobjid = e.oid
                                   AND ours.deptype = 'e'));
         CREATE INDEX tried ON dba.calls (dba.try(call))",
    )
    .unwrap();
    dba.batch_execute("SELECT 1").unwrap();
    let calls: i64 = dba.query_one("SELECT count(*) FROM dba.calls", &[]).unwrap().get(0);
    let of_extension: i64 = dba
        .query_one(
            "SELECT count(*) FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid JOIN pg_proc p ON p.oid = d.objid
              WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                AND (p.prosecdef OR p.pronamespace <> 'password_verify'::regnamespace
                     OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'sql'))
                AND e.extname = 'password_verify' AND d.objid::regproc::text NOT LIKE 'password_verify.mail_%'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(calls, of_extension);
    let said = heard.lock().unwrap().clone();
    attack("functions that maintenance can call", calls as usize, said.len());
    assert_nothing_happened(&site);
}

#[test]
fn a_function_of_ones_own_still_calls_them() {
    // SECURITY DEFINER, triggers, DO blocks, cursors and views of an ordinary session are the client's own.
    let site = site(&[]);
    let mut app = site.login();
    app.batch_execute(
        "CREATE FUNCTION mine.ask() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS
             $$ SELECT valid FROM auth.pv_validate_password('victim', 'correct horse battery staple') $$;
         CREATE VIEW mine.asked AS SELECT mine.ask() AS valid;
         CREATE TABLE mine.t (valid boolean);
         CREATE FUNCTION mine.on_insert() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.valid := mine.ask(); RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON mine.t FOR EACH ROW EXECUTE FUNCTION mine.on_insert();
         INSERT INTO mine.t DEFAULT VALUES",
    )
    .unwrap();
    for sql in ["SELECT mine.ask()", "SELECT valid FROM mine.asked", "SELECT valid FROM mine.t"] {
        assert!(app.query_one(sql, &[]).unwrap().get::<_, bool>(0), "{sql}");
    }
}
