//! The border to SQL: each function converts its arguments, makes one call, and converts the
//! answer. Nothing but the bounds of arguments is checked here.
//!
//! The SQL side of every function is written by hand in `sql/password_verify--0.1.0.sql`, with
//! variants for bigint, uuid and text ids over one symbol here.

use std::time::Duration;

use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;
use password_verify_core::trail::chain::{self, Head};
use pgrx::datum::{Inet, Interval, TimestampWithTimeZone, Uuid};
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::account::calibrate;
use crate::account::calibrate::Proposal;
use crate::account::{accept, change, enroll, import, manage, rename, reset, rotate, validate};
use crate::answer::{Denial, Stop, answer};
use crate::counter;
use crate::error::Error;
use crate::pg::keys::keyring;
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::pg::server::connection;
use crate::pg::session::arg::{LineArg, PasswordArg, UserIdArg};
use crate::pg::session::result_row::{Column, ResultRow};
use crate::pg::session::{call, log, statistics};
use crate::pg::verify::{accept_restore, events, rotation, tables, walk};

mod doctor;
mod keeper;
mod questions;

/// The result of a function: a value, or an error for PostgreSQL to raise.
type Sql<T> = Result<T, ErrorReport>;

#[pg_extern(sql = false)]
fn pv_validate_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
    client_addr: Option<Inet>,
) -> Sql<ResultRow<3>> {
    call::require_ready_for_secret()?;
    let (user, password) = (user(user_id)?, given(password, "password")?);
    attempted(validate::validate(user, password, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_change_password(
    user_id: Option<UserIdArg>,
    old_password: Option<PasswordArg>,
    new_password: Option<PasswordArg>,
    client_addr: Option<Inet>,
) -> Sql<ResultRow<3>> {
    call::require_ready_for_secret()?;
    let (user, old) = (user(user_id)?, given(old_password, "old password")?);
    let new = given(new_password, "new password")?;
    attempted(change::change(user, old, new, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_check_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
) -> Sql<ResultRow<2>> {
    call::require_ready_for_secret()?;
    statistics::count_call(counter::CHECK_PASSWORD);
    let accepted = accept(&user(user_id)?, given(password, "password")?);
    Ok(yes_or_no(accepted.map(drop)))
}

#[pg_extern(sql = false)]
fn pv_create_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
) -> Sql<ResultRow<2>> {
    call::require_ready_for_secret()?;
    answered(enroll::create(&user(user_id)?, given(password, "password")?))
}

#[pg_extern(sql = false)]
fn pv_set_password(
    user_id: Option<UserIdArg>,
    password: Option<PasswordArg>,
    must_change: Option<bool>,
    expires_at: Option<TimestampWithTimeZone>,
) -> Sql<ResultRow<2>> {
    call::require_ready_for_secret()?;
    let (user, new) = (user(user_id)?, given(password, "password")?);
    let must_change = must_change.ok_or(Error::Null("must_change"))?;
    let expires_at = expires_at.map(TimestampWithTimeZone::into_inner);
    answered(enroll::set(&user, new, must_change, expires_at))
}

#[pg_extern(sql = false)]
fn pv_import_hash(user_id: Option<UserIdArg>, hash: Option<PasswordArg>) -> Sql<ResultRow<2>> {
    call::require_ready_for_secret()?;
    answered(import::import(&user(user_id)?, &given(hash, "hash")?))
}

#[pg_extern(sql = false)]
fn pv_issue_reset_token(
    user_id: Option<UserIdArg>,
    valid_for: Option<Interval>,
) -> Sql<Option<String>> {
    call::require_ready_for_secret()?;
    let user = user(user_id)?;
    let valid_for = valid_for.ok_or(Error::Null("valid_for"))?.as_micros();
    let bounds = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3600);
    let valid_for = u64::try_from(valid_for).map(Duration::from_micros).ok();
    let valid_for = valid_for.filter(|time| bounds.contains(time)).ok_or(Error::TokenLife)?;
    Ok(reset::issue(&user, valid_for)?.map(|token| token.expose().to_owned()))
}

#[pg_extern(sql = false)]
fn pv_revoke_reset_tokens(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(reset::revoke(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_rename_user(old_id: Option<UserIdArg>, new_id: Option<UserIdArg>) -> Sql<ResultRow<2>> {
    server::require_ready()?;
    let (old, new) = (user(old_id)?, new_id.ok_or(Error::Null("new user id"))?.0?);
    answered(rename::rename(&old, &new))
}

#[pg_extern(sql = false)]
fn pv_reset_password(
    token: Option<PasswordArg>,
    new_password: Option<PasswordArg>,
    client_addr: Option<Inet>,
) -> Sql<ResultRow<3>> {
    call::require_ready_for_secret()?;
    let token = given(token, "token")?;
    let new = given(new_password, "new password")?;
    attempted(reset::reset(&token, new, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_has_password(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    statistics::count_call(counter::HAS_PASSWORD);
    Ok(enroll::has_password(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_disable_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::disable(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_enable_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::enable(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_require_change(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::require_change(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_delete_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::delete(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_forget_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::forget(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_unlock_user(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(manage::unlock(&user(user_id)?)?)
}

/// One batch of `pv_rotate_keys`: returns where the next batch begins (in which table, and after
/// which row), and how many records were sealed again, busy or not opened.
#[pg_extern(sql = false)]
fn pv_rotate_batch(
    step: Option<i32>,
    after: Option<Uuid>,
    batch_size: Option<i32>,
) -> Sql<ResultRow<6>> {
    server::require_ready()?;
    server::require_writable()?;
    let after = after.map_or([0; 16], |after| *after.as_bytes());
    let limit = u64::from(batch_size.unwrap_or_default().clamp(1, 100_000).unsigned_abs());
    let step = step.unwrap_or_default().unsigned_abs();
    let (step, batch) = rotate::batch(step, after, limit)?;
    let count = |count: u64| Column::Bigint(Some(count.cast_signed()));
    Ok(ResultRow([
        Column::Integer(step.cast_signed()),
        Column::Uuid(batch.last),
        count(batch.sealed),
        count(batch.busy),
        count(batch.unopened),
        Column::Bool(batch.finished),
    ]))
}

/// The rest of `pv_rotate_keys`: has the worker signed what it keeps?
#[pg_extern(sql = false)]
fn pv_rotate_rest() -> Sql<bool> {
    server::require_ready()?;
    Ok(rotation::rest()?)
}

#[pg_extern(sql = false)]
fn pv_calibrate(target: Option<Interval>) -> Sql<ResultRow<4>> {
    server::require_ready()?;
    let target = target.ok_or(Error::Null("target"))?.as_micros();
    let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
    let target = u64::try_from(target).map(Duration::from_micros).ok();
    let target = target.filter(|time| bounds.contains(time)).ok_or(Error::Target)?;
    let Proposal { cost, expected } = calibrate::propose(target)?;
    let number = |value: u32| Column::Integer(value.cast_signed());
    Ok(ResultRow([
        number(cost.memory_kib()),
        number(cost.iterations()),
        number(cost.parallelism()),
        Column::Interval(Some(expected)),
    ]))
}

/// For the view `pv_keys`: the active key as id, `$`, fingerprint.
#[pg_extern(sql = false)]
fn pv_active_key() -> Sql<Option<String>> {
    server::require_ready()?;
    Ok(keyring::active_seal().map(|(id, fingerprint)| format!("{id}${fingerprint}")))
}

/// For functions written in SQL: only requires that the extension is ready and a client calls.
#[pg_extern(sql = false)]
fn pv_require_client() -> Sql<bool> {
    server::require_ready()?;
    Ok(true)
}

/// For the view `pv_stats`.
#[pg_extern(sql = false)]
fn pv_statistics() -> Sql<TableIterator<'static, (name!(statistic, String), name!(value, i64))>> {
    server::require_ready()?;
    Ok(TableIterator::new(statistics::all()))
}

#[pg_extern(sql = false)]
fn pv_verify_events() -> Sql<ResultRow<8>> {
    server::require_ready()?;
    let report = events::run(None)?;
    events::record(&report);
    verified(report)
}

#[pg_extern(sql = false)]
fn pv_verify_events_from(
    from_epoch: Option<i64>,
    from_seq: Option<i64>,
    from_mac: Option<LineArg>,
) -> Sql<ResultRow<8>> {
    server::require_ready()?;
    let (epoch, seq) =
        (from_epoch.ok_or(Error::Null("from_epoch"))?, from_seq.ok_or(Error::Null("from_seq"))?);
    let mac = from_mac.ok_or(Error::Null("from_mac"))?.0?;
    let mac = mac.as_deref().and_then(chain::unhex).ok_or(Error::NotAMac)?;
    verified(events::run(Some(Head { epoch, seq, mac }))?)
}

fn verified(report: walk::Report) -> Sql<ResultRow<8>> {
    let (at, head) = (report.at, report.head);
    Ok(ResultRow([
        Column::Bool(report.problem.is_none()),
        Column::Bigint(Some(report.events)),
        Column::Bigint(at.map(|(epoch, _)| epoch)),
        Column::Bigint(at.map(|(_, seq)| seq)),
        Column::Text(report.problem),
        Column::Bigint(head.map(|head| head.epoch)),
        Column::Bigint(head.map(|head| head.seq)),
        Column::Hex(head.map(|head| head.mac)),
    ]))
}

#[pg_extern(sql = false)]
fn pv_verify_credentials() -> Sql<ResultRow<4>> {
    server::require_ready()?;
    let report = tables::on_demand(|rows| pgrx::notice!("{rows} rows verified"))?;
    let problem = report.problems.first();
    Ok(ResultRow([
        Column::Bool(problem.is_none()),
        Column::Bigint(Some(report.rows)),
        Column::Text(problem.and_then(|problem| problem.table.to_str().ok())),
        Column::Text(problem.map(|problem| problem.what)),
    ]))
}

#[pg_extern(sql = false)]
fn pv_accept_restore(reason: Option<LineArg>) -> Sql<()> {
    server::require_ready()?;
    let reason = reason.ok_or(Error::Null("reason"))?.0?;
    Ok(accept_restore::request(reason.as_deref().unwrap_or_default())?)
}

#[pg_extern(sql = false)]
fn pv_verify_log_line(line: Option<LineArg>) -> Sql<ResultRow<2>> {
    server::require_ready()?;
    let line = line.ok_or(Error::Null("line"))?.0?;
    let problem = log::check(line.as_deref().unwrap_or_default()).err();
    Ok(ResultRow([Column::Bool(problem.is_none()), Column::Text(problem)]))
}

/// The client's address, as reported by the application.
fn client(arg: Option<Inet>) -> Option<core::net::IpAddr> {
    arg.as_ref().and_then(connection::address)
}

fn user(arg: Option<UserIdArg>) -> Result<UserId, Error> {
    arg.ok_or(Error::Null("user id"))?.0
}

fn given(arg: Option<PasswordArg>, name: &'static str) -> Result<Submitted, Error> {
    arg.ok_or(Error::Null(name))?.0
}

/// `(success, reason)`
fn yes_or_no(answer: Result<(), Reason>) -> ResultRow<2> {
    ResultRow([Column::Bool(answer.is_ok()), Column::Text(answer.err().map(Reason::as_str))])
}

/// `(success, reason)`
fn answered(result: Result<(), Stop>) -> Sql<ResultRow<2>> {
    Ok(yes_or_no(answer(result)?.map_err(|denial| denial.reason)))
}

/// `(valid, reason, retry_after)`
fn attempted(result: Result<(), Stop>) -> Sql<ResultRow<3>> {
    let answer = answer(result)?;
    let retry_after = answer.err().and_then(|denial| denial.until).map(server::wait_from_now);
    let ResultRow([yes, reason]) = yes_or_no(answer.map_err(|denial: Denial| denial.reason));
    Ok(ResultRow([yes, reason, Column::Interval(retry_after)]))
}
