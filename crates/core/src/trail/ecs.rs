//! Events in the Elastic Common Schema (ECS) 8.17, as a system reads them that collects the events of many.
//!
//! ECS and not OCSF: ECS has one record with optional parts, so that every event keeps its form whatever its action, and
//! classes for changes of accounts (`iam`) beside those for logins (`authentication`). OCSF's class Authentication (3002)
//! would hold a third of the actions, and the others would be spread over five classes with other fields.
//!
//! What ECS has no field for is in `password_verify`, as ECS recommends for custom fields.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::rules::account::Timestamp;
use crate::rules::event::{Action, Event, Outcome};

/// The version of the schema.
const VERSION: &str = "8.17.0";

/// Seconds from 1970-01-01 to 2000-01-01, with which PostgreSQL's times begin.
const EPOCH: i64 = 946_684_800;

/// The event as one JSON object in one line. `place`: its epoch and sequence number, if it has one.
pub fn to_json(event: &Event, place: Option<(i64, i64)>) -> String {
    // Names every field, without `..`, so that none can be forgotten.
    let Event {
        at,
        since,
        count,
        action,
        outcome,
        user_id,
        client_addr,
        login_role,
        acting_role,
        peer_addr,
        certificate_subject,
        certificate_serial,
        application_name,
        pid,
        xid,
        alert,
        detail,
    } = event;
    let (category, kinds) = classes(*action);
    let mut what = Map::new();
    put(&mut what, "kind", Some(if alert.is_empty() { "event" } else { "alert" }));
    put(&mut what, "category", Some(category));
    put(&mut what, "type", Some(kinds));
    put(&mut what, "action", Some(action.as_str()));
    put(&mut what, "outcome", Some(success(*outcome)));
    put(&mut what, "reason", Some(outcome.as_str()));
    put(&mut what, "provider", Some("password_verify"));
    put(&mut what, "dataset", Some("password_verify.audit"));
    put(&mut what, "start", (since != at).then(|| time(*since)));
    put(&mut what, "id", place.map(|(epoch, seq)| format!("{epoch}.{seq}")));
    put(&mut what, "sequence", place.map(|(_, seq)| seq));

    let mut ours = Map::new();
    put(&mut ours, "count", Some(*count));
    put(&mut ours, "epoch", place.map(|(epoch, _)| epoch));
    put(&mut ours, "login_role", login_role.as_deref());
    put(&mut ours, "acting_role", acting_role.as_deref());
    put(&mut ours, "peer_addr", peer_addr.as_deref());
    put(&mut ours, "application_name", application_name.as_deref());
    let alerts: Vec<&str> = alert.names().collect();
    put(&mut ours, "alert", (!alerts.is_empty()).then_some(alerts));
    put(&mut ours, "detail", detail.as_deref());

    let mut x509 = Map::new();
    put(&mut x509, "serial_number", certificate_serial.as_deref());
    let mut client = Map::new();
    put(&mut client, "subject", certificate_subject.as_deref());
    put(&mut client, "x509", some(x509));

    let mut all = Map::new();
    put(&mut all, "@timestamp", Some(time(*at)));
    put(&mut all, "ecs", Some(json!({ "version": VERSION })));
    put(&mut all, "event", Some(what));
    put(&mut all, "user", user_id.as_ref().map(|id| json!({ "id": id })));
    put(&mut all, "source", client_addr.as_ref().map(|ip| json!({ "ip": ip })));
    put(&mut all, "process", pid.map(|pid| json!({ "pid": pid })));
    put(&mut all, "transaction", xid.map(|xid| json!({ "id": xid.to_string() })));
    put(&mut all, "tls", some(client).map(|client| json!({ "client": client })));
    put(&mut all, "password_verify", Some(ours));
    Value::Object(all).to_string()
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

fn some(object: Map<String, Value>) -> Option<Map<String, Value>> {
    Some(object).filter(|object| !object.is_empty())
}

/// `event.category` and `event.type`.
const fn classes(action: Action) -> (&'static [&'static str], &'static [&'static str]) {
    match action {
        Action::Validate | Action::UnlockVault => (&["authentication"], &["start"]),
        Action::LockVault => (&["authentication"], &["end"]),
        Action::Prove | Action::ProveVault | Action::Compare => (&["authentication"], &["info"]),
        Action::Create | Action::Import => (&["iam"], &["user", "creation"]),
        Action::Delete | Action::Forget => (&["iam"], &["user", "deletion"]),
        Action::Change
        | Action::Set
        | Action::Reset
        | Action::Disable
        | Action::Enable
        | Action::RequireChange
        | Action::Unlock
        | Action::IssueToken
        | Action::RevokeTokens
        | Action::Rename
        | Action::Renamed
        | Action::CreateVault
        | Action::ChangeVaultPassword
        | Action::DeleteVault
        | Action::StoreSecret
        | Action::ForgetSecret => (&["iam"], &["user", "change"]),
        Action::StoreRotated => (&["iam"], &["change"]),
        Action::OpenSecret
        | Action::Request
        | Action::CancelRequest
        | Action::TakeJob
        | Action::Deliver
        | Action::FinishJob
        | Action::AckResults => (&["database"], &["access"]),
        Action::End => (&["database"], &["info"]),
        Action::Rotate | Action::AcceptRestore => (&["configuration"], &["change"]),
        Action::Epoch => (&["configuration"], &["info"]),
        Action::Prune => (&["configuration"], &["deletion"]),
        Action::Tampered => (&["intrusion_detection"], &["info"]),
    }
}

/// `event.outcome`. That of a change is `unknown` until its transaction has ended, which an event of its own says:
/// [`Action::End`], with the same `transaction.id`.
const fn success(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recorded | Outcome::Valid | Outcome::ChangeRequired | Outcome::Committed => {
            "success"
        }
        Outcome::Pending | Outcome::Unknown => "unknown",
        _ => "failure",
    }
}

/// As RFC 3339 writes it, in UTC. Years that it has no form for become the first or the last of those that it has.
fn time(at: Timestamp) -> String {
    let earliest = -62_167_219_200 * 1_000_000;
    let latest = 253_402_300_799 * 1_000_000 + 999_999;
    let at = at.saturating_add(EPOCH * 1_000_000).clamp(earliest, latest);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::event::Alert;

    #[test]
    fn a_login_is_as_the_schema_has_it() {
        let mut event = Event::new(0, Action::Validate, Outcome::InvalidCredentials);
        event.user_id = Some("44\"".into());
        event.client_addr = Some("203.0.113.7".into());
        event.login_role = Some("app".into());
        event.pid = Some(7);
        let expected = json!({
            "@timestamp": "2000-01-01T00:00:00.000000Z",
            "ecs": { "version": "8.17.0" },
            "event": {
                "kind": "event", "category": ["authentication"], "type": ["start"],
                "action": "validate", "outcome": "failure", "reason": "invalid_credentials",
                "provider": "password_verify", "dataset": "password_verify.audit",
                "id": "3.12", "sequence": 12,
            },
            "user": { "id": "44\"" },
            "source": { "ip": "203.0.113.7" },
            "process": { "pid": 7 },
            "password_verify": { "count": 1, "epoch": 3, "login_role": "app" },
        });
        let text = to_json(&event, Some((3, 12)));
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(expected));
        assert!(!text.contains('\n'));
    }

    #[test]
    fn all_that_an_event_has_is_there() {
        let mut event = Event::new(2, Action::Change, Outcome::Pending);
        let text = |text: &str| Some(text.to_owned());
        (event.since, event.count, event.xid, event.alert) =
            (1, 5, Some(u64::MAX), Alert::ACCOUNT_WAITS | Alert::ACCOUNT_LOCKED);
        (event.acting_role, event.peer_addr) = (text("acting"), text("local"));
        (event.certificate_subject, event.certificate_serial) = (text("CN=a"), text("77"));
        (event.application_name, event.detail) = (text("app name"), text("{}"));
        let it: Value = serde_json::from_str(&to_json(&event, None)).unwrap_or_default();
        for (path, expected) in [
            ("/event/kind", json!("alert")),
            ("/event/start", json!("2000-01-01T00:00:00.000001Z")),
            ("/event/outcome", json!("unknown")),
            ("/event/reason", json!("pending")),
            ("/transaction/id", json!("18446744073709551615")),
            ("/tls/client/subject", json!("CN=a")),
            ("/tls/client/x509/serial_number", json!("77")),
            ("/password_verify/count", json!(5)),
            ("/password_verify/alert", json!(["account_waits", "account_locked"])),
            ("/password_verify/acting_role", json!("acting")),
            ("/password_verify/peer_addr", json!("local")),
            ("/password_verify/application_name", json!("app name")),
            ("/password_verify/detail", json!("{}")),
        ] {
            assert_eq!(it.pointer(path), Some(&expected), "{path}");
        }
        for absent in ["/event/id", "/user", "/source", "/process", "/password_verify/epoch"] {
            assert_eq!(it.pointer(absent), None, "{absent}");
        }
    }

    /// The values that ECS allows for `event.category`, with those of `event.type` that it expects there.
    #[test]
    fn every_action_has_classes_that_the_schema_has() {
        for action in Action::ALL {
            let (categories, types) = classes(*action);
            let expected: &[&str] = match categories {
                ["authentication"] => &["start", "end", "info"],
                ["iam"] => &["admin", "change", "creation", "deletion", "group", "info", "user"],
                ["database"] => &["access", "change", "info", "error"],
                ["configuration"] => &["access", "change", "creation", "deletion", "info"],
                ["intrusion_detection"] => &["allowed", "denied", "info"],
                _ => &[],
            };
            assert!(
                !types.is_empty() && types.iter().all(|it| expected.contains(it)),
                "{action:?}"
            );
        }
    }

    #[test]
    fn failures_are_failures() {
        for outcome in Outcome::ALL {
            let expected = matches!(outcome, Outcome::RolledBack) || outcome.is_failure();
            assert_eq!(success(*outcome) == "failure", expected, "{outcome:?}");
        }
    }

    #[test]
    fn times_have_a_form_whatever_they_are() {
        for (at, expected) in [
            (832_331_106_000_007, "2026-05-17T11:05:06.000007Z"),
            (-1, "1999-12-31T23:59:59.999999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(time(at), expected);
        }
    }
}
