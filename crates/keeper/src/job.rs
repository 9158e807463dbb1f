//! A job as `pv_take_job` gives it.

use serde::Deserialize;
use serde_json::Value;

/// Which job, and which lease of it: passed to every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub number: i64,
    pub lease: i64,
}

/// A job that is leased.
#[derive(Debug)]
pub struct Job {
    pub held: Held,
    pub destination: Destination,
    pub what: Value,
    /// What was noted with the last result.
    pub progress: Option<Value>,
}

/// Where the secret may be sent: sealed with it, and checked when it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    pub login: String,
    pub mechanism: Mechanism,
    pub token_endpoint: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub ca: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Imaps,
    Imap,
    Smtps,
    Smtp,
    Https,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "LOGIN")]
    Login,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
    #[serde(rename = "XOAUTH2")]
    Xoauth2,
    #[serde(rename = "BASIC")]
    Basic,
    #[serde(rename = "BEARER")]
    Bearer,
}
