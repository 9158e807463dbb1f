//! What a server does, and what must come of it.

use std::sync::Arc;

use password_verify_tests::mail::Certificates;
use password_verify_tests::mail::hostile::{Act, Manner, Shelf, Step};
use password_verify_tests::mail::hostile_x509::{self_signed, server, version_1};
use rustls::ServerConfig;

/// What happens in one connection but for what every server does.
pub type Deviation = (Step, &'static [Act]);

/// Whose certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Good,
    Expired,
    Foreign,
    OtherName,
    SelfSigned,
    Version1,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub what: &'static str,
    /// In the first connection, the second, and so on; in all others what the last one says.
    pub does: &'static [Deviation],
    /// "outcome detail".
    pub end: &'static str,
    /// "state why" of the secret.
    pub state: &'static str,
    /// How often the secret was shown, at least and at most.
    pub logins: (usize, usize),
    /// How many mails were delivered, and how many of them cannot be read.
    pub mails: Option<(usize, usize)>,
    /// Of the request for mail.
    pub asks: &'static str,
    pub mechanism: &'static str,
    pub offers: &'static str,
    pub starts_tls: bool,
    /// It was never good: the request is the one that verifies.
    pub is_new: bool,
    pub shown: Shown,
    pub shelf: Option<Shelf>,
    /// Not mails are asked for, but the only part of mail 1. What comes of it.
    pub part: Option<fn() -> Vec<u8>>,
}

impl Case {
    pub const fn new(what: &'static str, does: &'static [Deviation], end: &'static str) -> Self {
        // Before the login nobody sees the secret, and what breaks later is tried again a few times.
        let logins = match does {
            [(Step::Login, _), ..] => (1, 1),
            [
                (
                    Step::Examine
                    | Step::Search
                    | Step::Sizes
                    | Step::Bodies
                    | Step::Mails(_)
                    | Step::Logout,
                    _,
                ),
                ..,
            ] => (1, 3),
            [(Step::Header | Step::Piece, _), ..] => (1, 1),
            _ => (0, 0),
        };
        Self {
            what,
            does,
            end,
            state: "verified",
            logins,
            mails: None,
            asks: "",
            mechanism: "PLAIN",
            offers: "AUTH=PLAIN AUTH=SCRAM-SHA-256",
            starts_tls: false,
            is_new: false,
            shown: Shown::Good,
            shelf: None,
            part: None,
        }
    }

    /// So many mails come of it, and for so many of them only that they cannot be read.
    pub const fn mails(self, mails: usize, unreadable: usize) -> Self {
        Self { mails: Some((mails, unreadable)), ..self }
    }

    pub const fn logins(self, least: usize, most: usize) -> Self {
        Self { logins: (least, most), ..self }
    }

    pub const fn refused(self) -> Self {
        Self { state: "rejected credential_refused", ..self }
    }

    pub const fn asks(self, asks: &'static str) -> Self {
        Self { asks, ..self }
    }

    pub const fn mechanism(self, mechanism: &'static str) -> Self {
        Self { mechanism, ..self }
    }

    pub const fn offers(self, offers: &'static str) -> Self {
        Self { offers, ..self }
    }

    pub const fn starts_tls(self) -> Self {
        Self { starts_tls: true, ..self }
    }

    /// With SCRAM-SHA-256, of which these servers know the first half only.
    pub const fn scram(self) -> Self {
        Self { mechanism: "SCRAM-SHA-256", is_new: true, state: "new", ..self }
    }

    pub const fn shows(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    pub const fn shelf(self, shelf: Shelf) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// A part is asked for, and this is what comes of it.
    pub const fn part(self, comes: fn() -> Vec<u8>) -> Self {
        Self { part: Some(comes), logins: (1, 1), ..self }
    }

    /// As the server is as long as it is good.
    pub fn good(&self, certificates: &Certificates) -> Manner {
        let good = Manner::good(&certificates.good);
        let shelf = self.shelf.unwrap_or_default();
        Manner { starts_tls: self.starts_tls, shelf, ..good }
    }

    /// As it is then.
    pub fn bad(&self, certificates: &Certificates) -> Vec<Manner> {
        let base =
            Manner { offers: self.offers, tls: self.tls(certificates), ..self.good(certificates) };
        self.does.iter().map(|(at, acts)| base.clone().but(*at, acts)).collect()
    }

    fn tls(&self, certificates: &Certificates) -> Arc<ServerConfig> {
        let folder = certificates.folder();
        match self.shown {
            Shown::Good => certificates.good.server(),
            Shown::Expired => certificates.expired.server(),
            Shown::Foreign => certificates.foreign.server(),
            Shown::OtherName => certificates.other_name.server(),
            Shown::SelfSigned => self_signed(folder).server(),
            Shown::Version1 => server(&version_1(folder)),
        }
    }
}
