//! `pv_doctor` on roles, grants and schemas: each rule with what breaks it, and with what only looks like it.
#![allow(clippy::unwrap_used)]

use password_verify_tests::Site;
use password_verify_tests::cluster::major;
use password_verify_tests::doctor::{Case, case, examine, run};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};

/// Roles beside the application's.
const ROLES: &str = "
    CREATE ROLE dba LOGIN SUPERUSER; CREATE ROLE replica LOGIN REPLICATION; CREATE ROLE backup LOGIN BYPASSRLS;
    CREATE ROLE ops NOLOGIN; CREATE ROLE helper NOLOGIN; CREATE ROLE keeper LOGIN; CREATE ROLE office LOGIN;
    GRANT USAGE ON SCHEMA auth TO helper, keeper, office;";

const CASES: &[Case] = &[
    case(
        "an application logs in as a superuser",
        "ALTER ROLE dba CREATEDB",
        "ALTER ROLE {app} SUPERUSER",
    ),
    case(
        "an application may bypass row security",
        "GRANT pg_read_all_data TO backup",
        "ALTER ROLE {app} BYPASSRLS",
    ),
    case(
        "an application may replicate",
        "GRANT pg_read_all_stats TO replica",
        "ALTER ROLE ops REPLICATION; GRANT ops TO {app}",
    ),
    case(
        "an application may use the server's files",
        "GRANT pg_read_all_stats TO {app}; GRANT pg_read_server_files TO backup",
        "GRANT pg_read_server_files TO {app}",
    ),
    case(
        "an application may use the server's files",
        "GRANT pg_write_server_files TO backup",
        "GRANT pg_write_server_files TO {app}",
    ),
    case(
        "an application may run programs",
        "GRANT pg_execute_server_program TO backup",
        "GRANT pg_execute_server_program TO ops",
    ),
    case("the owner is more than a plain role", "GRANT backup TO dba", "GRANT pv_owner TO dba"),
    case("the owner is more than a plain role", "COMMENT ON ROLE pv_owner IS 'ours'", "ALTER ROLE pv_owner LOGIN"),
    case(
        "kinds that no login may have both",
        "SELECT auth.pv_grant('{app}', 'depositor'), auth.pv_grant('keeper', 'connector')",
        "GRANT keeper TO {app}",
    ),
    case(
        "kinds that should be apart",
        "SELECT auth.pv_grant('office', 'registrar')",
        "SELECT auth.pv_grant('{app}', 'registrar')",
    ),
    case(
        "kinds that should be apart",
        "SELECT auth.pv_grant('office', 'manager')",
        "SELECT auth.pv_grant('ops', 'manager')",
    ),
    case(
        "granted to PUBLIC",
        "GRANT USAGE ON SCHEMA auth TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION auth.pv_validate_password(bigint, text, inet) TO PUBLIC",
    ),
    case("granted to PUBLIC", "", "GRANT SELECT ON auth.pv_users TO PUBLIC"),
    case(
        "a kind that is not complete",
        "SELECT auth.pv_grant('helper', 'auditor')",
        "GRANT EXECUTE ON FUNCTION auth.pv_delete_user(text) TO helper",
    ),
    case(
        "a private object is granted",
        "GRANT EXECUTE ON FUNCTION auth.pv_doctor() TO helper; GRANT SELECT ON auth.pv_grants TO helper",
        "GRANT SELECT ON password_verify.credential TO helper",
    ),
    case("a private object is granted", "", "GRANT USAGE ON SCHEMA password_verify TO helper"),
    case(
        "others may create objects in the schema of the functions",
        "GRANT CREATE ON SCHEMA public TO {app}; GRANT CREATE ON SCHEMA auth TO dba",
        "GRANT CREATE ON SCHEMA auth TO {app}",
    ),
    case(
        "others may create objects in the schema of the functions",
        "",
        "ALTER SCHEMA auth OWNER TO helper",
    ),
    // In a schema where nobody looks, and behind ours.
    case(
        "a function that is called instead of ours",
        "CREATE SCHEMA other; CREATE SCHEMA behind; GRANT USAGE ON SCHEMA other, behind TO {app};
         CREATE FUNCTION other.pv_validate_password(integer, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION behind.pv_validate_password(integer, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         ALTER ROLE {app} SET search_path = auth, behind",
        "CREATE FUNCTION auth.pv_validate_password(integer, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ),
    case(
        "a function that is called instead of ours",
        "ALTER ROLE {app} RESET search_path",
        "CREATE FUNCTION public.pv_change_password(text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ),
    case(
        "a function that is called instead of ours",
        "ALTER DATABASE {db} SET search_path = auth, behind",
        "CREATE SCHEMA {app}; GRANT USAGE ON SCHEMA {app} TO {app};
         CREATE PROCEDURE {app}.pv_create_password(x \"char\", y text[]) LANGUAGE sql AS 'SELECT 1';
         ALTER ROLE {app} IN DATABASE {db} SET search_path = \"$user\", auth",
    ),
];

#[test]
fn each_rule_about_roles_finds_what_breaks_it_and_nothing_else() {
    let site = sealed_site(&line("a", &fresh_key()));
    run(&site, ROLES);
    // As README has it set up, nothing is found.
    assert_eq!(examine(&mut site.admin()), []);
    for case in CASES {
        case.run(&site);
    }
    creates_roles(&site);
}

/// Before PostgreSQL 16, CREATEROLE is as good as every role but a superuser's.
fn creates_roles(site: &Site) {
    let rule = "an application may create roles";
    if major() < 16 {
        return case(rule, "ALTER ROLE backup CREATEROLE", "ALTER ROLE {app} CREATEROLE").run(site);
    }
    let before = examine(&mut site.admin());
    run(site, &format!("ALTER ROLE {} CREATEROLE", site.app));
    assert_eq!(examine(&mut site.admin()), before);
    println!(
        "doctor: | {rule} | critical | `ALTER ROLE {{app}} CREATEROLE`, before PostgreSQL 16 | the same, from PostgreSQL 16 on | by the remedy |"
    );
    // Who has made a role may not act as it.
    run(site, &format!("SET ROLE {}; CREATE ROLE child LOGIN", site.app));
    run(site, "SELECT auth.pv_grant('child', 'registrar')");
    assert_eq!(examine(&mut site.admin()), before);
}
