//! Converts an event in shared memory to a typed one.

use password_verify_core::rules::event::{Action, Alert, Event, Outcome};

use crate::error::Error;
use crate::pg::server::caller::{RawName, addr_text};
use crate::pg::shared::note::Note;

/// The event for which a queue entry stands.
///
/// # Errors
/// [`Error::NotInstalled`] if its codes are invalid, which no session submits.
pub fn to_event(record: &Note) -> Result<Event, Error> {
    let action = Action::from_u8(record.action).ok_or(Error::NotInstalled)?;
    let outcome = Outcome::from_u8(record.outcome).ok_or(Error::NotInstalled)?;
    let mut event = Event::new(record.at, action, outcome);
    event.user_id = Some(user_of(record)).filter(|user| !user.is_empty());
    event.client_addr = addr_text(&record.client_addr);
    event.login_role = name(&record.caller.login_role);
    event.acting_role = name(&record.caller.acting_role);
    event.peer_addr = addr_text(&record.caller.peer_addr);
    event.application_name = name(&record.caller.application_name);
    event.pid = Some(record.caller.pid);
    event.xid = Some(record.xid).filter(|xid| *xid != 0);
    event.alert = Alert(record.alert);
    Ok(event)
}

/// The user id of a queue entry; empty if it has none.
pub fn user_of(record: &Note) -> String {
    String::from_utf8_lossy(&record.user[..usize::from(record.user_len)]).into_owned()
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
