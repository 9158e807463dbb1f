//! Questions of the auditor that are answered by an index, however large the tables are.

use password_verify_core::rules::secret::Secret;
use password_verify_core::trail::audit_id;
use pgrx::datum::{Inet, Uuid};
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use super::{Sql, client, user};
use crate::error::Error;
use crate::pg::server;
use crate::pg::session::arg::UserIdArg;
use crate::pg::session::result_row::{Given, Json};
use crate::pg::tables::{anchors, feed};
use crate::pg::vault::blind_index_key::BlindIndexKey;

/// The most rows of one answer.
const MAX_ROWS: i32 = 10_000;

/// For the function `pv_user`.
#[pg_extern(sql = false)]
fn pv_place_of(user_id: Option<UserIdArg>) -> Sql<Uuid> {
    server::require_ready()?;
    let user = user(user_id)?;
    Ok(Uuid::from_bytes(BlindIndexKey::read()?.key.blind_index(&user)))
}

/// For the function `pv_user_events`: the id in its canonical spelling, and how digests name it.
#[pg_extern(sql = false)]
fn pv_audit_ids(user_id: Option<UserIdArg>) -> Sql<Vec<Given>> {
    server::require_ready()?;
    let user = user(user_id)?;
    let digest = anchors::audit_id_key()?.map(|key| key.digest(user.as_str()));
    Ok([Some(audit_id::as_text(user.as_str())), digest]
        .into_iter()
        .flatten()
        .map(|name| Given(Secret::new(name)))
        .collect())
}

/// For the function `pv_client_events`: in the spelling of events, which is not PostgreSQL's for every address.
#[pg_extern(sql = false)]
fn pv_audit_client(client_addr: Option<Inet>) -> Sql<Given> {
    server::require_ready()?;
    let client_addr = client(client_addr).ok_or(Error::Null("client_addr"))?;
    Ok(Given(Secret::new(client_addr.to_string())))
}

/// For functions written in SQL. A place has both its parts.
#[pg_extern(sql = false)]
fn pv_number_of_rows(
    max_rows: Option<i32>,
    before_epoch: Option<i64>,
    before_seq: Option<i64>,
) -> Sql<i32> {
    server::require_ready()?;
    match (before_epoch, before_seq) {
        (None, Some(_)) => Err(Error::Null("before_epoch"))?,
        (Some(_), None) => Err(Error::Null("before_seq"))?,
        _ => Ok(number_of_rows(max_rows)?),
    }
}

fn number_of_rows(max_rows: Option<i32>) -> Result<i32, Error> {
    let max_rows = max_rows.ok_or(Error::Null("max_rows"))?;
    let bounds = Error::Bounds("max_rows", "It is between 1 and 10000.");
    if (1..=MAX_ROWS).contains(&max_rows) { Ok(max_rows) } else { Err(bounds) }
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // The columns, once.
fn pv_events_after(
    epoch: Option<i64>,
    seq: Option<i64>,
    max_rows: Option<i32>,
) -> Sql<TableIterator<'static, (name!(epoch, i64), name!(seq, i64), name!(event, Json))>> {
    server::require_ready()?;
    let after = match (epoch, seq) {
        (None, None) => None,
        (epoch, seq) => Some((epoch.ok_or(Error::Null("epoch"))?, seq.ok_or(Error::Null("seq"))?)),
    };
    let rows = feed::after(after, number_of_rows(max_rows)?)?;
    let rows = rows.into_iter().map(|(epoch, seq, json)| (epoch, seq, Json(Secret::new(json))));
    Ok(TableIterator::new(rows))
}
