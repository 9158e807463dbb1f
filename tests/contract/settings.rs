//! Settings: bounds, contexts, and what they change.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::{ask, change, create, validate};
use password_verify_tests::cluster::{PRELOADED, major, server};
use password_verify_tests::trail::wait_until;
use password_verify_tests::{
    ALL_BUT_AUDITOR, Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate,
};

#[test]
fn defaults_units_and_contexts() {
    let cluster = Cluster::start(PRELOADED);
    // What depends on the number of processors is compared without its value.
    let sql = "SELECT name || ' = ' || CASE name WHEN 'password_verify.hash_slots' THEN 'n'
                      ELSE COALESCE(boot_val, '') END || COALESCE(' ' || unit, '') || COALESCE(' [' || min_val || ', ' || max_val || '] ', ' ') || context
                 FROM pg_settings WHERE name LIKE 'password\\_verify.%' ORDER BY name COLLATE \"C\"";
    let rows = cluster.admin("postgres").query(sql, &[]).unwrap();
    let settings: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        settings,
        [
            "password_verify.accept_unsealed = off postmaster",
            "password_verify.argon2_iterations = 3 [1, 20] superuser",
            "password_verify.argon2_memory = 65536 kB [7168, 1048576] superuser",
            "password_verify.argon2_parallelism = 4 [1, 16] superuser",
            "password_verify.audit_durability = commit superuser",
            "password_verify.audit_queue = 4096 [64, 1048576] postmaster",
            "password_verify.audit_retention = 576000 min [0, 52560000] superuser",
            "password_verify.audit_timeout = 10000 ms [100, 600000] superuser",
            "password_verify.audit_user_ids = text sighup",
            "password_verify.blocklist_file =  sighup",
            "password_verify.common_passwords = on superuser",
            "password_verify.hash_memory_limit = 131072 kB [7168, 1048576] postmaster",
            "password_verify.hash_slots = n [1, 256] postmaster",
            "password_verify.history = 0 [0, 24] superuser",
            "password_verify.keyring_command =  postmaster",
            "password_verify.keyring_file =  postmaster",
            "password_verify.known_client_for = 43200 min [0, 5256000] superuser",
            "password_verify.log_events = off superuser",
            "password_verify.min_length = 15 [8, 64] superuser",
            "password_verify.min_strength = 3 [0, 4] superuser",
            "password_verify.queue_length = 256 [0, 100000] postmaster",
            "password_verify.queue_timeout = 5000 ms [10, 60000] superuser",
            "password_verify.redact = on superuser",
            "password_verify.redact_functions =  superuser",
            "password_verify.require_client_certificate = off superuser",
            "password_verify.require_tls = on superuser",
            "password_verify.result_retention = 10080 min [1, 525600] superuser",
            "password_verify.secrets_opened_expected = 1000 [0, 10000] superuser",
            "password_verify.secrets_per_user = 100 [1, 100] superuser",
            "password_verify.standby_validation = off superuser",
            "password_verify.throttle_caller_hashes = 0 [0, 1000000] superuser",
            "password_verify.throttle_caller_refill = 60 [1, 1000000] superuser",
            "password_verify.throttle_client_failures = 50 [0, 1000000] superuser",
            "password_verify.throttle_client_refill = 5 [1, 60000] superuser",
            "password_verify.throttle_entries = 65536 [1024, 16777216] postmaster",
            "password_verify.throttle_first_wait = 30 s [1, 86400] superuser",
            "password_verify.throttle_forget_after = 43200 min [60, 5256000] superuser",
            "password_verify.throttle_forgive_repeats = off superuser",
            "password_verify.throttle_free_failures = 5 [1, 100] superuser",
            "password_verify.throttle_lock_after = 100 [1, 100] superuser",
            "password_verify.throttle_max_wait = 3600 s [1, 604800] superuser",
            "password_verify.vault_places = 1024 [0, 8192] postmaster",
            "password_verify.vault_unlock_max = 3600 s [10, 86400] superuser",
            "password_verify.workers = 2 [1, 16] postmaster",
        ]
    );
}

#[test]
fn bounds_are_enforced() {
    let site = Site::new();
    let mut admin = site.admin();
    for setting in [
        "argon2_memory = 7167",
        "argon2_memory = '2GB'",
        "argon2_iterations = 0",
        "argon2_iterations = 21",
        "argon2_parallelism = 0",
        "argon2_parallelism = 17",
        "min_length = 7",
        "min_length = 65",
        "min_strength = -1",
        "min_strength = 5",
        "secrets_per_user = 0",
        "secrets_per_user = 101",
        "secrets_opened_expected = -1",
        "secrets_opened_expected = 10001",
        "result_retention = 0",
        "result_retention = 525601",
        "vault_unlock_max = 9",
        "vault_unlock_max = 86401",
    ] {
        let sql = format!("SET password_verify.{setting}");
        assert_eq!(sqlstate(admin.batch_execute(&sql)), "22023", "{setting}");
    }
    if major() >= 15 {
        let typo = "SET password_verify.min_lenght = 20";
        assert_eq!(sqlstate(admin.batch_execute(typo)), "42602");
    }
}

#[test]
fn less_than_owasp_is_refused_everywhere() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    for (memory, iterations, enough) in [
        (7168, 5, true),
        (7168, 4, false),
        (9 * 1024, 4, true),
        (9 * 1024 - 1, 4, false),
        (12 * 1024, 3, true),
        (12 * 1024, 2, false),
        (19 * 1024, 2, true),
        (19 * 1024, 1, false),
        (46 * 1024, 1, true),
        (46 * 1024 - 1, 1, false),
    ] {
        admin
            .batch_execute(&format!(
                "SET password_verify.argon2_memory = {memory}; SET password_verify.argon2_iterations = {iterations}"
            ))
            .unwrap();
        for call in [
            format!("pv_validate_password('42', '{GOOD}')"),
            format!("pv_set_password('43', '{GOOD}')"),
        ] {
            let result = admin.query(&format!("SELECT auth.{call}"), &[]);
            if enough {
                assert!(result.is_ok(), "{memory} {iterations} {call}");
            } else {
                let (state, message, hint) = refused(result);
                assert_eq!(state, "55000", "{memory} {iterations} {call}");
                assert!(message.contains("below the owasp minimum"), "{message}");
                assert!(hint.contains("password_verify.argon2_memory"), "{hint}");
            }
        }
    }
}

#[test]
fn policy_settings_change_the_policy() {
    let site = Site::new();
    let mut admin = site.admin();
    let mut check = |settings: &str, password: &str| {
        admin.batch_execute(settings).unwrap();
        let sql = "SELECT * FROM auth.pv_check_password('42', $1)";
        ask(&mut admin, sql, &[&password]).unwrap()
    };
    assert_eq!(check("", "zqvx9tmk"), Answer::no("too_short"));
    assert_eq!(check("SET password_verify.min_length = 8", "zqvx9tmk"), Answer::no("too_weak"));
    assert_eq!(check("SET password_verify.min_strength = 2", "zqvx9tmk"), Answer::yes());
    assert_eq!(
        check("SET password_verify.min_strength = 0", "password"),
        Answer::no("blocklisted")
    );
    assert_eq!(check("SET password_verify.common_passwords = off", "password"), Answer::yes());
    assert_eq!(
        check("SET password_verify.common_passwords = on", "password"),
        Answer::no("blocklisted")
    );
    assert_eq!(check("SET password_verify.min_strength = 4", "zqvx9tmk"), Answer::no("too_weak"));
}

#[test]
fn settings_of_a_database_are_for_that_database() {
    let site = Site::new();
    site.admin()
        .batch_execute(&format!(
            "ALTER DATABASE {} SET password_verify.min_length = 40",
            site.database
        ))
        .unwrap();
    assert_eq!(create(&mut site.login(), "42", GOOD), Answer::no("too_short"));
    assert_eq!(create(&mut Site::new().login(), "42", GOOD), Answer::yes());
}

#[test]
fn a_weaker_record_is_renewed_by_a_right_password_only() {
    let site = Site::new();
    let parameters = || -> String {
        let sql = "SELECT parameters || changed_at FROM auth.pv_users";
        site.admin().query_one(sql, &[]).unwrap().get(0)
    };
    site.enroll("42", GOOD);
    let before = parameters();
    assert!(before.starts_with("m=7168,t=5,p=1"), "{before}");
    let alter = |settings: &str| {
        for setting in settings.split(',') {
            let sql = format!("ALTER DATABASE {} SET password_verify.{setting}", site.database);
            site.admin().batch_execute(&sql).unwrap();
        }
    };
    alter("argon2_memory = 8192");
    assert_eq!(validate(&mut site.login(), "42", "guess"), Answer::no("invalid_credentials"));
    assert_eq!(parameters(), before);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    // And it does not count as a change.
    let after = before.replace("m=7168", "m=8192");
    wait_until("the record is renewed", || parameters() == after);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    // Never downwards.
    alter("argon2_memory = 7168");
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert_eq!(parameters(), after);
}

#[test]
fn renewing_neither_fails_nor_waits() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let alter =
        format!("ALTER DATABASE {} SET password_verify.argon2_memory = 8192", site.database);
    site.admin().batch_execute(&alter).unwrap();
    let parameters = || -> String {
        site.admin().query_one("SELECT parameters FROM auth.pv_users", &[]).unwrap().get(0)
    };
    let mut app = site.login();
    // While somebody holds the row: at once, not after the second that a change would wait.
    let mut admin = site.admin();
    let mut open = admin.transaction().unwrap();
    open.query("SELECT * FROM password_verify.credential WHERE user_id = '42' FOR UPDATE", &[])
        .unwrap();
    let timed = |app: &mut postgres::Client, call: &dyn Fn(&mut postgres::Client) -> Answer| {
        let start = std::time::Instant::now();
        let answer = call(app);
        (answer, start.elapsed())
    };
    let (answer, waiting) = timed(&mut app, &|app| change(app, "42", GOOD, OTHER));
    assert_eq!(answer, Answer::no("busy"));
    let fastest = (0..5)
        .map(|_| {
            let (answer, time) = timed(&mut app, &|app| validate(app, "42", GOOD));
            assert_eq!(answer, Answer::yes());
            time
        })
        .min()
        .unwrap();
    assert!(fastest < waiting, "{fastest:?} {waiting:?}");
    assert_eq!(parameters(), "m=7168,t=5,p=1");
    open.rollback().unwrap();
    // Afterwards it is made up for, in a read-only transaction too.
    let mut read_only = app.build_transaction().read_only(true).start().unwrap();
    let sql = "SELECT valid FROM auth.pv_validate_password('42', $1)";
    assert!(read_only.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
    wait_until("the record is renewed", || parameters() == "m=8192,t=5,p=1");
    read_only.commit().unwrap();
}

#[test]
fn writing_needs_a_transaction_that_writes() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut all = site.login_with(&ALL_BUT_AUDITOR);
    for call in [
        "pv_change_password('42', 'x', 'velvet anvil under monsoon')",
        "pv_create_password('43', 'velvet anvil under monsoon')",
        "pv_set_password('42', 'velvet anvil under monsoon')",
        "pv_disable_user('42')",
        "pv_enable_user('42')",
        "pv_require_change('42')",
        "pv_delete_user('42')",
    ] {
        let mut read_only = all.build_transaction().read_only(true).start().unwrap();
        let state = sqlstate(read_only.query(&format!("SELECT auth.{call}"), &[]));
        assert_eq!(state, "25006", "{call}");
    }
    let mut read_only = all.build_transaction().read_only(true).start().unwrap();
    let row = read_only
        .query_one(
            "SELECT (auth.pv_validate_password('42', $1)).valid, auth.pv_has_password('42'),
                    (auth.pv_check_password('42', $1)).acceptable",
            &[&GOOD],
        )
        .unwrap();
    assert!((0..3).all(|i| row.get::<_, bool>(i)));
}

#[test]
fn a_standby_validates_where_allowed_and_changes_nothing() {
    let primary = server(&[]);
    let site = Site::on(Arc::clone(&primary));
    site.enroll("42", GOOD);
    let alter =
        format!("ALTER DATABASE {} SET password_verify.argon2_memory = 8192", site.database);
    site.admin().batch_execute(&alter).unwrap();
    primary.down();
    let standby = Cluster::copy_of(&primary);
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    standby.up();
    let mut app = standby.connect(&site.app, &site.database);
    let recovering = app.query_one("SELECT pg_is_in_recovery()", &[]).unwrap();
    assert!(recovering.get::<_, bool>(0));
    let (state, _, hint) =
        refused(app.query("SELECT auth.pv_validate_password('42', $1)", &[&GOOD]));
    assert_eq!(state, "25006");
    assert!(hint.contains("password_verify.standby_validation"), "{hint}");
    standby.configure(&["password_verify.standby_validation = on"]);
    standby.down();
    standby.up();
    let mut app = standby.connect(&site.app, &site.database);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes(), "though its record is weak");
    assert_eq!(validate(&mut app, "42", "guess"), Answer::no("invalid_credentials"));
    let sql = "SELECT auth.pv_change_password('42', $1, 'velvet anvil under monsoon')";
    assert_eq!(sqlstate(app.query(sql, &[&GOOD])), "25006");
}
