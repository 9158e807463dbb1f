//! Arguments of hundreds of megabytes: refused by their length, which PostgreSQL knows without reading them.
#![allow(clippy::unwrap_used)]

use password_verify_tests::work::Session;
use password_verify_tests::{ALL_BUT_AUDITOR, GOOD, Site};

/// Megabytes.
const SIZE: usize = 256;

#[test]
fn a_huge_argument_is_refused_unread_and_keeps_no_core_busy() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut all = Session::of(site.login_with(&ALL_BUT_AUDITOR));
    all.client
        .batch_execute(&format!(
            "CREATE TEMPORARY TABLE huge (text text);
         ALTER TABLE huge ALTER COLUMN text SET STORAGE EXTERNAL;
         INSERT INTO huge SELECT repeat(repeat('x', 1000000), {SIZE})"
        ))
        .unwrap();
    // What PostgreSQL takes to read the value once.
    let reading = all.least(3, |all| drop(all.simple_query("SELECT length(text) FROM huge")));
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
        let sql = format!("SELECT auth.{call} FROM huge");
        let ours = all.least(3, |all| drop(all.simple_query(&sql)));
        assert!(ours * 4 < reading, "{call}: {ours:?}, reading it {reading:?}");
    }
}

#[test]
fn a_huge_argument_costs_what_postgresql_takes_to_make_it() {
    let site = Site::new();
    let mut app = Session::of(site.login());
    let huge = format!("repeat(repeat('x', 1000000), {SIZE})");
    let sql = format!("SELECT octet_length({huge})");
    let own = app.least(3, |app| drop(app.simple_query(&sql)));
    for call in ["pv_validate_password('42'::text, ARG)", "pv_check_password(ARG, 'x')"] {
        let sql = format!("SELECT auth.{}", call.replace("ARG", &huge));
        let ours = app.least(3, |app| drop(app.simple_query(&sql)));
        assert!(ours < own * 2, "{call}: {ours:?}, PostgreSQL's own {own:?}");
    }
}
