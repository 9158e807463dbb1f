//! Lines of the server log that a login cannot forge: they are numbered, and signed with a key of
//! the keyring.

use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::{Head, hex};
use password_verify_core::trail::ecs::{self, Written};
use password_verify_core::trail::log_line::{self, Line, json};
use pgrx::{PgLogLevel, pg_sys};

use super::event;
use crate::pg::heap::text;
use crate::pg::keys::keyring;
use crate::pg::report::{ErrorReport, ROUTINE, SqlState};
use crate::pg::shared::log_lines;
use crate::pg::shared::queue;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::anchors;

fn line(fields: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let ((key, id), (started, number)) = (keyring::active_for_log(), log_lines::of_server().next());
    let line = log_line::sign(fields, started, number, id.as_deref(), &key);
    let _shown = Shown::begin();
    ErrorReport::new(state, line, ROUTINE).report(PgLogLevel::LOG_SERVER_ONLY);
}

/// While this lives, messages of level LOG reach the log whatever `log_min_messages` says: a line has its number by
/// then, and one that is missing is taken for one that was removed.
struct Shown(i32);

impl Shown {
    fn begin() -> Self {
        // SAFETY: a plain value of this process, which the server reads for each message.
        unsafe {
            let before = pg_sys::log_min_messages;
            pg_sys::log_min_messages = PgLogLevel::LOG as i32;
            Self(before)
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::log_min_messages = self.0 };
    }
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

/// Logs an event that is committed: its row is at that place.
pub fn event(database: &str, event: &Event, place: Head) {
    line(&ecs::to_members(event, database, Written::Row(place)));
}

/// Logs an event of a standby, which has no table to write to, unless it exceeds the limit.
pub fn event_of_standby(queued: &QueuedEvent) {
    if let (Some(left_out), Ok(mut event)) = (queue::may_log(), event::to_event(queued)) {
        // An error leaves it without a name.
        let _ = event::name_user(&mut event, || anchors::audit_id_key().ok().flatten());
        let database = text::database_name();
        line(&ecs::to_members(&event, &database, Written::Line { left_out }));
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
