//! Lines of the server log that a login cannot make: numbered, and signed under a key of the keyring.

use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::{Head, hex};
use password_verify_core::trail::log_line::{self, Line};
use pgrx::PgLogLevel;

use super::event;
use crate::pg::report::{ErrorReport, ROUTINE, SqlState};
use crate::pg::shared::lines;
use crate::pg::shared::note::Note;
use crate::pg::shared::queue;
use crate::pg::vault::keyring;

/// A line of JSON, numbered and signed.
fn line(fields: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let ((key, id), (started, number)) = (keyring::active_for_log(), lines::log().next());
    let line = log_line::sign(fields, started, number, id.as_deref(), &key);
    ErrorReport::new(state, line, ROUTINE).report(PgLogLevel::LOG);
}

/// Is that a line of this server's, or of one with the same keyring? If not, why not.
pub fn check(text: &str) -> Result<(), &'static str> {
    let line = Line::parse(text).ok_or("not a line of password_verify")?;
    if line.key().is_none() && keyring::active_for_log().1.is_some() {
        return Err("without a key although there is a keyring");
    }
    let key =
        keyring::of_log(line.key()).ok_or("the keyring does not have the key of this line")?;
    if line.is_genuine(&key) { Ok(()) } else { Err("forged or changed") }
}

/// Where a chain of events stands: the loss of its last rows can be seen only against this.
pub fn head(database: &str, head: Head) {
    let (database, mac) = (json(database), hex(&head.mac));
    let Head { epoch, seq, .. } = head;
    line(&format!(
        r#""audit":"head","database":{database},"epoch":{epoch},"seq":{seq},"mac":"{mac}""#
    ));
}

/// An event that a DBA wants to hear of.
pub fn alert(database: &str, event: &Event) {
    let names: Vec<String> = event.alert.names().map(json).collect();
    let (names, database) = (names.join(","), json(database));
    line(&format!(r#""alert":[{names}],"database":{database},{}"#, fields(event)));
}

/// An event of a standby, which has no other place. `left_out`: how many before it were too many.
pub fn event(record: &Note) {
    if let (Some(left_out), Ok(event)) = (queue::may_log(), event::to_event(record)) {
        line(&format!(r#""event":"standby","left_out":{left_out},{}"#, fields(&event)));
    }
}

fn fields(event: &Event) -> String {
    let text = |value: &Option<String>| value.as_deref().map_or("null".to_owned(), json);
    format!(
        r#""action":"{}","outcome":"{}","user_id":{},"client_addr":{},"login_role":{},"peer_addr":{}"#,
        event.action.as_str(),
        event.outcome.as_str(),
        text(&event.user_id),
        text(&event.client_addr),
        text(&event.login_role),
        text(&event.peer_addr),
    )
}

/// A JSON string in ASCII and without braces: what somebody else chose cannot end the line or look like
/// another.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()) {
            Some(c @ (' ' | '!' | '#'..='[' | ']'..='z')) => out.push(c),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out.push('"');
    out
}
