//! Rows that were stored without a keyring, in a database that has one now.

use password_verify_core::trail::log_line;

use crate::pg::server;
use crate::pg::shared::databases;
use crate::settings;
use crate::settings::AcceptUnsealed;

/// Does what was stored without a key count beside what was stored with one?
///
/// Only while the move to a keyring is declared, by a setting that no writer of the tables can reach. The first
/// complete rotation ends it, and the anchor says that it has.
pub fn is_accepted() -> bool {
    match settings::accept_unsealed() {
        AcceptUnsealed::Off => false,
        // A standby has no worker, and does not know whether it is over.
        AcceptUnsealed::UntilRotated => !server::in_recovery() && !databases::is_sealed(),
        AcceptUnsealed::On => true,
    }
}

/// Says at each start that rows without a key count.
pub fn warn() {
    match settings::accept_unsealed() {
        AcceptUnsealed::Off => {}
        AcceptUnsealed::UntilRotated => pgrx::warning!(
            "password_verify.accept_unsealed is until_rotated: until then, whoever can write the tables can set passwords"
        ),
        AcceptUnsealed::On => pgrx::warning!(
            "password_verify.accept_unsealed is on: whoever can write the tables can set passwords, with the keyring as without it"
        ),
    }
}

/// Says of a database whose move to a keyring is over that the setting can go.
pub fn say_over(database: &str) {
    if settings::accept_unsealed() == AcceptUnsealed::UntilRotated {
        pgrx::log!(
            "password_verify: everything in database {} is sealed: if that is so of all databases, remove password_verify.accept_unsealed",
            log_line::json(database)
        );
    }
}
