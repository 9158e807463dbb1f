//! Settings that say what is taken out of logs and views.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::pg::setting;

static REDACT: GucSetting<bool> = GucSetting::<bool>::new(true);
static FUNCTIONS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

pub fn define() {
    GucRegistry::define_bool_guc(
        c"password_verify.redact",
        c"Keeps secrets in statements out of the server log, views and statistics.",
        c"Literals and parameters of statements that call a function that takes or gives a secret become '<redacted>'.",
        &REDACT,
        GucContext::Suset,
        GucFlags::default(),
    );
    setting::define_watched(
        c"password_verify.redact_functions",
        c"Functions, procedures and tables of the application whose statements are redacted too.",
        c"Names separated by commas: what calls functions of this extension, and tables whose triggers do.",
        &FUNCTIONS,
    );
}

pub fn redact() -> bool {
    REDACT.get()
}

/// The names that are listed, separated by commas.
pub fn redact_functions() -> Option<CString> {
    FUNCTIONS.get()
}
