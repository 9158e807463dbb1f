//! The files that say how to reach PostgreSQL: a connection string, and certificates.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode};
use zeroize::Zeroizing;

use crate::net::tls::{system_roots, trusting};
use crate::settings::{self, Fault, unreadable};

/// The longest wait for a connection, and no longer than for an answer.
pub const CONNECT: Duration = Duration::from_secs(10);

/// The connection string. Over TCP there is TLS with a name that is checked, and with a password channel binding.
pub fn config(path: &Path, patience: Duration) -> Result<Config, Fault> {
    let text = fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
    let text = Zeroizing::new(text);
    // The library knows `require`; a certificate is checked in any case.
    let (full, plain) = match without_verify_full(text.trim()) {
        Some(rest) => (true, Zeroizing::new(rest)),
        None => (false, Zeroizing::new(text.trim().to_owned())),
    };
    // Not the library's message: it could quote the password.
    let parsed = plain.parse::<Config>().ok().filter(|it| !it.get_hosts().is_empty());
    let mut config = parsed
        .ok_or(format!("{}: no connection string with a host that can be read", path.display()))?;
    let over_tcp = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
    if over_tcp {
        if !full {
            return Err(format!(
                "{}: a connection over TCP needs sslmode=verify-full",
                path.display()
            ));
        }
        config.ssl_mode(SslMode::Require);
        if config.get_password().is_some() {
            config.channel_binding(ChannelBinding::Require);
        }
    }
    config.application_name("pv-keeper").connect_timeout(patience.min(CONNECT));
    config.tcp_user_timeout(patience).keepalives_idle(patience);
    Ok(config)
}

pub fn trust(from: &settings::Database) -> Result<ClientConfig, Fault> {
    let roots = match &from.ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|why| format!("{}: {why}", path.display()))?;
            }
            roots
        }
        None => system_roots()?,
    };
    let builder = trusting(roots).ok_or("there is no TLS")?;
    let (Some(certificate), Some(key)) = (&from.client_cert_file, &from.client_key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let read =
        PrivateKeyDer::from_pem_file(key).map_err(|why| format!("{}: {why}", key.display()))?;
    builder.with_client_auth_cert(chain, read).map_err(|why| format!("{}: {why}", key.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|why| format!("{}: {why}", path.display()))?;
    if read.is_empty() { Err(format!("{}: no certificate", path.display())) } else { Ok(read) }
}

/// The connection string without `sslmode=verify-full`, if it says that: as a word of its own, or as a parameter of a
/// URL, and not within a password.
fn without_verify_full(text: &str) -> Option<String> {
    const WORDS: &str = "sslmode=verify-full";
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let (mut quoted, mut escaped, mut begins) = (false, false, !is_url);
    for (at, c) in text.char_indices() {
        if begins && !quoted && text[at..].starts_with(WORDS) {
            let rest = &text[at + WORDS.len()..];
            let ends = |c: char| if is_url { c == '&' } else { c.is_whitespace() };
            if rest.chars().next().is_none_or(ends) {
                return Some(format!("{}sslmode=require{rest}", &text[..at]));
            }
        }
        begins = if is_url { "?&".contains(c) } else { c.is_whitespace() };
        quoted ^= c == '\'' && !escaped && !is_url;
        escaped = c == '\\' && !escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_told_from_a_password_that_looks_like_it() {
        for (text, rest) in [
            ("host=a sslmode=verify-full", Some("host=a sslmode=require")),
            ("sslmode=verify-full host=a", Some("sslmode=require host=a")),
            ("password='it\\'s' sslmode=verify-full", Some("password='it\\'s' sslmode=require")),
            ("password='a sslmode=verify-full' host=a", None),
            ("password=asslmode=verify-full host=a", None),
            ("host=a sslmode=verify-fuller", None),
            ("postgres://u:p@h/d?sslmode=verify-full", Some("postgres://u:p@h/d?sslmode=require")),
            (
                "postgresql://h/d?a=b&sslmode=verify-full&c=d",
                Some("postgresql://h/d?a=b&sslmode=require&c=d"),
            ),
            ("postgres://u:sslmode=verify-full@h/d", None),
            (
                "postgres://u:p'@h/d?sslmode=verify-full",
                Some("postgres://u:p'@h/d?sslmode=require"),
            ),
        ] {
            assert_eq!(without_verify_full(text).as_deref(), rest, "{text}");
        }
    }
}
