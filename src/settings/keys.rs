//! Settings that say where the keyring (the pepper) comes from.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static KEYRING_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static KEYRING_COMMAND: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

pub fn define() {
    GucRegistry::define_string_guc(
        c"password_verify.keyring_file",
        c"File with the keys, one id:base64 a line, the last one active.",
        c"Outside the data directory, and as private as an SSL key.",
        &KEYRING_FILE,
        GucContext::Postmaster,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"password_verify.keyring_command",
        c"Command that prints what would be in keyring_file.",
        c"Run once, when the server starts.",
        &KEYRING_COMMAND,
        GucContext::Postmaster,
        GucFlags::SUPERUSER_ONLY,
    );
}

pub fn keyring_file() -> Option<CString> {
    KEYRING_FILE.get()
}

pub fn keyring_command() -> Option<CString> {
    KEYRING_COMMAND.get()
}
