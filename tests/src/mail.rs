//! What the keeper reads from in tests: real mail servers, a real OpenID provider, and a network that fails when told
//! to. `scripts/mail-servers.sh` installs them.

pub mod certificates;
pub mod client;
pub mod cyrus;
mod daemon;
pub mod dovecot;
mod dovecot_conf;
mod dovecot_setup;
pub mod faults;
pub mod hostile;
mod hostile_talk;
mod hostile_wire;
pub mod hostile_x509;
mod http;
mod link;
mod maildir;
pub mod messages;
pub mod oidc;
pub(crate) mod place;
pub(crate) mod ports;
mod server;

pub use certificates::{Certificates, Identity};
pub use client::Imap;
pub use cyrus::Cyrus;
pub use dovecot::Dovecot;
pub use faults::{Fault, Faults};
pub use oidc::Oidc;
pub use server::Server;
