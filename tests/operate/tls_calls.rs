//! Which functions take or give a secret: each function of the catalogue is one or the other, and behaves like it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use password_verify_tests::tls::{Shop, has_state};
use postgres::Client;

/// Those that take or give a password, a token, a handle, a hash, a kept secret, or what a keeper has found with it.
const WITH_SECRET: &[&str] = &[
    "pv_change_password",
    "pv_change_vault_password",
    "pv_check_password",
    "pv_create_password",
    "pv_create_vault",
    "pv_deliver",
    "pv_import_hash",
    "pv_issue_reset_token",
    "pv_lock_vault",
    "pv_open_secret",
    "pv_read_attachment",
    "pv_read_mail",
    "pv_register_imap_account",
    "pv_reset_password",
    "pv_results",
    "pv_set_password",
    "pv_store_rotated",
    "pv_store_secret",
    // It gives what opens the secret, which would be of no use without.
    "pv_take_job",
    "pv_unlock_vault",
    "pv_validate_password",
];

/// Those that take one only with the handle of a vault.
const WITH_HANDLE: &[&str] = &["pv_request", "pv_request_attachment", "pv_request_mail"];

const WITHOUT: &[&str] = &[
    "active_key",
    "api",
    "audit_client",
    "audit_ids",
    "change_grant",
    "doctor_audit",
    "doctor_grants",
    "doctor_installation",
    "doctor_keys",
    "doctor_logging",
    "doctor_outside",
    "doctor_records",
    "doctor_roles",
    "doctor_schema",
    "doctor_server",
    "doctor_settings",
    "doctor_summary",
    "doctor_tables",
    "doctor_worker",
    "events",
    "events_of",
    "examined",
    "facts",
    "findings",
    "folds",
    "kept_seals",
    "keys",
    "literal",
    "mail_bytes",
    "mail_number",
    "mail_texts",
    "mail_time",
    "number_of_rows",
    "oldest_snapshot",
    "place_of",
    "pv_accept_restore",
    "pv_ack_mail",
    "pv_ack_results",
    "pv_calibrate",
    "pv_cancel_request",
    "pv_client_events",
    "pv_delete_user",
    "pv_delete_vault",
    "pv_disable_user",
    "pv_doctor",
    "pv_enable_user",
    "pv_events_after",
    "pv_finish_job",
    "pv_forget_secret",
    "pv_forget_user",
    "pv_grant",
    "pv_has_password",
    "pv_recent_events",
    "pv_rename_user",
    "pv_requests",
    "pv_require_change",
    "pv_revoke",
    "pv_revoke_reset_tokens",
    "pv_rotate_batch",
    "pv_rotate_keys",
    "pv_rotate_rest",
    "pv_rotation_left",
    "pv_secrets",
    "pv_unlock_user",
    "pv_user",
    "pv_user_events",
    "pv_verify_credentials",
    "pv_verify_events",
    "pv_verify_log_line",
    "quoted",
    "require_apart",
    "require_client",
    "role_name",
    "shown",
    "spelled",
    "statistics",
    "users",
];

/// Names of arguments and columns that are one.
const SECRETS: &[&str] = &[
    "password",
    "old_password",
    "new_password",
    "vault_password",
    "token",
    "hash",
    "secret",
    "vault_handle",
    "handle",
    "result",
    "text",
    "raw",
    "data",
];

struct Function {
    name: String,
    call: String,
    names: Vec<String>,
}

/// Every function of the extension, and how to call it with that in place of each handle and NULL for the rest.
fn functions(admin: &mut Client, handle: &str) -> Vec<Function> {
    let sql = "
SELECT p.proname::text, COALESCE(p.proargnames, '{}'),
       format('%s %s(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, p.oid::regproc,
              (SELECT string_agg(format('%s::%s',
                          CASE WHEN p.proargnames[i] = 'vault_handle' THEN $1 ELSE 'NULL' END,
                          p.proargtypes[i - 1]::regtype), ', ' ORDER BY i)
                 FROM generate_series(1, p.pronargs) i))
  FROM pg_depend d
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
  JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
 WHERE e.extname = 'password_verify' AND d.deptype = 'e'";
    let rows = admin.query(sql, &[&handle]).unwrap();
    let of =
        |row: &postgres::Row| Function { name: row.get(0), names: row.get(1), call: row.get(2) };
    rows.iter().map(of).collect()
}

/// A superuser may call all of them.
fn shop() -> Shop {
    Shop::new(&["host all all 192.0.2.0/24 trust"], &[], "UTF8")
}

#[test]
fn every_function_is_known_to_be_with_a_secret_or_without() {
    let shop = shop();
    let functions = functions(&mut shop.site.admin(), "NULL");
    let names: BTreeSet<_> = functions.iter().map(|function| function.name.as_str()).collect();
    let known: BTreeSet<_> = [WITH_SECRET, WITH_HANDLE, WITHOUT].concat().into_iter().collect();
    assert_eq!(names, known, "a new function belongs to one of the three lists of this file");
    assert_eq!(known.len(), WITH_SECRET.len() + WITH_HANDLE.len() + WITHOUT.len());
    for Function { name, names, .. } in &functions {
        let by_name = names.iter().any(|name| SECRETS.contains(&name.as_str()));
        // What the functions of ours use among themselves has no caller outside.
        if by_name && name.starts_with("pv_") {
            assert!(!WITHOUT.contains(&name.as_str()), "{name} {names:?}");
        }
    }
}

#[test]
fn those_with_a_secret_are_refused_before_anything_else_and_the_others_are_not() {
    let shop = shop();
    let mut seen = 0;
    for handle in ["NULL", "''"] {
        for Function { name, call, .. } in functions(&mut shop.site.admin(), handle) {
            let with = WITH_SECRET.contains(&name.as_str())
                || (handle != "NULL" && WITH_HANDLE.contains(&name.as_str()));
            // NULL is refused by most of them, but only after this.
            let said = shop.psql("user=postgres sslmode=disable", &[&call]);
            assert_eq!(has_state(&said, "28000"), with, "{call}: {said:?}");
            seen += usize::from(with);
            // Encrypted, none is refused for this.
            if with {
                let said = shop.psql("user=postgres sslmode=require", &[&call]);
                assert!(!has_state(&said, "28000"), "{call}: {said:?}");
            }
        }
    }
    // Most of them in three variants.
    assert!(seen > 2 * WITH_SECRET.len(), "{seen}");
}

#[test]
fn a_certificate_is_demanded_by_the_same_functions() {
    let shop = shop();
    let on = "SET password_verify.require_client_certificate = on";
    for Function { name, call, .. } in functions(&mut shop.site.admin(), "''") {
        let with = [WITH_SECRET, WITH_HANDLE].concat().contains(&name.as_str());
        let said = shop.psql("user=postgres sslmode=require", &[on, &call]);
        assert_eq!(has_state(&said, "28000"), with, "{call}: {said:?}");
        if with {
            assert!(said.unwrap_err().contains("without a verified client certificate"), "{call}");
        }
    }
}

#[test]
fn a_secret_is_not_looked_at_before_it_is_refused() {
    let shop = shop();
    // What is wrong with an argument is not said, whatever it is.
    for arguments in [
        "''::text, 'x'",
        "repeat('x', 300)::text, 'x'",
        "'42'::text, repeat('x', 5000)",
        "NULL::text, NULL",
        "42::bigint, 'x', '192.0.2.9'",
    ] {
        let sql = format!("SELECT auth.pv_validate_password({arguments})");
        let said = shop.psql("user=postgres sslmode=disable", &[&sql]);
        assert!(has_state(&said, "28000"), "{sql}: {said:?}");
    }
}
