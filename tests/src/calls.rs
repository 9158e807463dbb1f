//! What an application and its people call, and what comes of it.

use postgres::types::ToSql;
use postgres::{Client, Error, GenericClient};

/// `pv_create_password` with a text id, where a test wants to see the error too.
pub const CREATE: &str = "SELECT * FROM auth.pv_create_password($1::text, $2)";
/// `pv_validate_password`, likewise.
pub const VALIDATE: &str = "SELECT * FROM auth.pv_validate_password($1::text, $2)";
/// The same, with the address of the client.
pub const VALIDATE_FROM: &str =
    "SELECT * FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
/// `pv_set_password`, likewise.
pub const SET: &str = "SELECT * FROM auth.pv_set_password($1::text, $2)";

/// What a function answers: yes, or no and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub bool, pub Option<String>);

impl Answer {
    /// An answer of the form that SQL gives.
    pub fn no(reason: &str) -> Self {
        Self(false, Some(reason.into()))
    }

    /// A wrong password, or nobody's.
    pub fn wrong() -> Self {
        Self::no("invalid_credentials")
    }

    /// Yes, and no reason why not.
    pub fn yes() -> Self {
        Self(true, None)
    }
}

/// Asks a function that answers with (yes, reason, …).
pub fn ask(client: &mut Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<Answer, Error> {
    let row = client.query_one(sql, args)?;
    Ok(Answer(row.get(0), row.get(1)))
}

/// `pv_validate_password` with a text id.
pub fn validate(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, VALIDATE, &[&user, &password]).unwrap()
}

/// `pv_create_password` with a text id.
pub fn create(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, CREATE, &[&user, &password]).unwrap()
}

/// `pv_change_password` with a text id.
pub fn change(client: &mut Client, user: &str, old: &str, new: &str) -> Answer {
    let sql = "SELECT * FROM auth.pv_change_password($1::text, $2, $3)";
    ask(client, sql, &[&user, &old, &new]).unwrap()
}

/// `pv_set_password` with a text id.
pub fn set(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, SET, &[&user, &password]).unwrap()
}

/// `pv_check_password` with a text id.
pub fn check(client: &mut Client, user: &str, password: &str) -> Answer {
    ask(client, "SELECT * FROM auth.pv_check_password($1::text, $2)", &[&user, &password]).unwrap()
}

/// `pv_rename_user` with text ids.
pub fn rename(client: &mut impl GenericClient, old: &str, new: &str) -> Answer {
    let sql = "SELECT * FROM auth.pv_rename_user($1::text, $2::text)";
    let row = client.query_one(sql, &[&old, &new]).unwrap();
    Answer(row.get(0), row.get(1))
}

/// `pv_issue_reset_token` for a user who is there.
pub fn issue(client: &mut impl GenericClient, user: &str) -> String {
    client.query_one("SELECT auth.pv_issue_reset_token($1::text)", &[&user]).unwrap().get(0)
}

/// `pv_reset_password`.
pub fn reset(client: &mut Client, token: &str, new: &str) -> Answer {
    ask(client, "SELECT success, reason FROM auth.pv_reset_password($1, $2)", &[&token, &new])
        .unwrap()
}

/// One of the functions of (user id) that say whether there was something to do.
pub fn manage(client: &mut Client, function: &str, user: &str) -> bool {
    client.query_one(&format!("SELECT auth.{function}($1::text)"), &[&user]).unwrap().get(0)
}

/// The SQLSTATE of what must be an error.
pub fn sqlstate<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "no error".into(),
        Err(error) => match error.code() {
            Some(code) => code.code().into(),
            None => format!("not an error of the server: {error}"),
        },
    }
}

/// What must be an error, as (SQLSTATE, message, hint).
pub fn refused<T>(result: Result<T, Error>) -> (String, String, String) {
    let error = result.err().expect("an error");
    let error = error.as_db_error().expect("an error of the server");
    let hint = error.hint().unwrap_or_default().into();
    (error.code().code().into(), error.message().into(), hint)
}
