//! Where the extension refuses to be installed, and that it leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Barrier};
use std::thread;

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::{PRELOADED, major, run, server};
use password_verify_tests::{Answer, Cluster, GOOD, Site, refused, sqlstate};

const CREATE: &str = "CREATE EXTENSION password_verify SCHEMA auth";

fn bare() -> Site {
    let site = Site::bare(Cluster::shared(), "");
    site.admin().batch_execute("CREATE SCHEMA auth").unwrap();
    site
}

#[test]
fn without_preloading_everything_says_what_to_do() {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.admin("postgres");
    admin.batch_execute("CREATE SCHEMA auth").unwrap();
    let (state, message, hint) = refused(admin.batch_execute(CREATE));
    assert_eq!((state.as_str(), message.as_str()), ("55000", "password_verify is not preloaded"));
    assert!(hint.contains("shared_preload_libraries = 'password_verify'"), "{hint}");
    let sql = "SELECT count(*) FROM pg_roles WHERE rolname = 'pv_owner'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0, "nothing is left");
    // Loading late is no error: pg_upgrade does it. It does not help either.
    admin.batch_execute("LOAD 'password_verify'").unwrap();
    assert_eq!(sqlstate(admin.batch_execute(CREATE)), "55000");
}

#[test]
fn every_function_fails_when_the_server_stops_preloading() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.enroll("42", GOOD);
    cluster.down();
    cluster.configure(&["shared_preload_libraries = ''"]);
    cluster.up();
    let mut admin = site.admin();
    for call in [
        "pv_validate_password('42', 'x')",
        "pv_change_password('42', 'x', 'y')",
        "pv_check_password('42', 'x')",
        "pv_create_password('43', 'x')",
        "pv_set_password('42', 'x')",
        "pv_has_password('42')",
        "pv_disable_user('42')",
        "pv_enable_user('42')",
        "pv_require_change('42')",
        "pv_delete_user('42')",
    ] {
        assert_eq!(sqlstate(admin.query(&format!("SELECT auth.{call}"), &[])), "55000", "{call}");
    }
    cluster.down();
    cluster.configure(PRELOADED);
    cluster.up();
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
}

#[test]
fn an_owner_role_that_is_more_than_an_owner_is_refused() {
    let cluster = server(&[]);
    let site = Site::bare(cluster, "");
    let mut admin = site.admin();
    admin.batch_execute("CREATE SCHEMA auth; CREATE ROLE friend; CREATE ROLE pv_owner").unwrap();
    for (spoil, mend) in [
        ("ALTER ROLE pv_owner LOGIN", "ALTER ROLE pv_owner NOLOGIN"),
        ("ALTER ROLE pv_owner SUPERUSER", "ALTER ROLE pv_owner NOSUPERUSER"),
        ("ALTER ROLE pv_owner CREATEROLE", "ALTER ROLE pv_owner NOCREATEROLE"),
        ("ALTER ROLE pv_owner CREATEDB", "ALTER ROLE pv_owner NOCREATEDB"),
        ("ALTER ROLE pv_owner BYPASSRLS", "ALTER ROLE pv_owner NOBYPASSRLS"),
        ("ALTER ROLE pv_owner REPLICATION", "ALTER ROLE pv_owner NOREPLICATION"),
        ("GRANT pv_owner TO friend", "REVOKE pv_owner FROM friend"),
        ("GRANT friend TO pv_owner", "REVOKE friend FROM pv_owner"),
    ] {
        admin.batch_execute(spoil).unwrap();
        let (state, message, hint) = refused(admin.batch_execute(CREATE));
        assert_eq!(state, "42501", "{spoil}");
        assert!(message.starts_with("role pv_owner exists"), "{message}");
        assert!(!hint.is_empty());
        admin.batch_execute(mend).unwrap();
    }
    admin.batch_execute(CREATE).unwrap();
}

#[test]
fn a_squatted_private_schema_is_refused() {
    let site = bare();
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("CREATE SCHEMA password_verify AUTHORIZATION {}", site.app))
        .unwrap();
    let (state, _, hint) = refused(admin.batch_execute(CREATE));
    assert_eq!(state, "42P06");
    assert!(!hint.is_empty());
}

#[test]
fn a_schema_in_which_others_may_create_is_refused() {
    let site = bare();
    let app = &site.app;
    let mut admin = site.admin();
    for (spoil, mend) in [
        (
            format!("GRANT CREATE ON SCHEMA auth TO {app}"),
            format!("REVOKE CREATE ON SCHEMA auth FROM {app}"),
        ),
        (
            "GRANT CREATE ON SCHEMA auth TO PUBLIC".into(),
            "REVOKE CREATE ON SCHEMA auth FROM PUBLIC".into(),
        ),
        (format!("ALTER SCHEMA auth OWNER TO {app}"), "ALTER SCHEMA auth OWNER TO postgres".into()),
    ] {
        admin.batch_execute(&spoil).unwrap();
        let (state, message, hint) = refused(admin.batch_execute(CREATE));
        assert_eq!(state, "42501", "{spoil}");
        assert!(message.contains("may create objects in the schema"), "{message}");
        assert!(hint.contains("CREATE SCHEMA auth"), "{hint}");
        admin.batch_execute(&mend).unwrap();
    }
    admin.batch_execute(CREATE).unwrap();
}

#[test]
fn public_is_fine_where_only_superusers_create_in_it() {
    let site = Site::bare(Cluster::shared(), "");
    let mut admin = site.admin();
    if major() == 14 {
        assert_eq!(sqlstate(admin.batch_execute("CREATE EXTENSION password_verify")), "42501");
        admin.batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").unwrap();
    }
    admin.batch_execute("CREATE EXTENSION password_verify").unwrap();
    let sql = "SELECT success FROM public.pv_create_password('42', $1)";
    assert!(admin.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
}

#[test]
fn public_is_refused_in_a_database_that_the_application_owns() {
    let site = Site::bare(Cluster::shared(), "");
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("ALTER DATABASE {} OWNER TO {}", site.database, site.app))
        .unwrap();
    assert_eq!(sqlstate(admin.batch_execute("CREATE EXTENSION password_verify")), "42501");
    admin.batch_execute("CREATE SCHEMA auth").unwrap();
    admin.batch_execute(CREATE).unwrap();
}

#[test]
fn only_a_superuser_installs() {
    let site = bare();
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("ALTER DATABASE {} OWNER TO {}", site.database, site.app))
        .unwrap();
    assert_eq!(sqlstate(site.login().batch_execute(CREATE)), "42501");
}

#[test]
fn sql_ascii_is_refused() {
    let site = Site::bare(Cluster::shared(), "ENCODING 'SQL_ASCII' LOCALE 'C'");
    let mut admin = site.admin();
    admin.batch_execute("CREATE SCHEMA auth").unwrap();
    let (state, message, hint) = refused(admin.batch_execute(CREATE));
    assert_eq!(state, "0A000");
    assert!(message.contains("SQL_ASCII"), "{message}");
    assert!(hint.contains("UTF8"), "{hint}");
}

#[test]
fn a_schema_with_a_difficult_name_works() {
    let site = Site::bare(Cluster::shared(), "");
    let mut admin = site.admin();
    admin.batch_execute(r#"CREATE SCHEMA "My Auth""#).unwrap();
    admin.batch_execute(r#"CREATE EXTENSION password_verify SCHEMA "My Auth""#).unwrap();
    admin
        .batch_execute(&format!(
            r#"GRANT USAGE ON SCHEMA "My Auth" TO {app}; SELECT "My Auth".pv_grant('{app}', 'verifier')"#,
            app = site.app
        ))
        .unwrap();
    let sql = r#"SELECT reason FROM "My Auth".pv_validate_password('42', 'x')"#;
    let row = site.login().query_one(sql, &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "invalid_credentials");
}

#[test]
fn granting_says_when_the_schema_is_out_of_reach() {
    let site = bare();
    let (mut admin, notices) = site.cluster.listen("postgres", &site.database);
    admin.batch_execute(CREATE).unwrap();
    admin.batch_execute(&format!("SELECT auth.pv_grant('{}', 'verifier')", site.app)).unwrap();
    let said = notices.lock().unwrap().join("\n");
    assert!(said.contains("the role cannot reach the schema of the functions yet"), "{said}");
}

#[test]
fn two_databases_at_the_same_moment() {
    for _ in 0..3 {
        let cluster = server(&[]);
        let sites: Vec<Site> = (0..4).map(|_| Site::bare(Arc::clone(&cluster), "")).collect();
        let barrier = Barrier::new(sites.len());
        thread::scope(|scope| {
            for site in &sites {
                scope.spawn(|| {
                    let mut admin = site.admin();
                    admin.batch_execute("CREATE SCHEMA auth").unwrap();
                    barrier.wait();
                    admin.batch_execute(CREATE).unwrap();
                });
            }
        });
    }
}

#[test]
fn no_stack_trace_leaves_the_server() {
    // Whoever starts the server may have RUST_BACKTRACE set.
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    cluster.up_with(&[("RUST_BACKTRACE", "1")]);
    let site = Site::on(Arc::new(cluster));
    site.enroll("42", GOOD);
    let mut app = site.login();
    app.batch_execute("SET statement_timeout = '1 ms'").unwrap();
    for call in [
        "pv_create_password('43', $1)",
        "pv_change_password('42', $1, 'velvet anvil under monsoon')",
    ] {
        let error = app.query(&format!("SELECT auth.{call}"), &[&GOOD]).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "57014", "{error:?}");
        assert_eq!(error.detail(), None, "{call}");
    }
}

#[test]
fn dropping_leaves_nothing_but_the_role() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    admin.batch_execute("DROP EXTENSION password_verify").unwrap();
    let sql = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'password_verify')
                    + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'pv\\_%')
                    + (SELECT count(*) FROM pg_class WHERE relname LIKE 'pv\\_%')";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    admin.batch_execute(CREATE).unwrap();
    let sql = "SELECT count(*) FROM auth.pv_users";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn a_transaction_whose_number_has_come_round_is_not_the_one_that_installed_it() {
    let cluster = server(&["autovacuum = off"]);
    let site = Site::on(Arc::clone(&cluster));
    site.enroll("42", GOOD);
    password_verify_tests::trail::settle(&mut site.admin());
    let sql = "SELECT xmin::text FROM pg_extension WHERE extname = 'password_verify'";
    let installed: String = site.admin().query_one(sql, &[]).unwrap().get(0);
    for database in [&site.database, "postgres", "template1"] {
        cluster.admin(database).batch_execute("VACUUM FREEZE").unwrap();
    }
    // Four billion transactions later.
    cluster.down();
    let mut resetwal = cluster.command("pg_resetwal");
    run(resetwal.args(["-e", "1", "-x", &installed, "-D"]).arg(cluster.data()));
    cluster.up();
    let mut admin = site.admin();
    let mut transaction = admin.transaction().unwrap();
    let sql = "SELECT (pg_current_xact_id()::text::numeric % 4294967296)::text";
    let number: String = transaction.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(number, installed);
    let sql = "SELECT auth.pv_set_password('42', $1)";
    transaction.query(sql, &[&GOOD]).unwrap();
}
