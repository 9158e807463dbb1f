//! An application with mailboxes, as it calls for them.

use std::fs;

use postgres::types::ToSql;
use postgres::{Error, GenericClient};

use crate::keeper::acknowledge;
use crate::mail::Certificates;
use crate::trail::wait_until;

/// Where a mailbox is.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub user: String,
    pub name: String,
    pub port: u16,
    pub login: String,
    pub password: String,
    pub mechanism: &'static str,
    pub protocol: &'static str,
    /// `None`: whom the system trusts.
    pub ca: Option<String>,
    pub token_endpoint: Option<String>,
}

impl Mailbox {
    /// Of a user who is called the same everywhere, by `imaps` with the good authority.
    pub fn new(certificates: &Certificates, port: u16, user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            name: "inbox".into(),
            port,
            login: user.into(),
            password: password.into(),
            mechanism: "PLAIN",
            protocol: "imaps",
            ca: Some(fs::read_to_string(&certificates.authority).unwrap()),
            token_endpoint: None,
        }
    }

    /// `pv_register_imap_account`: the number of the request that verifies it.
    pub fn register(&self, app: &mut impl GenericClient) -> i64 {
        let sql = "SELECT success, reason, request FROM auth.pv_register_imap_account($1::text, $2, 'localhost',
                       $3::integer, $4, $5, mechanism => $6, protocol => $7, ca => $8, token_endpoint => $9)";
        let port = i32::from(self.port);
        let arguments: [&(dyn ToSql + Sync); 9] = [
            &self.user,
            &self.name,
            &port,
            &self.login,
            &self.password,
            &self.mechanism,
            &self.protocol,
            &self.ca,
            &self.token_endpoint,
        ];
        let row = app.query_one(sql, &arguments).unwrap();
        let (success, reason): (bool, Option<String>) = (row.get(0), row.get(1));
        assert!(success, "{reason:?}");
        row.get(2)
    }

    /// `pv_request_mail`, once.
    pub fn request(&self, app: &mut impl GenericClient) -> i64 {
        self.request_with(app, "")
    }

    /// The same with more arguments.
    pub fn request_with(&self, app: &mut impl GenericClient, more: &str) -> i64 {
        let comma = if more.is_empty() { "" } else { ", " };
        let sql = format!("SELECT auth.pv_request_mail($1::text, $2{comma}{more})");
        app.query_one(&sql, &[&self.user, &self.name]).unwrap().get(0)
    }

    /// "state" or "state why" of its secret.
    pub fn state(&self, app: &mut impl GenericClient) -> String {
        let sql =
            "SELECT concat_ws(' ', state, why) FROM auth.pv_secrets($1::text) WHERE name = $2";
        app.query_one(sql, &[&self.user, &self.name]).unwrap().get(0)
    }

    /// Waits for such a state.
    pub fn await_state(&self, app: &mut impl GenericClient, state: &str) {
        wait_until(&format!("{} becomes {state}", self.user), || self.state(app) == state);
    }

    /// "state outcome detail" of a request.
    pub fn end(&self, app: &mut impl GenericClient, request: i64) -> String {
        let sql = "SELECT concat_ws(' ', state, outcome, detail) FROM auth.pv_requests($1::text) WHERE request = $2";
        let row = app.query_opt(sql, &[&self.user, &request]).unwrap();
        row.map_or_else(|| "none".to_owned(), |row| row.get(0))
    }

    /// Waits until a request has come to such an end.
    pub fn await_end(&self, app: &mut impl GenericClient, request: i64, end: &str) {
        let mut last = String::new();
        wait_until(&format!("{} of {} comes to {end}", request, self.user), || {
            let now = self.end(app, request);
            if now != last {
                println!("request {request}: {now}");
                last.clone_from(&now);
            }
            now == end
        });
    }
}

/// A mail that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub seq: i64,
    pub uid: Option<i64>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub raw: Option<Vec<u8>>,
    pub note: Option<String>,
}

/// `pv_read_mail`, everything that there is, without acknowledging it.
pub fn read(app: &mut impl GenericClient, request: i64) -> Vec<Read> {
    try_read(app, request).unwrap()
}

/// The same, where it may fail.
pub fn try_read(app: &mut impl GenericClient, request: i64) -> Result<Vec<Read>, Error> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let sql = "SELECT seq, uid, subject, text, raw, note FROM auth.pv_read_mail($1, $2)";
        let rows = app.query(sql, &[&request, &after])?;
        if rows.is_empty() {
            return Ok(all);
        }
        all.extend(rows.iter().map(|row| Read {
            seq: row.get(0),
            uid: row.get(1),
            subject: row.get(2),
            text: row.get(3),
            raw: row.get(4),
            note: row.get(5),
        }));
        after = all.iter().map(|mail| mail.seq).max().unwrap_or(after);
    }
}

/// Reads and acknowledges: the subjects.
pub fn fetch(app: &mut impl GenericClient, request: i64) -> Vec<String> {
    let all = read(app, request);
    let last = all.iter().map(|mail| mail.seq).max().unwrap_or(0);
    acknowledge(app, request, last);
    all.into_iter().filter_map(|mail| mail.subject).collect()
}
