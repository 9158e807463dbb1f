//! What the library is asked while tables are tampered with.

use std::collections::BTreeMap;

use postgres::{Client, GenericClient, Row};

use super::base::{Base, USERS};
use super::kept::NOTHING_DUE;
use super::{CREDENTIALS, Case, EVENTS, OF_THE_KEEPER, Seen};
use crate::throttle::BUSY;
use crate::{GOOD, OTHER, WRONG};

/// What was asked, and the answer: a yes, a reason, or an error with its SQLSTATE.
pub type Answers = BTreeMap<String, String>;

pub(super) const ERROR: &str = "error ";

/// One call, undone.
pub(super) fn ask(client: &mut impl GenericClient, calls: &[(&str, &[&str])]) -> String {
    let mut open = client.transaction().unwrap();
    let mut answer = String::new();
    for (sql, args) in calls {
        let args: Vec<_> =
            args.iter().map(|arg| arg as &(dyn postgres::types::ToSql + Sync)).collect();
        match open.query_one(*sql, &args) {
            Ok(row) => answer = shown(&row),
            Err(error) => {
                let code = error.code().map_or("none", |code| code.code()).to_owned();
                answer = format!("{ERROR}{code}");
                break;
            }
        }
    }
    open.rollback().unwrap();
    answer
}

/// The answer of a function: a reason, if there is one.
fn shown(row: &Row) -> String {
    row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())
}

pub(super) const LOGIN: &str =
    "SELECT COALESCE(reason, 'yes') FROM auth.pv_validate_password($1::text, $2)";
pub(super) const CHANGE: &str =
    "SELECT COALESCE(reason, 'yes') FROM auth.pv_change_password($1::text, $2, $3)";
pub(super) const RESET: &str = "SELECT COALESCE(reason, 'yes') FROM auth.pv_reset_password($1, $2)";

/// Everything that needs a record or an account, each in a savepoint: users in every state log in, and use what
/// they have. Then what writes a record anew, which must make nothing good of it.
pub fn in_transaction(
    open: &mut impl GenericClient,
    [token, revoked]: [&str; 2],
    all: bool,
) -> Answers {
    let mut answers = Answers::new();
    let mut note = |what: &str, calls: &[(&str, &[&str])]| {
        answers.insert(what.to_owned(), ask(open, calls));
    };
    for user in USERS.iter().filter(|user| all || **user == "plain") {
        note(&format!("{user} logs in"), &[(LOGIN, &[user, GOOD])]);
    }
    note("plain is wrong", &[(LOGIN, &["plain", WRONG])]);
    note("nobody logs in", &[(LOGIN, &["nobody", GOOD])]);
    if !all {
        return answers;
    }
    note("plain has the password of last week", &[(LOGIN, &["plain", OTHER])]);
    note("former takes a former password", &[(CHANGE, &["former", GOOD, OTHER])]);
    note("token resets", &[(RESET, &[token, "seven dry umbrellas hum"])]);
    note("revoked resets", &[(RESET, &[revoked, "seven dry umbrellas hum"])]);
    let rotate = "SELECT (auth.pv_rotate_batch(0, '00000000-0000-0000-0000-000000000000', 1000)).finished::text";
    note("plain logs in after a rotation", &[(rotate, &[]), (LOGIN, &["plain", GOOD])]);
    let rename = "SELECT success::text FROM auth.pv_rename_user($1::text, $2::text)";
    let renamed: [(&str, &[&str]); 2] =
        [(rename, &["plain", "renamed"]), (LOGIN, &["renamed", GOOD])];
    note("plain logs in by another name", &renamed);
    let required = "SELECT auth.pv_require_change($1::text)::text";
    note("plain is required to change", &[(required, &["plain"]), (LOGIN, &["plain", GOOD])]);
    let issue = "SELECT (auth.pv_issue_reset_token($1::text) IS NOT NULL)::text";
    note("plain logs in after a token", &[(issue, &["plain"]), (LOGIN, &["plain", GOOD])]);
    answers
}

/// What the two verdicts say, in a savepoint each.
pub fn verdicts(open: &mut impl GenericClient, seen: &mut Seen) {
    let sql =
        "SELECT COALESCE(table_name || ': ' || problem, '') FROM auth.pv_verify_credentials()";
    match ask(open, &[(sql, &[])]) {
        fine if fine.is_empty() => {}
        error if error.starts_with(ERROR) => {
            seen.refused.push(format!("pv_verify_credentials: {error}"));
        }
        _ => drop(seen.noticed.insert(CREDENTIALS)),
    }
    let sql = "SELECT COALESCE(problem, '') FROM auth.pv_verify_events()";
    match ask(open, &[(sql, &[])]) {
        fine if fine.is_empty() => {}
        error if error.starts_with(ERROR) => {
            seen.refused.push(format!("pv_verify_events: {error}"));
        }
        _ => drop(seen.noticed.insert(EVENTS)),
    }
}

/// Compares answers with those before.
pub fn compare(before: &Answers, now: &Answers, seen: &mut Seen) {
    for (what, answer) in now {
        let was = before.get(what).map_or("no error", String::as_str);
        if answer == was {
            continue;
        }
        let text = format!("{what}: {answer}, not {was}");
        let is_refused = answer.starts_with(ERROR) || [BUSY, NOTHING_DUE].contains(&&**answer);
        if is_refused { &mut seen.refused } else { &mut seen.otherwise }.push(text);
    }
}

/// Does the table hold other rows than the copy of it in that schema?
pub fn differs(open: &mut impl GenericClient, table: &str, schema: &str) -> bool {
    let sql = format!(
        "SELECT EXISTS ((TABLE password_verify.{table} EXCEPT ALL TABLE {schema}.{table})
                        UNION ALL (TABLE {schema}.{table} EXCEPT ALL TABLE password_verify.{table}))"
    );
    open.query_one(&sql, &[]).unwrap().get(0)
}

/// Users whose row in that table is not the one that was kept.
pub fn touched(open: &mut impl GenericClient, table: &str, schema: &str) -> Vec<String> {
    let row = |schema: &str| {
        format!(
            "(SELECT array_agg(t::text ORDER BY t::text) FROM {schema}.{table} t WHERE t.user_id = u)"
        )
    };
    let (now, then) = (row("password_verify"), row(schema));
    let sql = format!("SELECT u FROM unnest($1::text[]) u WHERE {now} IS DISTINCT FROM {then}");
    open.query(&sql, &[&USERS.as_slice()]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Tampers with a table in a transaction, looks at what comes of it, and undoes it. `turn`: how often the keeper was
/// asked before.
pub fn case_in_transaction(
    admin: &mut Client,
    case: &Case,
    before: &Answers,
    base: &Base,
    turn: usize,
) -> Seen {
    let mut seen = Seen::default();
    let of_users = ["credential", "account"].contains(&case.table);
    let mut open = admin.transaction().unwrap();
    if let Err(error) = open.batch_execute(&case.sql) {
        seen.impossible = Some(error.code().map_or("none", |code| code.code()).to_owned());
        return seen;
    }
    if !differs(&mut open, case.table, "kept") {
        seen.nothing = true;
        return seen;
    }
    verdicts(&mut open, &mut seen);
    // While this transaction takes the key of `event` away, no worker can write.
    if case.table == "event" && case.sql.contains("DROP CONSTRAINT") {
        return seen;
    }
    let tokens = [&*base.token, &*base.revoked];
    let of_keeper = OF_THE_KEEPER.contains(&case.table);
    let mut answers = in_transaction(&mut open, tokens, case.table != "event" && !of_keeper);
    if case.table != "event" {
        base.kept.answers(&mut open, turn, &mut answers);
    }
    compare(before, &answers, &mut seen);
    if of_users {
        let touched = touched(&mut open, case.table, "kept");
        let told = seen.refused.iter().chain(&seen.otherwise);
        let told: Vec<_> = told.filter_map(|text| text.split(' ').next()).collect();
        seen.passed = touched.into_iter().filter(|user| !told.contains(&user.as_str())).collect();
    }
    open.rollback().unwrap();
    seen
}
