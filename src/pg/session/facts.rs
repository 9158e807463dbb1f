//! What only the library knows of the server, for `pv_doctor`: names and values, of which a name can occur several times.

use std::time::{Duration, Instant};

use password_verify_core::redaction::names::FUNCTIONS;

use crate::error::Error;
use crate::pg::heap::table;
use crate::pg::keys::keyring;
use crate::pg::server::machine;
use crate::pg::shared::databases;
use crate::settings;
use crate::settings::AcceptUnsealed;

/// How long the tables are waited for, all together.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads the keyring's file once, and looks at each table's definition.
pub fn all() -> Vec<(String, String)> {
    let mut facts = vec![("library", env!("CARGO_PKG_VERSION").to_owned())];
    facts.extend(keyring::ids().into_iter().map(|key| ("key", key)));
    facts.extend(keyring::problem().map(|why| ("key file", why)));
    facts.extend(match settings::accept_unsealed() {
        AcceptUnsealed::Off => None,
        AcceptUnsealed::UntilRotated => Some(("accept_unsealed", "until_rotated".to_owned())),
        AcceptUnsealed::On => Some(("accept_unsealed", "on".to_owned())),
    });
    facts.extend(FUNCTIONS.map(|name| ("takes a secret", name.to_owned())));
    facts.extend(machine::processors().map(|count| ("processors", count.to_string())));
    facts.extend(machine::memory_kb().map(|size| ("memory", size.to_string())));
    if let Ok((wanted, oldest, held)) = databases::waits() {
        // In seconds.
        facts.push(("worker wanted", (wanted / 1_000_000).to_string()));
        facts.push(("oldest event", (oldest / 1_000_000).to_string()));
        facts.push(("queue", held.to_string()));
    }
    facts.extend(table::obstacles(Instant::now() + PATIENCE).map(|(table, why)| {
        let fact = if matches!(why, Error::Locked) { "locked table" } else { "altered table" };
        (fact, table.to_string_lossy().into_owned())
    }));
    facts.into_iter().map(|(fact, value)| (fact.to_owned(), value)).collect()
}
