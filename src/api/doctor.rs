//! What the doctor asks the library, because no SQL can see it.

use password_verify_core::trail::name;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use super::Sql;
use crate::pg::server;
use crate::pg::session::arg::LineArg;
use crate::pg::session::facts;

/// For the function `pv_doctor`.
#[pg_extern(sql = false)]
fn pv_facts() -> Sql<TableIterator<'static, (name!(fact, String), name!(value, String))>> {
    server::require_ready()?;
    Ok(TableIterator::new(facts::all()))
}

/// A name that is not printable ASCII, as SQL spells it in that. One that is no text in this database has no spelling, and
/// is shown as a character that stands for none.
#[pg_extern(sql = false)]
fn pv_spelled(name: Option<LineArg>, literal: Option<bool>) -> Sql<Option<String>> {
    server::require_ready()?;
    let (Some(name), Some(literal)) = (name, literal) else { return Ok(None) };
    let name = name.0.ok().flatten().unwrap_or_else(|| char::REPLACEMENT_CHARACTER.into());
    Ok(name::spelled(&name, if literal { '\'' } else { '"' }))
}
