//! Events in the Elastic Common Schema (ECS) 8.17, as a system reads them that collects the events of many.
//!
//! ECS and not OCSF: ECS has one record with optional parts, so that every event keeps its form whatever its action, and
//! classes for changes of accounts (`iam`) beside those for logins (`authentication`). OCSF's class Authentication (3002)
//! would hold a third of the actions, and the others would be spread over five classes with other fields.
//!
//! What ECS has no field for is in `password_verify`, as ECS recommends for custom fields.

use core::fmt::Write;
use core::net::IpAddr;

use time::OffsetDateTime;

use super::chain::{Head, hex};
use super::json_object::Members;
use crate::rules::account::Timestamp;
use crate::rules::event::{Action, Event, Outcome};

/// The version of the schema.
const VERSION: &str = "8.17.0";

/// Seconds from 1970-01-01 to 2000-01-01, with which PostgreSQL's times begin.
const EPOCH: i64 = 946_684_800;

/// Where an event was written.
#[derive(Debug, Clone, Copy)]
pub enum Written {
    /// Into the trail: its place, and its MAC.
    Row(Head),
    /// Into the server log alone, on a standby, which had left out so many before it.
    Line { left_out: u64 },
}

/// The event as one JSON object in one line, in ASCII.
pub fn to_json(event: &Event, database: &str, written: Written) -> String {
    format!("{{{}}}}}", to_members(event, database, written))
}

/// Its members, of which the last is an object that is still open, as [`super::log_line::sign`] takes them.
pub fn to_members(event: &Event, database: &str, written: Written) -> String {
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
    let (head, left_out) = match written {
        Written::Row(head) => (Some(head), None),
        Written::Line { left_out } => (None, Some(left_out)),
    };
    let (category, kinds) = classes(*action);
    let ip = client_addr.as_deref().filter(|addr| addr.parse::<IpAddr>().is_ok());
    let (user, client) = (user_id.as_deref(), client_addr.as_deref());
    let (subject, serial) = (certificate_subject.as_deref(), certificate_serial.as_deref());

    let mut all = Members::with_capacity(1024);
    all.text("@timestamp", Some(&time(*at)));
    all.object("ecs", |ecs| ecs.text("version", Some(VERSION)));
    all.object("event", |event| {
        event.text("kind", Some(if alert.is_empty() { "event" } else { "alert" }));
        event.texts("category", category.iter().copied());
        event.texts("type", kinds.iter().copied());
        event.text("action", Some(action.as_str()));
        event.text("outcome", success(*outcome));
        event.text("reason", Some(outcome.as_str()));
        event.text("provider", Some("password_verify"));
        event.text("module", Some("password_verify"));
        event.text("dataset", Some("password_verify.audit"));
        event.text("start", (since != at).then(|| time(*since)).as_deref());
        event.text("id", head.map(|head| format!("{}.{}", head.epoch, head.seq)).as_deref());
        event.text("hash", head.map(|head| hex(&head.mac)).as_deref());
        event.number("sequence", head.map(|head| head.seq));
    });
    all.object("user", |it| it.text("id", user));
    all.object("related", |it| {
        it.texts("user", user.into_iter());
        it.texts("ip", ip.into_iter());
    });
    all.object("source", |it| {
        it.text("address", client);
        it.text("ip", ip);
    });
    all.object("process", |it| it.number("pid", *pid));
    all.object("tls", |tls| {
        tls.object("client", |client| {
            client.text("subject", subject);
            client.object("x509", |it| {
                it.text("serial_number", serial.map(hexadecimal).as_deref());
            });
        });
    });
    all.open("password_verify");
    all.text("database", Some(database));
    all.number("epoch", head.map(|head| head.epoch));
    all.number("left_out", left_out);
    all.number("count", Some(*count));
    all.text("login_role", login_role.as_deref());
    all.text("acting_role", acting_role.as_deref());
    all.text("peer_addr", peer_addr.as_deref());
    all.text("application_name", application_name.as_deref());
    all.text("transaction_id", xid.map(|xid| xid.to_string()).as_deref());
    all.texts("alert", alert.names());
    all.text("detail", detail.as_deref());
    all.into_text()
}

/// `event.category` and `event.type`.
pub const fn classes(action: Action) -> (&'static [&'static str], &'static [&'static str]) {
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
        | Action::StoreRotated
        | Action::ForgetSecret => (&["iam"], &["user", "change"]),
        Action::OpenSecret => (&["database"], &["access"]),
        Action::Request
        | Action::CancelRequest
        | Action::TakeJob
        | Action::Deliver
        | Action::FinishJob
        | Action::AckResults
        | Action::Prune => (&["database"], &["change"]),
        Action::End | Action::Epoch | Action::Verify => (&["database"], &["info"]),
        Action::Rotate | Action::AcceptRestore => (&["configuration"], &["change"]),
        Action::Tampered => (&["intrusion_detection"], &["info"]),
    }
}

/// `event.outcome`: did the caller get what she asked for? That of a change is `unknown` until its transaction has ended,
/// which an event of its own says: [`Action::End`], with the same `password_verify.transaction_id`. A fact has none.
pub const fn success(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Recorded => None,
        Outcome::Valid | Outcome::Committed => Some("success"),
        Outcome::Pending | Outcome::Unknown | Outcome::Abandoned => Some("unknown"),
        Outcome::InvalidCredentials
        | Outcome::Throttled
        | Outcome::Locked
        | Outcome::Busy
        | Outcome::Disabled
        | Outcome::Expired
        | Outcome::ChangeRequired
        | Outcome::RolledBack
        | Outcome::TooShort
        | Outcome::TooLong
        | Outcome::TooWeak
        | Outcome::ContainsUserId
        | Outcome::Reused
        | Outcome::AlreadySet
        | Outcome::Blocklisted
        | Outcome::UnsupportedFormat
        | Outcome::Malformed
        | Outcome::OverLimit
        | Outcome::InvalidToken
        | Outcome::NoPassword
        | Outcome::NotLeased
        | Outcome::NoSecret
        | Outcome::VaultLocked
        | Outcome::TooMany => Some("failure"),
    }
}

/// As RFC 3339 writes it, in UTC. Years that it has no form for become the first or the last of those that it has.
fn time(at: Timestamp) -> String {
    let earliest = -62_167_219_200 * 1_000_000;
    let latest = 253_402_300_799 * 1_000_000 + 999_999;
    let at = at.saturating_add(EPOCH * 1_000_000).clamp(earliest, latest);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, rest) = time.to_hms_micro();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:06}Z")
}

/// A number in decimal digits, which may begin with a minus, as `openssl x509 -serial` prints it: whole bytes in
/// hexadecimal digits. Any other text stays as it is.
fn hexadecimal(decimal: &str) -> String {
    let (minus, digits) = decimal.strip_prefix('-').map_or(("", decimal), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return decimal.to_owned();
    }
    let mut bytes = vec![0u8];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    let mut out = minus.to_owned();
    for byte in bytes.iter().rev() {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02X}");
    }
    out
}

/// A field: its path, its type in the schema, and what it says.
pub struct Field(pub &'static str, pub &'static str, pub &'static str);

/// Every field that an event may have, for docs/siem.md. The tests compare it with what [`to_json`] writes.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    Field("@timestamp", "date", "when it happened, in UTC; of counted events, the last"),
    Field("ecs.version", "keyword", "`8.17.0`"),
    Field("event.kind", "keyword", "`alert` if it raises an alert, otherwise `event`"),
    Field("event.category", "keyword[]", "see the table of actions"),
    Field("event.type", "keyword[]", "see the table of actions"),
    Field("event.action", "keyword", "`action` in `pv_events`"),
    Field("event.outcome", "keyword", "see the table of outcomes"),
    Field("event.reason", "keyword", "`outcome` in `pv_events` as it was written: a change stays `pending`"),
    Field("event.provider", "keyword", "`password_verify`"),
    Field("event.module", "keyword", "`password_verify`"),
    Field("event.dataset", "keyword", "`password_verify.audit`"),
    Field("event.start", "date", "of counted events, the first; of an `end`, the first change of what ended"),
    Field("event.id", "keyword", "its place: epoch, a full stop, sequence number"),
    Field("event.hash", "keyword", "its MAC, which covers the row before it too; `from_mac` of `pv_verify_events`"),
    Field("event.sequence", "long", "the sequence number in the epoch"),
    Field("user.id", "keyword", "the user that it is about"),
    Field("related.user", "keyword[]", "the same"),
    Field("related.ip", "ip[]", "`source.ip`"),
    Field("source.address", "keyword", "the client's address, as the application names it"),
    Field("source.ip", "ip", "the same"),
    Field("process.pid", "long", "the server process of the session"),
    Field("tls.client.subject", "keyword", "the subject of the session's client certificate"),
    Field("tls.client.x509.serial_number", "keyword", "its serial number, in hexadecimal digits"),
    Field("password_verify.database", "keyword", "the database"),
    Field("password_verify.epoch", "long", "the epoch"),
    Field("password_verify.left_out", "long", "on a standby only: events before it that were not logged"),
    Field("password_verify.count", "long", "how many events it stands for"),
    Field("password_verify.login_role", "keyword", "the role that logged in to the database"),
    Field("password_verify.acting_role", "keyword", "the role whose rights were in force"),
    Field("password_verify.peer_addr", "keyword", "the address at the other end of the connection; `local`: a Unix socket"),
    Field("password_verify.application_name", "keyword", "what the session calls itself"),
    Field("password_verify.transaction_id", "keyword", "of a change, and of the `end` that says what came of it"),
    Field("password_verify.alert", "keyword[]", "the alerts that it raises"),
    Field("password_verify.detail", "keyword", "`detail` in `pv_events`: a JSON object as text"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::rules::event::Alert;

    const ROW: Written = Written::Row(Head { epoch: 3, seq: 12, mac: [0xab; 32] });

    fn parsed(event: &Event, written: Written) -> Value {
        let text = to_json(event, "db", written);
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_login_is_as_the_schema_has_it() {
        let mut event = Event::new(0, Action::Validate, Outcome::InvalidCredentials);
        event.user_id = Some("44\"{\n\u{1f512}".into());
        event.client_addr = Some("203.0.113.7".into());
        event.login_role = Some("app".into());
        event.pid = Some(7);
        let expected = json!({
            "@timestamp": "2000-01-01T00:00:00.000000Z",
            "ecs": { "version": "8.17.0" },
            "event": {
                "kind": "event", "category": ["authentication"], "type": ["start"],
                "action": "validate", "outcome": "failure", "reason": "invalid_credentials",
                "provider": "password_verify", "module": "password_verify", "dataset": "password_verify.audit",
                "id": "3.12", "hash": "ab".repeat(32), "sequence": 12,
            },
            "user": { "id": "44\"{\n\u{1f512}" },
            "related": { "user": ["44\"{\n\u{1f512}"], "ip": ["203.0.113.7"] },
            "source": { "address": "203.0.113.7", "ip": "203.0.113.7" },
            "process": { "pid": 7 },
            "password_verify": { "database": "db", "epoch": 3, "count": 1, "login_role": "app" },
        });
        assert_eq!(parsed(&event, ROW), expected);
    }

    fn full() -> Event {
        let text = |text: &str| Some(text.to_owned());
        Event {
            at: 2,
            since: 1,
            count: 5,
            action: Action::Change,
            outcome: Outcome::Pending,
            user_id: text("44"),
            client_addr: text("2001:db8::7"),
            login_role: text("login"),
            acting_role: text("acting"),
            peer_addr: text("local"),
            certificate_subject: text("CN=a"),
            certificate_serial: text("255"),
            application_name: text("app name"),
            pid: Some(7),
            xid: Some(u64::MAX),
            alert: Alert::ACCOUNT_WAITS | Alert::ACCOUNT_LOCKED,
            detail: text("{}"),
        }
    }

    #[test]
    fn all_that_an_event_has_is_there() {
        let it = parsed(&full(), ROW);
        for (path, expected) in [
            ("/event/kind", json!("alert")),
            ("/event/start", json!("2000-01-01T00:00:00.000001Z")),
            ("/event/outcome", json!("unknown")),
            ("/event/reason", json!("pending")),
            ("/tls/client/subject", json!("CN=a")),
            ("/tls/client/x509/serial_number", json!("FF")),
            ("/password_verify/transaction_id", json!("18446744073709551615")),
            ("/password_verify/count", json!(5)),
            ("/password_verify/alert", json!(["account_waits", "account_locked"])),
            ("/password_verify/acting_role", json!("acting")),
            ("/password_verify/peer_addr", json!("local")),
            ("/password_verify/application_name", json!("app name")),
            ("/password_verify/detail", json!("{}")),
        ] {
            assert_eq!(it.pointer(path), Some(&expected), "{path}");
        }
        let event = Event::new(2, Action::Epoch, Outcome::Recorded);
        let it = parsed(&event, Written::Line { left_out: 9 });
        assert_eq!(it.pointer("/password_verify/left_out"), Some(&json!(9)));
        for absent in [
            "/event/id",
            "/event/outcome",
            "/user",
            "/related",
            "/source",
            "/process",
            "/tls",
            "/password_verify/epoch",
            "/password_verify/alert",
        ] {
            assert_eq!(it.pointer(absent), None, "{absent}");
        }
    }

    /// What the table says of fields is what is written.
    #[test]
    fn every_field_is_in_the_table() {
        fn walk(path: String, value: &Value, found: &mut BTreeMap<String, &'static str>) {
            match value {
                Value::Object(members) => {
                    for (name, value) in members {
                        let dot = if path.is_empty() { "" } else { "." };
                        walk(format!("{path}{dot}{name}"), value, found);
                    }
                }
                Value::Array(_) => drop(found.insert(path, "keyword[]")),
                Value::Number(_) => drop(found.insert(path, "long")),
                Value::String(_) => drop(found.insert(path, "keyword")),
                _ => panic!("{path}"),
            }
        }
        let mut found = BTreeMap::new();
        walk(String::new(), &parsed(&full(), ROW), &mut found);
        walk(String::new(), &parsed(&full(), Written::Line { left_out: 0 }), &mut found);
        let plain = |kind: &'static str| match kind {
            "date" | "ip" => "keyword",
            "ip[]" => "keyword[]",
            kind => kind,
        };
        let table = FIELDS.iter().map(|Field(path, kind, _)| ((*path).to_owned(), plain(kind)));
        assert_eq!(found, table.collect());
    }

    /// In a row that somebody has written who may. A system that collects events refuses those with another in such a field.
    #[test]
    fn an_address_that_is_none_is_in_no_field_of_addresses() {
        let mut event = full();
        event.client_addr = Some("local".into());
        let it = parsed(&event, ROW);
        assert_eq!(it.pointer("/source"), Some(&json!({ "address": "local" })));
        assert_eq!(it.pointer("/related"), Some(&json!({ "user": ["44"] })));
    }

    /// The values that ECS 8.17 allows for `event.category`, with those of `event.type` that it expects there.
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
                other => panic!("{other:?}"),
            };
            assert!(
                !types.is_empty() && types.iter().all(|it| expected.contains(it)),
                "{action:?}"
            );
            // "IAM events are expected to be assigned 2 event types", the first of which says of whom.
            assert!(categories != ["iam"] || matches!(types, ["user", _]), "{action:?}");
        }
    }

    #[test]
    fn an_outcome_is_a_success_if_the_answer_was_yes() {
        for outcome in Outcome::ALL {
            let expected = match outcome {
                Outcome::Recorded => None,
                Outcome::Valid | Outcome::Committed => Some("success"),
                Outcome::Pending | Outcome::Unknown | Outcome::Abandoned => Some("unknown"),
                // (Of a right password that has to be changed, the answer is no.)
                _ => Some("failure"),
            };
            assert_eq!(success(*outcome), expected);
        }
    }

    #[test]
    fn serial_numbers_are_as_openssl_prints_them() {
        let most = "9".repeat(63);
        for (decimal, expected) in [
            ("0", "00"),
            ("7", "07"),
            ("256", "0100"),
            ("-255", "-FF"),
            ("26528534029396399034120980138", "55B7E397605928363A2AC6AA"),
            ("", ""),
            ("-", "-"),
            ("12x", "12x"),
            ("CN=a", "CN=a"),
        ] {
            assert_eq!(hexadecimal(decimal), expected, "{decimal}");
        }
        assert_eq!(hexadecimal(&most).len(), 54);
    }

    /// The longest of everything, in the characters that take most room.
    #[test]
    fn the_longest_line_can_be_verified() {
        use crate::kept::keyring::MAX_ID;
        use crate::trail::chain::ChainKey;
        use crate::trail::log_line::{Line, MAX_LINE, json, sign};
        use crate::trail::name::printable;
        let name = printable(&[0xff; 63], true);
        let mut event = full();
        event.user_id = Some("\u{1}".repeat(255));
        event.client_addr = Some("2001:db8:ffff:ffff:ffff:ffff:255.255.255.255".into());
        (event.login_role, event.acting_role) = (Some(name.clone()), Some(name.clone()));
        (event.application_name, event.peer_addr) = (Some(name.clone()), event.client_addr.clone());
        event.certificate_subject = Some("\\".repeat(203));
        event.certificate_serial = Some("9".repeat(63));
        event.alert = Alert(u8::MAX);
        (event.at, event.since, event.count) = (i64::MIN, i64::MAX, i64::MIN);
        let secret = json(&"\u{1}".repeat(128));
        event.detail = Some(format!(r#"{{"secret":{secret},"job":{}}}"#, i64::MIN));
        let head = Head { epoch: i64::MIN, seq: i64::MIN, mac: [0xff; 32] };
        let members = to_members(&event, &name, Written::Row(head));
        let line = sign(&members, i64::MIN, u64::MAX, Some(&"k".repeat(MAX_ID)), &ChainKey::Plain);
        assert!((9_000..10_000).contains(&line.len()) && line.len() < MAX_LINE, "{}", line.len());
        assert!(Line::parse(&line).unwrap().is_genuine(&ChainKey::Plain));
    }

    #[test]
    fn times_at_the_ends_have_a_form() {
        assert_eq!(time(i64::MIN), "0000-01-01T00:00:00.000000Z");
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(time(-1), "1999-12-31T23:59:59.999999Z");
    }
}
