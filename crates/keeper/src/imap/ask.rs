//! What a job for IMAP may ask for.

use serde::Deserialize;
use serde_json::Value;

use crate::mail::Parts;
use crate::trouble::Trouble;

/// The most bytes of one mail: in base64, and with what else is in a result, it fits into 1 MiB.
pub const MOST_BYTES: u32 = 400 << 10;
/// The most mails of one round.
pub const MOST_MAILS: u32 = 10_000;

/// `what` of a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "imap", rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// Logs in, and out again.
    Verify {},
    /// Reads mail that was not read before.
    Fetch {
        #[serde(default = "inbox")]
        mailbox: String,
        /// Not older than that day, by the server's clock: `2026-11-27`.
        #[serde(default)]
        since: Option<String>,
        #[serde(default)]
        parts: Parts,
        /// Of each mail; what is longer is cut off.
        #[serde(default = "some_bytes")]
        max_bytes: u32,
        /// In one round.
        #[serde(default = "some_mails")]
        max_mails: u32,
    },
    /// Reads one part of one mail.
    Attachment {
        #[serde(default = "inbox")]
        mailbox: String,
        uidvalidity: u32,
        uid: u32,
        part: String,
    },
}

fn inbox() -> String {
    "INBOX".into()
}

const fn some_bytes() -> u32 {
    128 << 10
}

const fn some_mails() -> u32 {
    1000
}

impl Ask {
    /// Reads `what`.
    ///
    /// # Errors
    /// [`Trouble::Unknown`].
    pub fn of(what: &Value) -> Result<Self, Trouble> {
        let ask = Self::deserialize(what).map_err(|_| Trouble::Unknown)?;
        let fits = match &ask {
            Self::Verify {} => true,
            Self::Fetch { since, max_bytes, max_mails, .. } => {
                since.as_deref().is_none_or(|day| imap_day(day).is_some())
                    && (1..=MOST_BYTES).contains(max_bytes)
                    && (1..=MOST_MAILS).contains(max_mails)
            }
            Self::Attachment { part, .. } => part.len() <= 100 && part.split('.').all(is_number),
        };
        if fits { Ok(ask) } else { Err(Trouble::Unknown) }
    }
}

/// A number as IMAP writes it: no sign, and no zero before it.
fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|it| it > 0 && it.to_string() == text)
}

/// `2026-11-27` as IMAP writes it: `27-Nov-2026`.
pub fn imap_day(day: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [year, month, day] = day.split('-').collect::<Vec<_>>().try_into().ok()?;
    let digits = |text: &str, length| {
        let all = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        if all { text.parse::<usize>().ok() } else { None }
    };
    let (month, number) = (digits(month, 2)?, digits(day, 2)?);
    digits(year, 4)?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    (1..=31).contains(&number).then(|| format!("{number}-{month}-{year}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_for() {
        assert_eq!(Ask::of(&json!({"imap": "verify"})), Ok(Ask::Verify {}));
        let fetch = Ask::of(&json!({"imap": "fetch"})).unwrap();
        let (mailbox, parts) = (inbox(), Parts::Text);
        let all = Ask::Fetch { mailbox, since: None, parts, max_bytes: 128 << 10, max_mails: 1000 };
        assert_eq!(fetch, all);
        for what in [
            json!(null),
            json!({}),
            json!({"imap": "delete"}),
            json!({"imap": "verify", "mailbox": "x"}),
            json!({"imap": "fetch", "max_bytes": 0}),
            json!({"imap": "fetch", "max_bytes": MOST_BYTES + 1}),
            json!({"imap": "fetch", "max_mails": 0}),
            json!({"imap": "fetch", "since": "yesterday"}),
            json!({"imap": "fetch", "since": "2026-13-01"}),
            json!({"imap": "fetch", "since": "2026-11-27\r\nA1 LOGOUT"}),
            json!({"imap": "fetch", "parts": "all"}),
            json!({"imap": "attachment", "uidvalidity": 1, "uid": 2, "part": "1] BODY[TEXT"}),
            json!({"imap": "attachment", "uidvalidity": 1, "uid": 2, "part": "0"}),
            json!({"imap": "attachment", "uid": 2, "part": "1"}),
        ] {
            assert_eq!(Ask::of(&what), Err(Trouble::Unknown), "{what}");
        }
        let part = json!({"imap": "attachment", "uidvalidity": 1, "uid": 2, "part": "2.1"});
        assert!(Ask::of(&part).is_ok());
    }

    #[test]
    fn days_as_imap_writes_them() {
        assert_eq!(imap_day("2026-11-07").as_deref(), Some("7-Nov-2026"));
        for day in
            ["", "2026-11", "2026-11-7", "2026-00-01", "2026-11-32", "+026-11-01", "2026-11-01-"]
        {
            assert_eq!(imap_day(day), None, "{day}");
        }
    }
}
