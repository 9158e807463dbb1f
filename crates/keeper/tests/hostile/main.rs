//! Mail servers that do what no good one does, one at each step, and what comes of it: the outcome of the request, what
//! is known of the secret, how often it was shown, and that nobody else notices.
//!
//! Each test prints the table of its cases, one line each: `hostile: what it does | outcome | detail | the secret`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod attachments;
mod case;
mod content;
mod echoes;
mod greeting;
mod login;
mod mailbox;
mod mails;
mod many;
mod refused;
mod room;
mod run;
mod silence;
