//! Converts an event in shared memory to a typed one.

use std::rc::Rc;

use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::audit_id::{self, AuditIdKey};
use password_verify_core::trail::log_line::json;

use crate::error::Error;
use crate::pg::server::caller::{RawName, addr_text};
use crate::pg::shared::queued_event::QueuedEvent;
use crate::settings::{self, AuditUserIds};

/// The event for which a queue entry stands.
///
/// # Errors
/// [`Error::NotInstalled`] if its codes are invalid, which no session submits.
pub fn to_event(queued: &QueuedEvent) -> Result<Event, Error> {
    let action = Action::from_u8(queued.action).ok_or(Error::NotInstalled)?;
    let outcome = Outcome::from_u8(queued.outcome).ok_or(Error::NotInstalled)?;
    let mut event = Event::new(queued.at, action, outcome);
    let text = Some(user_of(queued)).filter(|text| !text.is_empty());
    match action {
        Action::AcceptRestore => {
            event.detail = text.map(|reason| format!(r#"{{"reason":{}}}"#, json(&reason)));
        }
        Action::Verify => {
            let problem = text.map(|problem| format!(r#","problem":{}"#, json(&problem)));
            let intact = problem.is_none();
            let problem = problem.unwrap_or_default();
            event.detail = Some(format!(r#"{{"intact":{intact}{problem}}}"#));
        }
        _ => (event.user_id, event.detail) = (text, secret_of(queued)),
    }
    event.client_addr = addr_text(&queued.client_addr);
    event.login_role = name(&queued.caller.login_role);
    event.acting_role = name(&queued.caller.acting_role);
    event.peer_addr = addr_text(&queued.caller.peer_addr);
    event.certificate_subject = ascii(&queued.caller.certificate.subject);
    event.certificate_serial = ascii(&queued.caller.certificate.serial);
    event.application_name = name(&queued.caller.application_name);
    event.pid = Some(queued.caller.pid);
    event.xid = Some(queued.xid).filter(|xid| *xid != 0);
    event.alert = Alert(queued.alert);
    Ok(event)
}

/// Names the user of an event as events are to have it, given the key of digests. Rather nobody than a name that should
/// not be there.
///
/// # Errors
/// [`Error::NoKeyForDigests`].
pub fn name_user(
    event: &mut Event,
    key: impl FnOnce() -> Option<Rc<AuditIdKey>>,
) -> Result<(), Error> {
    let Some(id) = event.user_id.take() else { return Ok(()) };
    event.user_id = Some(match settings::audit_user_ids() {
        AuditUserIds::Text => audit_id::as_text(&id),
        AuditUserIds::Digest => key().ok_or(Error::NoKeyForDigests)?.digest(&id),
    });
    Ok(())
}

/// The secret and the job that it is about.
fn secret_of(queued: &QueuedEvent) -> Option<String> {
    let name = String::from_utf8_lossy(&queued.name[..usize::from(queued.name_len)]);
    let name = Some(name).filter(|name| !name.is_empty());
    let name = name.map(|name| format!(r#""secret":{}"#, json(&name)));
    let job = (queued.job != 0).then(|| format!(r#""job":{}"#, queued.job));
    let parts: Vec<_> = name.into_iter().chain(job).collect();
    (!parts.is_empty()).then(|| format!("{{{}}}", parts.join(",")))
}

/// The user id of a queue entry; empty if it has none.
pub fn user_of(queued: &QueuedEvent) -> String {
    String::from_utf8_lossy(&queued.user[..usize::from(queued.user_len)]).into_owned()
}

/// A text that is ASCII, and followed by zeroes.
fn ascii(raw: &[u8]) -> Option<String> {
    let bytes = raw.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
}

fn name(raw: &RawName) -> Option<String> {
    let bytes = raw.split(|byte| *byte == 0).next().unwrap_or_default();
    if bytes.is_empty() {
        return None;
    }
    Some(password_verify_core::trail::name::printable(
        bytes,
        crate::pg::heap::text::database_is_utf8(),
    ))
}
