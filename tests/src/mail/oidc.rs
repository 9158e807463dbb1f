//! An OpenID provider: refresh tokens that are good once, access tokens, and who holds them.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::client::{connect, encrypt};
use super::daemon::Daemon;
use super::http;
use super::place::{folder, installed};
use super::ports::Port;

/// The client that shows who it is, by a secret in the form.
pub const CLIENT: &str = "keeper";
pub const CLIENT_SECRET: &str = "the keeper is known";
/// The one that has no secret.
pub const PUBLIC_CLIENT: &str = "public";
/// What is consented to.
pub const SCOPE: &str = "offline_access mail";

const SCRIPT: &str = include_str!("../../oidc/provider.mjs");

/// A provider that runs. What it knows it forgets when it ends.
pub struct Oidc {
    // Before the folder, so that it has ended when that is removed.
    daemon: Daemon,
    _folder: TempDir,
    port: Port,
    admin: Port,
    authority: PathBuf,
    tls: Arc<ClientConfig>,
}

/// What a user has consented to.
#[derive(Debug, Clone)]
pub struct Consent {
    pub grant: String,
    pub refresh_token: String,
}

/// What a refresh token gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: u64,
}

/// What the token endpoint does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Answers with that status and does nothing.
    Status(u16),
    /// Closes the connection instead of doing anything.
    CutBefore,
    /// Does what it is asked for and closes the connection instead of answering: who asked never gets the new token.
    CutAfter,
}

/// How many requests there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Of the token endpoint.
    pub token: u64,
    /// Of those, how many it refused by itself.
    pub refused: u64,
    /// Of mail servers, who ask whose an access token is.
    pub introspection: u64,
}

impl Oidc {
    /// Refresh tokens rotate, and access tokens live for an hour.
    pub fn start(certificates: &Certificates) -> Self {
        let (port, admin, folder) = (Port::free(), Port::free(), folder());
        let good = &certificates.good;
        let environment = [
            ("CERTIFICATE", good.certificate.to_str().unwrap()),
            ("KEY", good.key.to_str().unwrap()),
            ("PORT", &port.number.to_string()),
            ("ADMIN_PORT", &admin.number.to_string()),
        ];
        // What is imported is looked for where it runs.
        let (packages, log) = (installed("oidc"), folder.path().join("log"));
        let words = ["node", "--input-type=module", "--eval", SCRIPT];
        let daemon = Daemon::new(&packages, &log, &words, &environment);
        let authority = certificates.authority.clone();
        let tls = certificates.client();
        let oidc = Self { daemon, _folder: folder, port, admin, authority, tls };
        oidc.restart();
        oidc
    }

    /// Ends it. Returns when it has.
    pub fn kill(&self) {
        self.daemon.kill();
    }

    /// Starts it after that, on the same ports, knowing nobody.
    pub fn restart(&self) {
        let admin = (Ipv4Addr::LOCALHOST, self.admin.number);
        self.daemon.start(|| TcpStream::connect(admin).is_ok());
    }

    /// Where tokens are.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("https://localhost:{}/token", self.port.number)
    }

    /// Where Dovecot asks, with what it says who it is.
    pub fn introspection_url(&self) -> String {
        format!("https://dovecot:dovecot@localhost:{}/token/introspection", self.port.number)
    }

    /// Who has signed its certificate.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// A user consents, without a browser, to [`CLIENT`].
    pub fn issue(&self, user: &str) -> Consent {
        self.issue_to(user, CLIENT)
    }

    /// The same to another client.
    pub fn issue_to(&self, user: &str, client: &str) -> Consent {
        let answer = self.ask("/issue", &json!({ "account": user, "clientId": client }));
        Consent { grant: text(&answer["grant"]), refresh_token: text(&answer["refresh_token"]) }
    }

    /// The user thinks better of it: no token of that consent is good any more.
    pub fn revoke(&self, consent: &Consent) {
        self.ask("/revoke", &json!({ "grant": consent.grant }));
    }

    /// How long access tokens live from now on, in seconds.
    pub fn set_access_ttl(&self, seconds: u32) {
        self.ask("/settings", &json!({ "accessTtl": seconds }));
    }

    /// Is a refresh token good once, or for ever?
    pub fn set_rotating(&self, rotating: bool) {
        self.ask("/settings", &json!({ "rotating": rotating }));
    }

    /// What the token endpoint does wrong from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        let trouble = match trouble {
            Trouble::None => Value::Null,
            Trouble::Status(status) => status.into(),
            Trouble::CutBefore => "cut before".into(),
            Trouble::CutAfter => "cut after".into(),
        };
        self.ask("/settings", &json!({ "trouble": trouble }));
    }

    /// How long the token endpoint thinks before it does anything, in milliseconds.
    pub fn set_delay(&self, ms: u32) {
        self.ask("/settings", &json!({ "delay": ms }));
    }

    /// Does the token endpoint close each connection after its answer?
    pub fn set_closing(&self, closing: bool) {
        self.ask("/settings", &json!({ "closing": closing }));
    }

    /// How many requests there were.
    pub fn requests(&self) -> Requests {
        let counts = self.ask("/counts", &json!({}));
        let count = |name: &str| counts[name].as_u64().unwrap();
        Requests {
            token: count("token"),
            refused: count("refused"),
            introspection: count("introspection"),
        }
    }

    /// Refreshes as [`CLIENT`]: the new tokens, or the error's code.
    pub fn refresh(&self, refresh_token: &str) -> Result<Tokens, String> {
        self.try_refresh(refresh_token).unwrap()
    }

    /// The same, where there may be no answer.
    pub fn try_refresh(&self, refresh_token: &str) -> io::Result<Result<Tokens, String>> {
        let secret = CLIENT_SECRET.replace(' ', "+");
        let body = format!(
            "grant_type=refresh_token&client_id={CLIENT}&client_secret={secret}&refresh_token={refresh_token}"
        );
        let stream = encrypt(connect(self.port.number)?, Arc::clone(&self.tls))?;
        let kind = "application/x-www-form-urlencoded";
        let (status, answer) = http::post(stream, "/token", kind, &body)?;
        let answer: Value = serde_json::from_str(&answer)?;
        if status != 200 {
            return Ok(Err(text(&answer["error"])));
        }
        Ok(Ok(Tokens {
            access_token: text(&answer["access_token"]),
            refresh_token: text(&answer["refresh_token"]),
            expires_in: answer["expires_in"].as_u64().unwrap(),
        }))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let stream = connect(self.admin.number).unwrap();
        let (status, answer) =
            http::post(stream, path, "application/json", &body.to_string()).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }
}

/// The initial response of XOAUTH2, in base64.
pub fn xoauth2(user: &str, access_token: &str) -> String {
    base64(&format!("user={user}\x01auth=Bearer {access_token}\x01\x01"))
}

/// That of OAUTHBEARER (RFC 7628).
pub fn oauthbearer(user: &str, access_token: &str) -> String {
    base64(&format!("n,a={user},\x01auth=Bearer {access_token}\x01\x01"))
}

fn base64(text: &str) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(text.as_bytes())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
