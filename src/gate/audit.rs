//! Builds the audit record of a call, and waits until the audit event is committed.

use std::time::Instant;

use password_verify_core::rules::event::Action;
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::server;
use crate::pg::server::caller;
use crate::pg::server::caller::Caller;
use crate::pg::session::attempt::Conclusion;
use crate::pg::session::log;
use crate::pg::session::{statistics, transaction};
use crate::pg::shared::queue::Ticket;
use crate::pg::shared::queued_event::{MAX_NAME, QueuedEvent};

/// Begins an audit record: the caller, the action, and the user and client if they are known.
pub fn queued_event(
    action: Action,
    user: Option<&UserId>,
    client: Option<core::net::IpAddr>,
) -> QueuedEvent {
    let mut queued = QueuedEvent {
        at: server::now(),
        xid: 0,
        top_xid: 0,
        caller: Caller::now(),
        action: action as u8,
        outcome: 0,
        alert: 0,
        hashed: false,
        clears: 0,
        share: [0; 16],
        client_addr: caller::raw_addr(client),
        user_len: 0,
        user: [0; 255],
        job: 0,
        name_len: 0,
        name: [0; MAX_NAME],
    };
    if let Some(user) = user {
        queued.name_user(user);
    }
    queued
}

/// Waits until the audit event is committed, if `audit_durability` asks for that. On a standby the
/// event goes to the server log instead.
///
/// # Errors
/// [`Error::AuditNotWritten`] after `audit_timeout`.
pub fn wait(conclusion: &Conclusion) -> Result<(), Error> {
    match conclusion {
        Conclusion::Queued(ticket) => wait_for(*ticket),
        Conclusion::ForLog(queued) => {
            log::event_of_standby(queued);
            Ok(())
        }
    }
}

/// Waits for the audit event behind `ticket`, as [`wait`] does. A refused change has only a ticket.
///
/// # Errors
/// [`Error::AuditNotWritten`] after `audit_timeout`.
pub fn wait_for(ticket: Ticket) -> Result<(), Error> {
    if !ticket.is_to_wait() {
        return Ok(());
    }
    let start = Instant::now();
    let written = transaction::await_written(ticket);
    statistics::count_audit_time(start.elapsed());
    written
}
