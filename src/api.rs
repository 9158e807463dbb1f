//! The border to SQL: arguments in, one call, an answer out.
//!
//! The SQL side of every function is written by hand in `sql/password_verify--0.1.0.sql`. Each exists
//! there for bigint, uuid and text ids, over one symbol here.

use password_verify_core::policy::Submitted;
use password_verify_core::reason::Reason;
use password_verify_core::user_id::UserId;
use pgrx::datum::{Inet, TimestampWithTimeZone};
use pgrx::pg_extern;

use crate::enroll;
use crate::error::Error;
use crate::pg::ErrorReport;
use crate::pg::arg::{PasswordArg, UserIdArg};
use crate::pg::row::{Column, Row};
use crate::pg::session;
use crate::verify::{self, Request};

/// What a function ends in: a value, or an error on its way to PostgreSQL.
type Sql<T> = Result<T, ErrorReport>;

// `client_addr` is declared now, so that callers need not change, and read once the throttle is there.

#[pg_extern(sql = false)]
fn pv_validate_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
    _client_addr: Option<Inet>,
) -> Sql<Row<3>> {
    session::require_ready()?;
    let request = Request::new(user(user_id)?, given(password, "password")?);
    Ok(attempted(verify::validate(request)?))
}

#[pg_extern(sql = false)]
fn pv_change_password(
    user_id: Option<UserIdArg>,
    old_password: Option<PasswordArg>,
    new_password: Option<PasswordArg>,
    _client_addr: Option<Inet>,
) -> Sql<Row<3>> {
    session::require_ready()?;
    let (user, old) = (user(user_id)?, given(old_password, "old password")?);
    let new = given(new_password, "new password")?;
    Ok(attempted(enroll::change(user, old, new)?))
}

#[pg_extern(sql = false)]
fn pv_check_password(user_id: Option<UserIdArg>, password: Option<PasswordArg>) -> Sql<Row<2>> {
    session::require_ready()?;
    Ok(answered(enroll::check(&user(user_id)?, given(password, "password")?)))
}

#[pg_extern(sql = false)]
fn pv_create_password(user_id: Option<UserIdArg>, password: Option<PasswordArg>) -> Sql<Row<2>> {
    session::require_ready()?;
    Ok(answered(enroll::create(&user(user_id)?, given(password, "password")?)?))
}

#[pg_extern(sql = false)]
fn pv_set_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
    must_change: Option<bool>,
    expires_at: Option<TimestampWithTimeZone>,
) -> Sql<Row<2>> {
    session::require_ready()?;
    let (user, new) = (user(user_id)?, given(password, "password")?);
    let must_change = must_change.ok_or(Error::Null("must_change"))?;
    let expires_at = expires_at.map(TimestampWithTimeZone::into_inner);
    Ok(answered(enroll::set(&user, new, must_change, expires_at)?))
}

#[pg_extern(sql = false)]
fn pv_has_password(user_id: Option<UserIdArg>) -> Sql<bool> {
    session::require_ready()?;
    Ok(enroll::has_password(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_disable_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    session::require_ready()?;
    Ok(enroll::disable(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_enable_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    session::require_ready()?;
    Ok(enroll::enable(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_require_change(user_id: Option<UserIdArg>) -> Sql<bool> {
    session::require_ready()?;
    Ok(enroll::require_change(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_delete_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    session::require_ready()?;
    Ok(enroll::delete(&user(user_id)?)?)
}

fn user(arg: Option<UserIdArg>) -> Result<UserId, Error> {
    arg.ok_or(Error::Null("user id"))?.0
}

fn given(arg: Option<PasswordArg>, name: &'static str) -> Result<Submitted, Error> {
    arg.ok_or(Error::Null(name))?.0
}

/// `(success, reason)`
fn answered(answer: Result<(), Reason>) -> Row<2> {
    Row([Column::Bool(answer.is_ok()), Column::Text(answer.err().map(Reason::as_str))])
}

/// `(valid, reason, retry_after)`
fn attempted(answer: Result<(), Reason>) -> Row<3> {
    let Row([yes, reason]) = answered(answer);
    Row([yes, reason, Column::Null])
}
