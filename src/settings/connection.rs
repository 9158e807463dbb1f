//! Settings of what a connection must be for a secret to cross it.

use password_verify_core::rules::connection::Demands;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static REQUIRE_TLS: GucSetting<bool> = GucSetting::<bool>::new(true);
static REQUIRE_CLIENT_CERTIFICATE: GucSetting<bool> = GucSetting::<bool>::new(false);

pub fn define() {
    GucRegistry::define_bool_guc(
        c"password_verify.require_tls",
        c"Refuses calls with a secret over a network connection that is not encrypted.",
        c"Unix sockets and loopback addresses are exempt. GSS encryption will do.",
        &REQUIRE_TLS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"password_verify.require_client_certificate",
        c"Refuses calls with a secret over a connection without a verified client certificate.",
        c"Meant for ALTER ROLE ... SET. Unix sockets and loopback addresses are not exempt.",
        &REQUIRE_CLIENT_CERTIFICATE,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// What a connection must be for a secret to cross it.
pub fn demands() -> Demands {
    Demands { encryption: REQUIRE_TLS.get(), client_certificate: REQUIRE_CLIENT_CERTIFICATE.get() }
}
