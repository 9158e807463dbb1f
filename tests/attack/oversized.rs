//! Arguments of hundreds of megabytes: refused by their length, which PostgreSQL knows without reading them.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_tests::{GOOD, Site};
use postgres::Client;

/// Megabytes.
const SIZE: usize = 256;

/// The shortest time of three in which the server answers, with an error or without.
fn shortest(client: &mut Client, sql: &str) -> Duration {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        let _ = client.simple_query(sql);
        start.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn a_huge_argument_is_refused_unread_and_keeps_no_core_busy() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let all = &mut site.login_with(&["verifier", "enroller", "registrar", "manager"]);
    all.batch_execute(&format!(
        "CREATE TEMPORARY TABLE huge (text text);
         ALTER TABLE huge ALTER COLUMN text SET STORAGE EXTERNAL;
         INSERT INTO huge SELECT repeat(repeat('x', 1000000), {SIZE})"
    ))
    .unwrap();
    // What PostgreSQL takes to read the value once.
    let reading = shortest(all, "SELECT length(text) FROM huge");
    for call in [
        "pv_validate_password(text, 'x')",
        "pv_validate_password('42'::text, text)",
        "pv_validate_password(42::bigint, text, '192.0.2.1')",
        "pv_change_password(text, 'x', 'y')",
        "pv_change_password('42'::text, text, 'y')",
        "pv_change_password('42'::text, 'x', text)",
        "pv_change_password('42'::text, text, text)",
        "pv_check_password(text, 'x')",
        "pv_check_password('42'::text, text)",
        "pv_create_password(text, 'x')",
        "pv_create_password('43'::text, text)",
        "pv_set_password(text, 'x')",
        "pv_set_password('43'::text, text)",
        "pv_reset_password(text, 'y')",
        "pv_reset_password('x', text)",
        "pv_issue_reset_token(text)",
        "pv_has_password(text)",
        "pv_disable_user(text)",
        "pv_enable_user(text)",
        "pv_require_change(text)",
        "pv_delete_user(text)",
        "pv_unlock_user(text)",
        "pv_import_hash(text, 'x')",
        "pv_import_hash('43'::text, text)",
    ] {
        let ours = shortest(all, &format!("SELECT auth.{call} FROM huge"));
        assert!(ours * 4 < reading, "{call}: {ours:?}, reading it {reading:?}");
    }
}

#[test]
fn a_huge_argument_costs_what_postgresql_takes_to_make_it() {
    let site = Site::new();
    let app = &mut site.login();
    let huge = format!("repeat(repeat('x', 1000000), {SIZE})");
    let own = shortest(app, &format!("SELECT octet_length({huge})"));
    for call in ["pv_validate_password('42'::text, ARG)", "pv_check_password(ARG, 'x')"] {
        let ours = shortest(app, &format!("SELECT auth.{}", call.replace("ARG", &huge)));
        assert!(ours < own * 2, "{call}: {ours:?}, PostgreSQL's own {own:?}");
    }
}
