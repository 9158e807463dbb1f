//! Settings that say where the keyring (the pepper) comes from.

use std::ffi::CString;

use pgrx::PostgresGucEnum;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// When rows that were stored without a keyring count beside those that were stored with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum AcceptUnsealed {
    /// Never.
    #[name = c"off"]
    Off,
    /// Until `pv_rotate_keys` has sealed all of them once.
    #[name = c"until_rotated"]
    UntilRotated,
    /// Always: whoever can write the tables can set passwords.
    #[name = c"on"]
    On,
}

static KEYRING_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static KEYRING_COMMAND: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static ACCEPT_UNSEALED: GucSetting<AcceptUnsealed> =
    GucSetting::<AcceptUnsealed>::new(AcceptUnsealed::Off);

/// None of them is set by ALTER SYSTEM: whoever has a superuser's session for a minute would say where the keys come
/// from, or that rows need none.
const FLAGS: GucFlags = GucFlags::SUPERUSER_ONLY.union(GucFlags::DISALLOW_IN_AUTO_FILE);

pub fn define() {
    GucRegistry::define_enum_guc(
        c"password_verify.accept_unsealed",
        c"When rows stored without a keyring are accepted although there is one.",
        c"off: never. until_rotated: until pv_rotate_keys has sealed all of them once. on: always, which lets whoever can write the tables set passwords.",
        &ACCEPT_UNSEALED,
        GucContext::Postmaster,
        FLAGS,
    );
    GucRegistry::define_string_guc(
        c"password_verify.keyring_file",
        c"File with the keys, one id:base64 a line, the last one active.",
        c"Outside the data directory, and as private as an SSL key.",
        &KEYRING_FILE,
        GucContext::Postmaster,
        FLAGS,
    );
    GucRegistry::define_string_guc(
        c"password_verify.keyring_command",
        c"Command that prints what would be in keyring_file.",
        c"Run once, when the server starts.",
        &KEYRING_COMMAND,
        GucContext::Postmaster,
        FLAGS,
    );
}

pub fn accept_unsealed() -> AcceptUnsealed {
    ACCEPT_UNSEALED.get()
}

pub fn keyring_file() -> Option<CString> {
    KEYRING_FILE.get()
}

pub fn keyring_command() -> Option<CString> {
    KEYRING_COMMAND.get()
}
