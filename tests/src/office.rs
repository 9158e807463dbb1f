//! What most tests of the keeper's program begin with: secrets, a mail server, and somebody who has an account there.

use crate::keeper::KeptSite;
use crate::mail::{Certificates, Dovecot};
use crate::mail_app::Mailbox;
use crate::pv_keeper::Setup;

/// The password of whoever has an account.
pub const PASSWORD: &str = "velvet-anvil-under";

pub struct Office {
    pub kept: KeptSite,
    pub certificates: Certificates,
    pub dovecot: Dovecot,
    /// Not registered yet.
    pub ann: Mailbox,
}

impl Office {
    /// With the secrets of that site.
    pub fn on(kept: KeptSite) -> Self {
        let certificates = Certificates::new();
        let dovecot = Dovecot::start(&certificates, &[("ann", PASSWORD)]);
        let ann = Mailbox::new(&certificates, dovecot.imaps_port(), "ann", PASSWORD);
        Self { kept, certificates, dovecot, ann }
    }

    /// A keeper for it. `binary`: `env!("CARGO_BIN_EXE_pv-keeper")`.
    pub fn setup(&self, binary: &str) -> Setup {
        Setup::new(binary, &self.kept, &self.certificates)
    }
}
