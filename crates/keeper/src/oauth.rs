//! Access tokens from refresh tokens (RFC 6749 section 6).
//!
//! Some providers take a refresh token once and answer with another one. Whoever presents the old one again revokes
//! both (RFC 9700 section 4.14.2). So there is one holder at a time, which is the lease; a new one is stored before the
//! access token is used; and no request is sent a second time. A crash between the provider's answer and our commit
//! loses that one token. The provider then refuses the old one, and the user has to consent again: `reconsent`.

use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use password_verify_core::rules::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroize;

use crate::connector::Desk;
use crate::hosts::Route;
use crate::job::Destination;
use crate::net::stream::Bounded;
use crate::trouble::Trouble;
use crate::ways::Ways;

/// The longest answer of a token endpoint, in bytes.
const MOST: usize = 64 << 10;
/// An access token is not used in its last seconds.
const MARGIN: Duration = Duration::from_secs(30);

/// What is kept for OAuth: JSON. Wiped on drop.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
#[serde(deny_unknown_fields)]
struct Kept {
    refresh_token: String,
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// What the provider answers. Wiped on drop.
#[derive(Deserialize, Zeroize)]
#[zeroize(drop)]
struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    /// Seconds. Some providers write them as a text, or with a fraction.
    #[serde(default)]
    #[zeroize(skip)]
    expires_in: Value,
}

impl Answer {
    /// How long the access token is good; `None` if that is not said in a way that can be read.
    fn life(&self) -> Option<Duration> {
        let seconds = self.expires_in.as_f64();
        let seconds = seconds.or_else(|| self.expires_in.as_str()?.trim().parse().ok())?;
        Duration::try_from_secs_f64(seconds).ok().map(|life| life.saturating_sub(MARGIN))
    }
}

/// An access token, and until when it is good.
pub struct Access {
    pub token: Secret,
    pub until: Option<Instant>,
}

impl Access {
    /// Has its time come?
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Gets an access token. `secret`: what is kept, which becomes what is kept now. `end`: not begun later.
///
/// # Errors
/// [`Trouble::Reconsent`] if the provider does not take the refresh token; [`Trouble::Refused`] if it does not know the
/// client, or what is kept is no such JSON.
pub async fn renew<D: Desk>(
    ways: &Ways,
    to: &Destination,
    secret: &mut Secret,
    desk: &mut D,
    end: Instant,
) -> Result<Access, Trouble> {
    let mut kept: Kept = serde_json::from_str(secret.expose()).map_err(|_| Trouble::Refused)?;
    let form = form(&kept, to.scopes.as_deref().unwrap_or_default());
    let place = place(to)?;
    let turn = timeout_at(end, ways.providers.enter(place.route(to))).await;
    let mut pass = turn.map_err(|_| Trouble::OutOfTime)??;
    // From here to the end of this function nothing is cut off: a token that was rotated would be lost.
    let _renewal = ways.renewals.acquire().await.map_err(|_| Trouble::Disconnected)?;
    // Later the lease may be over before it is done, and another keeper may use the same token.
    if Instant::now() >= end {
        return Err(Trouble::OutOfTime);
    }
    let asked = timeout(ways.renewal, post(ways, to, &place, form)).await;
    let asked = asked.unwrap_or(Err(Trouble::Timeout));
    if asked.is_ok() {
        pass.connected();
    }
    let answer = asked.and_then(|(status, body)| read(status, &body));
    pass.back(answer.as_ref().err().copied());
    let answer = answer?;
    if let Some(rotated) = answer.refresh_token.as_ref().filter(|it| **it != kept.refresh_token) {
        kept.refresh_token.zeroize();
        kept.refresh_token.clone_from(rotated);
        *secret = Secret::new(serde_json::to_string(&kept).map_err(|_| Trouble::Internal)?);
        desk.store_rotated(secret).await?;
    }
    // Judged after the new refresh token is kept: without that, the user would have to consent again.
    let token = answer.access_token.as_ref().ok_or(Trouble::Protocol)?;
    let until = answer.life().and_then(|life| Instant::now().checked_add(life));
    Ok(Access { token: Secret::new(token.clone()), until })
}

/// The request's body. Long enough from the beginning, so that no copies are left as it grows.
fn form(kept: &Kept, scopes: &[String]) -> Secret {
    let mut pairs = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", kept.refresh_token.clone()),
        ("client_id", kept.client_id.clone()),
    ];
    pairs.extend(kept.client_secret.clone().map(|it| ("client_secret", it)));
    if !scopes.is_empty() {
        pairs.push(("scope", scopes.join(" ")));
    }
    let length = pairs.iter().map(|(key, value)| key.len() + 3 * value.len() + 2).sum();
    let mut text = String::with_capacity(length);
    for (key, value) in &mut pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte));
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        value.zeroize();
    }
    Secret::new(text)
}

/// A token endpoint.
struct Place {
    uri: hyper::Uri,
    host: String,
    port: u16,
}

impl Place {
    fn route(&self, to: &Destination) -> Route {
        let rest = to.ca.clone().unwrap_or_default();
        Route { host: self.host.clone(), port: self.port, rest }
    }
}

fn place(to: &Destination) -> Result<Place, Trouble> {
    let endpoint = to.token_endpoint.as_deref().ok_or(Trouble::Refused)?;
    let uri: hyper::Uri = endpoint.parse().map_err(|_| Trouble::Refused)?;
    let host = uri.host().ok_or(Trouble::Refused)?.to_owned();
    let port = uri.port_u16().unwrap_or(443);
    Ok(Place { uri, host, port })
}

/// Asks the token endpoint of the destination once. It is followed nowhere else.
async fn post(
    ways: &Ways,
    to: &Destination,
    Place { uri, host, port }: &Place,
    form: Secret,
) -> Result<(StatusCode, Bytes), Trouble> {
    let stream = ways.dialer.dial(host, *port).await?;
    let stream = ways.trust.connect(host, to.ca.as_deref(), stream).await?;
    let stream = Bounded::new(stream, ways.silence, Instant::now() + ways.renewal);
    let mut stream = stream.of_bytes();
    stream.allow(MOST);
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Trouble::Disconnected)?;
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let authority = uri.authority().map_or(host.as_str(), |it| it.as_str());
    let request = Request::post(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::copy_from_slice(form.expose().as_bytes())))
        .map_err(|_| Trouble::Internal)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| Trouble::Disconnected)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        Ok((status, body.map_err(|_| Trouble::Protocol)?.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // It ends as well when all of an answer has come and nothing more will: that is in `exchange` then.
        _ = connection => exchange.await,
    }
}

/// Reads an answer (RFC 6749 sections 5.1 and 5.2).
fn read(status: StatusCode, body: &[u8]) -> Result<Answer, Trouble> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|_| Trouble::Protocol);
    }
    // Errors are told with a status of errors: a redirect is none, whatever is in it.
    let is_error = status.is_client_error() || status.is_server_error();
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok().filter(|_| is_error);
    match (status, refusal.as_ref().map(|it| it.error.as_str())) {
        (StatusCode::TOO_MANY_REQUESTS, _) => Err(Trouble::Limited),
        (_, Some("temporarily_unavailable" | "server_error")) => Err(Trouble::Unavailable),
        (
            _,
            Some("invalid_grant" | "interaction_required" | "consent_required" | "login_required"),
        ) => Err(Trouble::Reconsent),
        (_, Some("invalid_client" | "unauthorized_client" | "invalid_scope")) => {
            Err(Trouble::Refused)
        }
        _ if status.is_server_error() => Err(Trouble::Unavailable),
        // Also a redirect: the token goes nowhere else.
        _ => Err(Trouble::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let kept = Kept {
            refresh_token: "a+b&c=d/ü".into(),
            client_id: "i d".into(),
            client_secret: None,
        };
        let text = form(&kept, &["openid".into(), "https://x/y".into()]);
        assert_eq!(
            text.expose(),
            "grant_type=refresh_token&refresh_token=a%2Bb%26c%3Dd%2F%C3%BC&client_id=i%20d&scope=openid%20https%3A%2F%2Fx%2Fy"
        );
    }

    #[test]
    fn what_providers_answer() {
        for (status, body, trouble) in [
            (400, r#"{"error":"invalid_grant"}"#, Trouble::Reconsent),
            (401, r#"{"error":"invalid_client"}"#, Trouble::Refused),
            (503, r#"{"error":"temporarily_unavailable"}"#, Trouble::Unavailable),
            (500, "oops", Trouble::Unavailable),
            (429, "slow down", Trouble::Limited),
            (302, "", Trouble::Protocol),
            (302, r#"{"error":"invalid_grant"}"#, Trouble::Protocol),
            (307, r#"{"access_token":"x"}"#, Trouble::Protocol),
            (200, "<html>", Trouble::Protocol),
            (400, r#"{"error":"invalid_request"}"#, Trouble::Protocol),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(read(status, body.as_bytes()).err(), Some(trouble), "{status} {body}");
        }
        let answer = read(
            StatusCode::OK,
            br#"{"access_token":"x","token_type":"Bearer","expires_in":3600}"#,
        );
        assert_eq!(answer.ok().and_then(|it| it.life()), Some(Duration::from_secs(3570)));
    }

    #[test]
    fn a_new_token_is_not_lost_to_a_field_that_does_not_matter() {
        for (field, life) in [
            (r#""expires_in":"3599""#, Some(3569)),
            (r#""expires_in":3600.0"#, Some(3570)),
            (r#""expires_in":10"#, Some(0)),
            (r#""expires_in":-1"#, None),
            (r#""expires_in":1e300"#, None),
            (r#""expires_in":[]"#, None),
            (r#""expires_in":null"#, None),
            (r#""scope":7"#, None),
        ] {
            let body = format!(r#"{{"refresh_token":"new",{field}}}"#);
            let answer = read(StatusCode::OK, body.as_bytes()).ok().unwrap();
            assert_eq!(answer.refresh_token.as_deref(), Some("new"), "{body}");
            assert_eq!(answer.life(), life.map(Duration::from_secs), "{body}");
        }
    }

    #[tokio::test]
    async fn an_access_token_is_over_a_little_earlier() {
        let over = |until| Access { token: Secret::new("x".into()), until }.is_over();
        assert!(!over(None));
        assert!(over(Some(Instant::now())));
        assert!(!over(Some(Instant::now() + Duration::from_secs(60))));
    }
}
