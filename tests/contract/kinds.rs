//! Kinds of roles: to whom they are granted, and what they then may.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::validate;
use password_verify_tests::{Answer, GOOD, Site, sqlstate};

#[test]
fn kinds_are_granted_and_revoked_exactly() {
    let site = Site::new();
    let mut admin = site.admin();
    let mut kinds = |role: &str| -> Vec<String> {
        admin
            .query(
                "SELECT kind FROM auth.pv_grants WHERE role = $1::text::regrole AND complete ORDER BY 1",
                &[&role],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    assert_eq!(kinds(&site.app), ["enroller", "verifier"]);
    let mut dba = site.admin();
    dba.execute("SELECT auth.pv_revoke($1::text::regrole, 'enroller')", &[&site.app]).unwrap();
    assert_eq!(kinds(&site.app), ["verifier"]);
    let mut app = site.login();
    let create = "SELECT * FROM auth.pv_create_password('42', 'x')";
    assert_eq!(sqlstate(app.query(create, &[])), "42501");
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("invalid_credentials"));
    // A single function by hand shows as what it is.
    dba.batch_execute(&format!(
        "GRANT EXECUTE ON FUNCTION auth.pv_delete_user(text) TO {}",
        site.app
    ))
    .unwrap();
    let row =
        dba.query_one("SELECT complete FROM auth.pv_grants WHERE kind = 'manager'", &[]).unwrap();
    assert!(!row.get::<_, bool>(0));
}

#[test]
fn granting_is_refused_for_what_is_not_a_kind_or_not_a_role() {
    let site = Site::new();
    let mut admin = site.admin();
    let app = site.app.clone();
    let mut grant = |role: &str, kind: Option<&str>| {
        sqlstate(admin.execute("SELECT auth.pv_grant($1::text::regrole, $2)", &[&role, &kind]))
    };
    assert_eq!(grant(&app, Some("root")), "22023");
    assert_eq!(grant(&app, Some("verifier'; DROP SCHEMA auth CASCADE; --")), "22023");
    assert_eq!(grant(&app, None), "22004");
    assert_eq!(grant("pv_owner", Some("verifier")), "22023");
    assert_eq!(grant("-", Some("verifier")), "22023");
    assert_eq!(grant("nobody_of_that_name", Some("verifier")), "42704");
}

#[test]
fn a_role_with_a_hostile_name_is_granted_to_like_any_other() {
    let site = Site::new();
    let mut admin = site.admin();
    admin.batch_execute(r#"CREATE ROLE "x"", pg_read_all_data; --" LOGIN"#).unwrap();
    let sql = r#"SELECT auth.pv_grant('"x"", pg_read_all_data; --"', 'verifier')"#;
    admin.execute(sql, &[]).unwrap();
    let sql = "SELECT count(*) FROM auth.pv_grants WHERE role::text LIKE '%; --%'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 1);
    admin
        .batch_execute(
            r#"DROP OWNED BY "x"", pg_read_all_data; --"; DROP ROLE "x"", pg_read_all_data; --""#,
        )
        .unwrap();
}
