//! What a Dovecot is started with.

use super::certificates::{Certificates, Identity};
use super::dovecot::Dovecot;
use super::oidc::Oidc;

/// Built up word by word, as `Setup::new(&certificates).user("anna", "secret").start()`.
pub struct Setup<'a> {
    pub(super) identity: &'a Identity,
    pub(super) users: Vec<(String, String)>,
    pub(super) oidc: Option<&'a Oidc>,
    /// Lines of `dovecot.conf` after all others.
    pub(super) settings: String,
}

impl<'a> Setup<'a> {
    /// With the good certificate.
    pub fn new(certificates: &'a Certificates) -> Self {
        Self {
            identity: &certificates.good,
            users: Vec::new(),
            oidc: None,
            settings: String::new(),
        }
    }

    /// Somebody with a password.
    pub fn user(mut self, user: &str, password: &str) -> Self {
        self.users.push((user.into(), password.into()));
        self
    }

    /// With another certificate.
    pub fn presenting(mut self, identity: &'a Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Access tokens of that provider are accepted, by XOAUTH2 and OAUTHBEARER, for the user who is their subject.
    pub fn oauth(mut self, oidc: &'a Oidc) -> Self {
        self.oidc = Some(oidc);
        self
    }

    /// One more line of `dovecot.conf`, or more than one.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    pub fn start(self) -> Dovecot {
        Dovecot::assemble(&self)
    }
}
