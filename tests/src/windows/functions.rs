//! Every function that takes a secret, with literals and with parameters.

use std::collections::BTreeMap;

use postgres::GenericClient;

use super::stage::Stage;
use super::way::{Way, way};
use crate::query::text;

/// The user ids that a function takes; `ID` in a call stands for each of them.
const IDS: [&str; 3] = ["'77'::text", "77::bigint", "'2f1e6a0c-7a3b-4c1d-9e8f-0123456789ab'::uuid"];

const TO: &str = r#"'{"protocol":"imaps","host":"mail.example.org","port":993,"login":"alice","mechanism":"PLAIN"}'"#;

/// Who calls it.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Caller,
    Connector,
}

/// A function, a call of it in which each `'@'` is a secret, and what it ends with: nothing is prepared for it, so that
/// many are refused, after they were called.
struct Call(&'static str, Who, &'static str, &'static str);

use Who::{Caller, Connector};

const CALLS: &[Call] = &[
    Call("pv_validate_password", Caller, "ID, '@'", "00000"),
    Call("pv_change_password", Caller, "ID, '@', '@'", "00000"),
    Call("pv_check_password", Caller, "ID, '@'", "00000"),
    Call("pv_create_password", Caller, "ID, '@'", "00000"),
    Call("pv_set_password", Caller, "ID, '@', true", "00000"),
    Call("pv_import_hash", Caller, "ID, '@'", "00000"),
    Call("pv_reset_password", Caller, "'@', '@'", "00000"),
    Call("pv_store_secret", Caller, "ID, 'mail', '@', TO, '@'", "00000"),
    Call("pv_create_vault", Caller, "ID, '@'", "00000"),
    Call("pv_change_vault_password", Caller, "ID, '@', '@'", "00000"),
    Call("pv_unlock_vault", Caller, "ID, '@'", "00000"),
    Call("pv_lock_vault", Caller, "'@'", "00000"),
    Call(
        "pv_request",
        Caller,
        "ID, 'mail', concat('{\"a\":\"', '@', '\"}')::jsonb, NULL, NULL, '@'",
        "55000",
    ),
    Call("pv_request_mail", Caller, "ID, 'mail', vault_handle => '@'", "55000"),
    Call("pv_request_attachment", Caller, "ID, 'mail', 'INBOX', 1, 1, '1', '@'", "55000"),
    Call(
        "pv_register_imap_account",
        Caller,
        "ID, 'imap', 'mail.example.org', 993, 'alice', '@', vault_password => '@', vault_handle => '@'",
        "00000",
    ),
    Call("pv_store_rotated", Connector, "1, '@', 1", "42704"),
    Call(
        "pv_deliver",
        Connector,
        "1, concat('{\"a\":\"', '@', '\"}')::jsonb, 1, concat('{\"a\":\"', '@', '\"}')::jsonb",
        "42704",
    ),
];

/// Arguments of functions that are named like a secret and are none.
const NO_SECRETS: [&str; 0] = [];

fn call(stage: &mut Stage<'_>, call: &Call, bound: bool) {
    let Call(name, who, arguments, state) = call;
    if *who == Connector {
        stage.open(&stage.room.connector);
    }
    let ids = if arguments.contains("ID") { &IDS[..] } else { &IDS[..1] };
    for id in ids {
        let arguments = arguments.replace("ID", id).replace("TO", TO);
        let mut sql = format!("SELECT auth.{name}({arguments})");
        if bound {
            let mut secrets = Vec::new();
            while sql.contains("'@'") {
                secrets.push(stage.secret());
                sql = sql.replacen("'@'", &format!("${}::text", secrets.len()), 1);
            }
            stage.bound(state, &sql, &secrets);
        } else {
            let sql = stage.fill(&sql);
            stage.simple(state, &sql);
        }
    }
}

pub fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for it in CALLS {
        ways.push(way(it.0, |stage| call(stage, it, false)));
        ways.push(way(&format!("{}, bound", it.0), |stage| call(stage, it, true)));
    }
    ways.extend([
        way("a token that is good", |stage| {
            let (old, new) = (stage.secret(), stage.secret());
            stage.ok(&format!("SELECT auth.pv_set_password('token'::text, '{old}')"));
            let token = stage.ok("SELECT auth.pv_issue_reset_token('token'::text)").rows[0].clone();
            stage.also(&token);
            let sql = format!("SELECT success FROM auth.pv_reset_password('{token}', '{new}')");
            assert_eq!(stage.ok(&sql).rows, ["t"]);
        }),
        way("a password that is right", |stage| {
            let secret = stage.secret();
            stage.ok(&format!("SELECT auth.pv_set_password('right'::text, '{secret}')"));
            let sql =
                format!("SELECT valid FROM auth.pv_validate_password('right'::text, '{secret}')");
            assert_eq!(stage.ok(&sql).rows, ["t"]);
        }),
        way("a handle that is good", |stage| {
            let (vault, secret) = (stage.secret(), stage.secret());
            stage.ok(&format!("SELECT auth.pv_create_vault('handle'::text, '{vault}')"));
            stage.ok(&format!(
                "SELECT auth.pv_store_secret('handle'::text, 'mail', '{secret}', {TO}, '{vault}')"
            ));
            let sql = format!("SELECT handle FROM auth.pv_unlock_vault('handle'::text, '{vault}')");
            let handle = stage.ok(&sql).rows[0].clone();
            stage.also(&handle);
            stage.ok(&format!(
                "SELECT auth.pv_request('handle'::text, 'mail', '{{}}', NULL, NULL, '{handle}')"
            ));
            let sql = "SELECT auth.pv_lock_vault($1)";
            assert_eq!(stage.bound("00000", sql, &[handle]).rows, ["t"]);
        }),
    ]);
    ways
}

/// Functions with more secret arguments than any way gives them, by the names in the catalogue.
pub fn not_called(client: &mut impl GenericClient) -> Vec<String> {
    let sql = "SELECT p.proname::text, a.name, p.oid::regprocedure::text
                 FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid,
                      unnest(p.proargnames, COALESCE(p.proargmodes, array_fill('i'::\"char\", ARRAY[p.pronargs::integer])))
                          a (name, mode)
                WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
                  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'password_verify')
                  AND a.mode IN ('i', 'b', 'v') AND a.name ~ '(password|secret|token|hash|handle)'
                  AND a.name <> 'token_endpoint'";
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in client.query(sql, &[]).unwrap() {
        if !NO_SECRETS.contains(&row.get::<_, &str>(1)) {
            *found.entry((row.get(0), row.get(2))).or_default() += 1;
        }
    }
    assert!(
        found.len() > 30,
        "the catalogue is read: {}",
        text(client, "SELECT current_database()")
    );
    let given = |name: &str| {
        CALLS.iter().find(|it| it.0 == name).map_or(0, |it| it.2.matches("'@'").count())
    };
    found
        .into_iter()
        .filter(|((name, _), secrets)| given(name) < *secrets)
        .map(|((_, signature), _)| signature)
        .collect()
}
