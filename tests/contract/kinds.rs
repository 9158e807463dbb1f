//! Kinds of roles: to whom they are granted, and what they then may.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::validate;
use password_verify_tests::{ALL_KINDS, Answer, GOOD, KEEPER_KINDS, Site, refused, sqlstate};
use postgres::Client;

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
fn whoever_names_no_kind_is_told_all_of_them() {
    let site = Site::new();
    let sql = "SELECT auth.pv_grant($1::text::regrole, 'keeper')";
    let (state, _, hint) = refused(site.admin().execute(sql, &[&site.app]));
    assert_eq!(state, "22023");
    for kind in ALL_KINDS.iter().chain(&KEEPER_KINDS) {
        assert!(hint.contains(kind), "{hint}");
    }
}

fn grant(admin: &mut Client, role: &str, kind: &str) -> String {
    sqlstate(admin.execute("SELECT auth.pv_grant($1::text::regrole, $2)", &[&role, &kind]))
}

/// Whoever may ask for a job and take it would open secrets as they please.
#[test]
fn no_role_is_depositor_and_connector() {
    let site = Site::new();
    let mut admin = site.admin();
    admin
        .batch_execute(
            "CREATE ROLE the_app; CREATE ROLE the_keeper; CREATE ROLE a_group; CREATE ROLE outside;
             GRANT a_group TO the_app; CREATE ROLE its_login NOINHERIT; GRANT the_app TO its_login",
        )
        .unwrap();
    assert_eq!(grant(&mut admin, "the_app", "depositor"), "no error");
    // Again is nothing new; and so is a kind about passwords.
    assert_eq!(grant(&mut admin, "the_app", "depositor"), "no error");
    assert_eq!(grant(&mut admin, "the_app", "verifier"), "no error");
    let both = "SELECT auth.pv_grant('the_app', 'connector')";
    let (state, message, hint) = refused(admin.execute(both, &[]));
    assert_eq!(state, "22023");
    assert!(message.contains("both depositor and connector"), "{message}");
    assert!(hint.contains("login of its own"), "{hint}");
    // Nor a role that it is a member of, nor one that is a member of it, inheriting or not.
    for role in ["a_group", "its_login"] {
        assert_eq!(grant(&mut admin, role, "connector"), "22023", "{role}");
    }
    assert_eq!(grant(&mut admin, "the_keeper", "connector"), "no error");
    for role in ["the_keeper", "a_group"] {
        let kind = if role == "the_keeper" { "depositor" } else { "connector" };
        assert_eq!(grant(&mut admin, role, kind), "22023", "{role}");
    }
    // Nor two roles of which a third one is a member of both.
    admin
        .batch_execute(
            "CREATE ROLE a_dba; CREATE ROLE another_keeper; GRANT the_app, another_keeper TO a_dba",
        )
        .unwrap();
    assert_eq!(grant(&mut admin, "another_keeper", "connector"), "22023");
    // Everybody is in PUBLIC, and one function of the other kind is enough.
    admin.batch_execute("GRANT EXECUTE ON FUNCTION auth.pv_take_job(interval) TO PUBLIC").unwrap();
    assert_eq!(grant(&mut admin, "outside", "depositor"), "22023");
    admin
        .batch_execute("REVOKE EXECUTE ON FUNCTION auth.pv_take_job(interval) FROM PUBLIC")
        .unwrap();
    assert_eq!(grant(&mut admin, "outside", "depositor"), "no error");
    // Whoever is neither any more may be the other one.
    admin.batch_execute("SELECT auth.pv_revoke('outside', 'depositor')").unwrap();
    assert_eq!(grant(&mut admin, "outside", "connector"), "no error");
    // Superusers are members of everybody, which says nothing about any login.
    let complete = "SELECT count(*) FROM auth.pv_grants WHERE complete
                      AND (role::text, kind) IN (('the_app', 'depositor'), ('the_keeper', 'connector'))";
    assert_eq!(admin.query_one(complete, &[]).unwrap().get::<_, i64>(0), 2);
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
