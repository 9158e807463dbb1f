//! The keeper's functions: arguments and their bounds, one call, and the answer.

use std::time::Duration;

use password_verify_core::keeper::destination::{Destination, MAX_BYTES as MAX_DESTINATION};
use password_verify_core::keeper::handle::Handle;
use password_verify_core::keeper::schedule::{JobState, MAX_LEASE, MIN_LEASE, Outcome, detail};
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::secret::Secret;
use pgrx::datum::{Inet, Interval, TimestampWithTimeZone};
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use super::{Sql, answered, attempted, client, given, user};
use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::keeper::{requests, secrets, vault, work};
use crate::pg::heap::lock::Access;
use crate::pg::kept::Room;
use crate::pg::server;
use crate::pg::session::arg::{JsonArg, LineArg, PasswordArg, SecretArg, UserIdArg};
use crate::pg::session::call;
use crate::pg::session::result_row::{Given, Json, ResultRow};
use crate::pg::shared::queued_event::MAX_NAME;
use crate::settings;

/// The longest description of what is to be done, and of how far it has come, in bytes.
const MAX_WHAT: usize = 2048;
/// About the most bytes of results that one call returns.
const AT_ONCE: usize = 2 << 20;

#[pg_extern(sql = false)]
fn pv_store_secret(
    user_id: Option<UserIdArg>,
    name: Option<LineArg>,
    secret: Option<SecretArg>,
    destination: Option<JsonArg>,
    vault_password: Option<PasswordArg>,
    client_addr: Option<Inet>,
) -> Sql<ResultRow<3>> {
    call::require_ready_for_secret()?;
    let (user, name, secret) = (user(user_id)?, name_of(name)?, secret_of(secret)?);
    let json = json(destination, ("destination", MAX_DESTINATION), "It has 16384 bytes at most.")?;
    let destination = Destination::parse(json.expose()).map_err(Error::Destination)?;
    let vault = vault_password.map(|password| password.0).transpose()?;
    attempted(secrets::store(&user, &name, &secret, &destination, vault, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_forget_secret(user_id: Option<UserIdArg>, name: Option<LineArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(secrets::forget(&user(user_id)?, &name_of(name)?)?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // The columns, once.
fn pv_secrets(
    user_id: Option<UserIdArg>,
) -> Sql<
    TableIterator<
        'static,
        (
            name!(name, String),
            name!(destination, Json),
            name!(in_vault, bool),
            name!(state, String),
            name!(why, Option<String>),
            name!(stored_at, Option<TimestampWithTimeZone>),
            name!(opened_at, Option<TimestampWithTimeZone>),
        ),
    >,
> {
    server::require_ready()?;
    let found = Room::open(Access::Read)?.list(&user(user_id)?)?;
    let rows = found.into_iter().map(|(row, _)| {
        let destination = Json(Secret::new(row.destination));
        let (stored, opened) = (time(Some(row.stored_at)), time(row.opened_at));
        let state = row.state.as_str().to_owned();
        (row.name, destination, row.in_vault, state, row.why, stored, opened)
    });
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn pv_request(
    user_id: Option<UserIdArg>,
    name: Option<LineArg>,
    what: Option<JsonArg>,
    every: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    vault_handle: Option<PasswordArg>,
) -> Sql<i64> {
    // Without a handle it is about a secret, and has none.
    vault_handle.as_ref().map_or_else(call::require_ready, |_| call::require_ready_for_secret())?;
    let (user, name) = (user(user_id)?, name_of(name)?);
    let what = json(what, ("what", MAX_WHAT), "It has 2048 bytes at most.")?;
    let every = every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX));
    let until = until.map(TimestampWithTimeZone::into_inner);
    let handle = vault_handle.map(handle).transpose()?;
    let handle = handle.map(|handle| handle.ok_or(Error::VaultLocked)).transpose()?;
    Ok(requests::request(&user, &name, &what, (every, until), handle.as_ref())?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // The columns, once.
fn pv_requests(
    user_id: Option<UserIdArg>,
) -> Sql<
    TableIterator<
        'static,
        (
            name!(request, i64),
            name!(name, String),
            name!(what, Json),
            name!(every, Option<Interval>),
            name!(until, Option<TimestampWithTimeZone>),
            name!(state, String),
            name!(due_at, Option<TimestampWithTimeZone>),
            name!(outcome, Option<String>),
            name!(detail, Option<String>),
            name!(finished_at, Option<TimestampWithTimeZone>),
            name!(results, i64),
        ),
    >,
> {
    server::require_ready()?;
    let mut rows = Vec::new();
    let found = Room::open(Access::Read)?.list(&user(user_id)?)?;
    let jobs = found
        .into_iter()
        .flat_map(|(secret, jobs)| jobs.into_iter().map(move |job| (secret.name.clone(), job)));
    for (name, job) in jobs {
        let what = Json(job.what()?);
        let repeat = job.repeat.as_ref();
        let every = repeat.map(|repeat| Interval::from_micros(repeat.every));
        let until = time(repeat.map(|repeat| repeat.until));
        let due = match job.state {
            JobState::Waiting => Some(job.at),
            JobState::Leased => Some(job.due_at),
            JobState::Blocked | JobState::Ended => None,
        };
        let left = job.next_seq - 1 - job.acked;
        let state = job.state.as_str().to_owned();
        let (due, finished) = (time(due), time(job.finished_at));
        let (outcome, detail) = (job.outcome, job.detail);
        rows.push((
            job.number, name, what, every, until, state, due, outcome, detail, finished, left,
        ));
    }
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn pv_cancel_request(request: Option<i64>) -> Sql<bool> {
    server::require_ready()?;
    Ok(requests::cancel(request.ok_or(Error::Null("request"))?)?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // The columns, once.
fn pv_results(
    request: Option<i64>,
    after: Option<i64>,
) -> Sql<
    TableIterator<
        'static,
        (name!(seq, i64), name!(delivered_at, Option<TimestampWithTimeZone>), name!(result, Json)),
    >,
> {
    server::require_ready_for_secret()?;
    let request = request.ok_or(Error::Null("request"))?;
    let after = after.ok_or(Error::Null("after"))?;
    let since = server::now() - settings::result_retention();
    let found = Room::open(Access::Read)?.results()?.open_after(request, after, since, AT_ONCE)?;
    let rows = found.into_iter().map(|(row, result)| {
        let delivered_at = time(Some(row.delivered_at));
        (row.seq, delivered_at, Json(result))
    });
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn pv_ack_results(request: Option<i64>, up_to: Option<i64>) -> Sql<bool> {
    server::require_ready()?;
    let request = request.ok_or(Error::Null("request"))?;
    Ok(requests::acknowledge(request, up_to.ok_or(Error::Null("up_to"))?)?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // The columns, once.
fn pv_take_job(
    lease: Option<Interval>,
) -> Sql<
    TableIterator<
        'static,
        (
            name!(job, i64),
            name!(user_id, String),
            name!(name, String),
            name!(destination, Json),
            name!(what, Json),
            name!(lease, i64),
            name!(lease_ends, Option<TimestampWithTimeZone>),
            name!(progress, Option<Json>),
        ),
    >,
> {
    server::require_ready_for_secret()?;
    server::require_writable()?;
    let lease = lease.ok_or(Error::Null("lease"))?.as_micros();
    let lease = i64::try_from(lease).ok().filter(|it| (MIN_LEASE..=MAX_LEASE).contains(it));
    let lease = lease.ok_or(Error::Bounds("lease", "It is between 1 second and 1 hour."))?;
    let rows = work::take(lease)?.into_iter().map(|work::Taken { job, secret, what, progress }| {
        let destination = Json(Secret::new(secret.destination));
        let (number, lease, ends) = (job.number, job.leases, time(Some(job.at)));
        let (what, progress) = (Json(what), progress.map(Json));
        (number, secret.user_id, secret.name, destination, what, lease, ends, progress)
    });
    Ok(TableIterator::new(rows))
}

/// One row: a text that is nobody else's to see, or why not.
type Guarded = TableIterator<
    'static,
    (
        name!(secret, Option<Given>),
        name!(reason, Option<&'static str>),
        name!(retry_after, Option<Interval>),
    ),
>;

#[pg_extern(sql = false)]
fn pv_open_secret(job: Option<i64>, lease: Option<i64>) -> Sql<Guarded> {
    call::require_ready_for_secret()?;
    server::require_writable()?;
    guarded(work::open(held(job, lease)?))
}

#[pg_extern(sql = false)]
fn pv_store_rotated(job: Option<i64>, secret: Option<SecretArg>, lease: Option<i64>) -> Sql<()> {
    call::require_ready_for_secret()?;
    Ok(work::store_rotated(held(job, lease)?, &secret_of(secret)?)?)
}

#[pg_extern(sql = false)]
fn pv_deliver(
    job: Option<i64>,
    result: Option<JsonArg>,
    lease: Option<i64>,
    progress: Option<JsonArg>,
) -> Sql<i64> {
    call::require_ready_for_secret()?;
    let held = held(job, lease)?;
    let result = json(result, ("result", usize::MAX), "It has 1 MiB at most.")?;
    let noted = |it| json(Some(it), ("progress", MAX_WHAT), "It has 2048 bytes at most.");
    let progress = progress.map(noted).transpose()?;
    Ok(work::deliver(held, &result, progress.as_ref())?)
}

#[pg_extern(sql = false)]
fn pv_finish_job(
    job: Option<i64>,
    outcome: Option<LineArg>,
    reason: Option<LineArg>,
    lease: Option<i64>,
) -> Sql<()> {
    server::require_ready()?;
    let held = held(job, lease)?;
    let outcome = outcome.ok_or(Error::Null("outcome"))?.0?;
    let reason = reason.ok_or(Error::Null("detail"))?.0?;
    let outcome = outcome.as_deref().and_then(Outcome::from_str);
    let outcome =
        outcome.ok_or(Error::Bounds("outcome", "It is done, retry, rejected or failed."))?;
    let reason = reason.as_deref().and_then(detail);
    let reason =
        reason.ok_or(Error::Bounds("detail", "docs/keeper.md lists the codes that there are."))?;
    Ok(work::finish(held, outcome, reason)?)
}

#[pg_extern(sql = false)]
fn pv_create_vault(
    user_id: Option<UserIdArg>,
    vault_password: Option<PasswordArg>,
) -> Sql<ResultRow<2>> {
    call::require_ready_for_secret()?;
    answered(vault::create(&user(user_id)?, given(vault_password, "vault password")?))
}

#[pg_extern(sql = false)]
fn pv_change_vault_password(
    user_id: Option<UserIdArg>,
    old_password: Option<PasswordArg>,
    new_password: Option<PasswordArg>,
    client_addr: Option<Inet>,
) -> Sql<ResultRow<3>> {
    call::require_ready_for_secret()?;
    let (user, old) = (user(user_id)?, given(old_password, "old password")?);
    let new = given(new_password, "new password")?;
    attempted(vault::change(&user, old, new, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_delete_vault(user_id: Option<UserIdArg>) -> Sql<bool> {
    server::require_ready()?;
    Ok(vault::delete(&user(user_id)?)?)
}

#[pg_extern(sql = false)]
fn pv_unlock_vault(
    user_id: Option<UserIdArg>,
    vault_password: Option<PasswordArg>,
    duration: Option<Interval>,
    client_addr: Option<Inet>,
) -> Sql<Guarded> {
    call::require_ready_for_secret()?;
    server::require_writable()?;
    let (user, password) = (user(user_id)?, given(vault_password, "vault password")?);
    let duration = duration.ok_or(Error::Null("duration"))?.as_micros();
    let duration = u64::try_from(duration).map(Duration::from_micros).ok();
    let bounds = Duration::from_secs(1)..=settings::vault_unlock_max();
    let duration = duration.filter(|time| bounds.contains(time)).ok_or(Error::Bounds(
        "duration",
        "It is between 1 second and password_verify.vault_unlock_max.",
    ))?;
    guarded(vault::unlock(user, password, duration, client(client_addr)))
}

#[pg_extern(sql = false)]
fn pv_lock_vault(vault_handle: Option<PasswordArg>) -> Sql<bool> {
    call::require_ready_for_secret()?;
    let handle = handle(vault_handle.ok_or(Error::Null("handle"))?)?;
    Ok(handle.map_or(Ok(false), |handle| vault::lock_again(&handle))?)
}

fn guarded(result: Result<Secret, Stop>) -> Sql<Guarded> {
    let (secret, denial) = match result {
        Ok(secret) => (Some(Given(secret)), None),
        Err(Stop::Denied(denial)) => (None, Some(denial)),
        Err(Stop::Failed(error)) => return Err(error.into()),
    };
    let wait = denial.and_then(|denial| denial.until).map(server::wait_from_now);
    let wait = wait.and_then(|wait| i64::try_from(wait.as_micros()).ok());
    let reason = denial.map(|Denial { reason, .. }| reason.as_str());
    Ok(TableIterator::once((secret, reason, wait.map(Interval::from_micros))))
}

fn time(at: Option<i64>) -> Option<TimestampWithTimeZone> {
    at.and_then(|at| TimestampWithTimeZone::try_from(at).ok())
}

/// A job, and the lease of it that the keeper holds, if it says so.
fn held(job: Option<i64>, lease: Option<i64>) -> Result<work::Leasehold, Error> {
    Ok((job.ok_or(Error::Null("job"))?, lease))
}

/// The name of a secret.
fn name_of(arg: Option<LineArg>) -> Result<String, Error> {
    let name = arg.ok_or(Error::Null("name"))?.0?;
    let name = name.filter(|name| (1..=MAX_NAME).contains(&name.len()));
    name.ok_or(Error::Bounds("name", "It has 1 to 128 bytes in UTF-8."))
}

fn secret_of(arg: Option<SecretArg>) -> Result<Secret, Error> {
    let secret = arg.ok_or(Error::Null("secret"))?.0?;
    let secret = secret.filter(|secret| !secret.expose().is_empty());
    secret.ok_or(Error::Bounds("secret", "It has 1 to 8192 bytes in UTF-8."))
}

fn json(
    arg: Option<JsonArg>,
    (what, most): (&'static str, usize),
    bounds: &'static str,
) -> Result<Secret, Error> {
    let json = arg.ok_or(Error::Null(what))?.0?;
    json.filter(|json| json.expose().len() <= most).ok_or(Error::Bounds(what, bounds))
}

/// A handle; `None` for a text that is none.
fn handle(arg: PasswordArg) -> Result<Option<Handle>, Error> {
    Ok(match arg.0? {
        Submitted::Text(text) => Handle::parse(text.expose()),
        Submitted::Oversized => None,
    })
}
