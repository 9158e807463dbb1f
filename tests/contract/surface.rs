//! Who owns, may call and may read what, compared with `surface.expected`, which is for reading.
//!
//! The same must come out on a database whose default privileges give everything to everybody.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::sync::Arc;

use password_verify_tests::cluster::server;
use password_verify_tests::{ALL_KINDS, KEEPER_KINDS, Site, sqlstate};
use postgres::Client;

/// Every object that the extension owns: what it is, whose it is, how it runs, and who beside the
/// owner may do what with it. Toast tables, on which row security cannot be, have no names of their own.
const SURFACE: &str = "
SELECT line FROM (
SELECT format('%s%s | %s | %s',
              i.type || ' ' || replace(i.identity, 'pg_catalog.', ''),
              CASE WHEN p.oid IS NULL THEN ''
                   ELSE format(' | %s%s, %s, %s',
                        CASE WHEN p.prosecdef THEN 'definer' ELSE 'INVOKER' END,
                        COALESCE(' with ' || array_to_string(p.proconfig, '; '), ''),
                        CASE p.provolatile WHEN 'v' THEN 'volatile' ELSE 'NOT VOLATILE' END,
                        CASE p.proparallel WHEN 'u' THEN 'parallel unsafe' ELSE 'PARALLEL' END) END
              || CASE WHEN c.oid IS NULL THEN ''
                      WHEN c.relrowsecurity THEN format(' | row security with %s policies', (SELECT count(*) FROM pg_policy y WHERE y.polrelid = c.oid))
                      ELSE ' | row security OFF' END,
              'owner ' || pg_get_userbyid(COALESCE(p.proowner, c.relowner, v.relowner, n.nspowner)),
              COALESCE((SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                               ELSE a.grantee::regrole::text END
                                          || ' ' || a.privilege_type
                                          || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
                                          ', ' ORDER BY a.grantee::regrole::text, a.privilege_type)
                          FROM aclexplode(CASE WHEN p.oid IS NOT NULL THEN COALESCE(p.proacl, acldefault('f', p.proowner))
                                               WHEN c.oid IS NOT NULL THEN COALESCE(c.relacl, acldefault('r', c.relowner))
                                               WHEN v.oid IS NOT NULL THEN COALESCE(v.relacl, acldefault('r', v.relowner))
                                               ELSE COALESCE(n.nspacl, acldefault('n', n.nspowner)) END) a
                         WHERE a.grantee <> COALESCE(p.proowner, c.relowner, v.relowner, n.nspowner)),
                       'nobody'))
  FROM pg_depend d
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'r'
  LEFT JOIN pg_class v ON d.classid = 'pg_class'::regclass AND v.oid = d.objid AND v.relkind <> 'r'
  LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
 WHERE e.extname = 'password_verify' AND d.deptype = 'e'
   AND i.type <> 'type'
UNION ALL
SELECT format('toast table of %s | owner %s | %s', t.oid::regclass, pg_get_userbyid(o.relowner), COALESCE(o.relacl::text, 'nobody'))
  FROM pg_class t JOIN pg_class o ON o.oid = t.reltoastrelid
 WHERE t.relnamespace = 'password_verify'::regnamespace) lines (line)
 ORDER BY line COLLATE \"C\"";

fn surface(admin: &mut Client) -> String {
    let mut text = String::new();
    for row in admin.query(SURFACE, &[]).unwrap() {
        writeln!(text, "{}", row.get::<_, &str>(0)).unwrap();
    }
    text
}

fn with_a_role_of_every_kind(site: &Site) {
    let mut admin = site.admin();
    for kind in ALL_KINDS.iter().chain(&KEEPER_KINDS) {
        admin.batch_execute(&format!("SELECT auth.pv_grant('the_{kind}', '{kind}')")).unwrap();
    }
}

/// Sites whose application has been granted nothing.
fn sites() -> (Site, Site) {
    let cluster = server(&[]);
    let mut admin = cluster.admin("postgres");
    for kind in ALL_KINDS.iter().chain(&KEEPER_KINDS) {
        admin.batch_execute(&format!("CREATE ROLE the_{kind}")).unwrap();
    }
    let plain = Site::bare(Arc::clone(&cluster), "");
    let hostile = Site::bare(cluster, "");
    let everything = ["FUNCTIONS", "TABLES", "SEQUENCES", "TYPES", "SCHEMAS"].map(|objects| {
        format!(
            "ALTER DEFAULT PRIVILEGES GRANT ALL ON {objects} TO {} WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON {objects} TO PUBLIC;",
            hostile.app
        )
    });
    hostile.admin().batch_execute(&everything.concat()).unwrap();
    for site in [&plain, &hostile] {
        site.admin()
            .batch_execute(
                "CREATE SCHEMA auth; REVOKE ALL ON SCHEMA auth FROM PUBLIC;
                 DO $$ BEGIN EXECUTE (SELECT COALESCE(string_agg(format('REVOKE ALL ON SCHEMA auth FROM %s', grantee::regrole), '; '), 'SELECT 1')
                   FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'auth' AND grantee NOT IN (0, nspowner)); END $$;
                 CREATE EXTENSION password_verify SCHEMA auth",
            )
            .unwrap();
        with_a_role_of_every_kind(site);
    }
    (plain, hostile)
}

#[test]
fn the_surface_is_the_one_that_was_reviewed() {
    let (plain, hostile) = sites();
    let expected = include_str!("surface.expected");
    let actual = surface(&mut plain.admin());
    assert!(
        actual == expected,
        "tests/contract/surface.expected should be, if the change is meant:\n{actual}"
    );
    assert_eq!(surface(&mut hostile.admin()), expected, "with hostile default privileges");

    // Nothing else is the owner's.
    let sql = "SELECT count(*) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
                WHERE s.deptype = 'o' AND r.rolname = 'pv_owner'
                  AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = s.classid AND d.objid = s.objid AND d.deptype = 'e')";
    for site in [&plain, &hostile] {
        assert_eq!(site.admin().query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    }

    // The catalog says so, and so does being refused.
    let mut nobody = hostile.cluster.connect(&hostile.app, &hostile.database);
    for sql in [
        "SELECT * FROM password_verify.credential",
        "SELECT * FROM password_verify.blind_index_key",
        "SELECT * FROM password_verify.kind",
        "SELECT auth.pv_validate_password('42', 'x')",
        "SELECT * FROM auth.pv_users",
        "SELECT * FROM auth.pv_grants",
        "SELECT auth.pv_grant('the_verifier', 'manager')",
        "SELECT * FROM password_verify.secret",
        "SELECT * FROM password_verify.job",
        "SELECT * FROM password_verify.result",
        "SELECT * FROM password_verify.vault",
        "SELECT auth.pv_secrets('42'::text)",
        "SELECT auth.pv_take_job()",
        "SELECT auth.pv_open_secret(1)",
        "SELECT auth.pv_results(1)",
        "SELECT password_verify.kept_seals()",
    ] {
        let state = sqlstate(nobody.query(sql, &[]));
        assert_eq!(state, "42501", "{sql}");
    }
}

#[test]
fn nobody_is_ever_a_member_of_the_owner() {
    let site = Site::new();
    let sql = "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
                      OR rolbypassrls OR EXISTS (SELECT FROM pg_auth_members m WHERE r.oid IN (m.roleid, m.member))
                 FROM pg_roles r WHERE rolname = 'pv_owner'";
    assert!(!site.admin().query_one(sql, &[]).unwrap().get::<_, bool>(0));
}
