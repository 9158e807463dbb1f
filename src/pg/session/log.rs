//! Lines of the server log that a login cannot forge: they are numbered, and signed with a key of
//! the keyring.

use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::{Head, hex};
use password_verify_core::trail::log_line::{self, Line, json};
use pgrx::PgLogLevel;

use super::event;
use crate::pg::keys::keyring;
use crate::pg::report::{ErrorReport, ROUTINE, SqlState};
use crate::pg::shared::log_lines;
use crate::pg::shared::queue;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::anchors;
use crate::settings::{self, AuditUserIds};

fn line(fields: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let ((key, id), (started, number)) = (keyring::active_for_log(), log_lines::of_server().next());
    let line = log_line::sign(fields, started, number, id.as_deref(), &key);
    ErrorReport::new(state, line, ROUTINE).report(PgLogLevel::LOG);
}

/// Verifies a line of this server, or of one with the same keyring; the error says what is wrong.
pub fn check(text: &str) -> Result<(), &'static str> {
    let line = Line::parse(text).ok_or("not a line of password_verify")?;
    if line.key().is_none() && keyring::active_for_log().1.is_some() {
        return Err("without a key although there is a keyring");
    }
    let key =
        keyring::of_log(line.key()).ok_or("the keyring does not have the key of this line")?;
    if line.is_genuine(&key) { Ok(()) } else { Err("forged or changed") }
}

/// Logs the head of a chain of events: without it, the loss of the last rows could not be detected.
pub fn head(database: &str, head: Head) {
    let (database, mac) = (json(database), hex(&head.mac));
    let Head { epoch, seq, .. } = head;
    line(&format!(
        r#""audit":"head","database":{database},"epoch":{epoch},"seq":{seq},"mac":"{mac}""#
    ));
}

/// Logs an event that raises an alert.
pub fn alert(database: &str, event: &Event) {
    let names: Vec<String> = event.alert.names().map(json).collect();
    let (names, database) = (names.join(","), json(database));
    let detail = event.detail.as_deref().map(|text| format!(r#","detail":{}"#, json(text)));
    let detail = detail.unwrap_or_default();
    line(&format!(r#""alert":[{names}],"database":{database},{}{detail}"#, fields(event)));
}

/// Logs an event of a standby, which has no table to write to. `left_out`: events before it that
/// exceeded the limit.
pub fn event(queued: &QueuedEvent) {
    if let (Some(left_out), Ok(mut event)) = (queue::may_log(), event::to_event(queued)) {
        if settings::audit_user_ids() == AuditUserIds::Digest {
            // Rather nobody than a name that should not be here.
            let key = anchors::audit_id_key().ok().flatten();
            event.user_id = event.user_id.and_then(|id| Some(key?.digest(&id)));
        }
        line(&format!(r#""event":"standby","left_out":{left_out},{}"#, fields(&event)));
    }
}

fn fields(event: &Event) -> String {
    let text = |value: &Option<String>| value.as_deref().map_or("null".to_owned(), json);
    format!(
        r#""action":"{}","outcome":"{}","user_id":{},"client_addr":{},"login_role":{},"peer_addr":{},"certificate_subject":{},"certificate_serial":{}"#,
        event.action.as_str(),
        event.outcome.as_str(),
        text(&event.user_id),
        text(&event.client_addr),
        text(&event.login_role),
        text(&event.peer_addr),
        text(&event.certificate_subject),
        text(&event.certificate_serial),
    )
}
