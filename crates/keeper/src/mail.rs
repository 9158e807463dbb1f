//! A mail as applications get it: JSON of bounded size, whatever the mail is.

use std::collections::HashSet;

use base64ct::{Base64, Encoding};
use mail_parser::{Address, HeaderName, Message, MessageParser, MimeHeaders, PartType};
use serde_json::{Map, Value, json};

use crate::inner;

/// The longest text, in bytes, and the most of each other thing. What is more is left out, and said to be.
const MAX_TEXT: usize = 256 << 10;
const MAX_LINE: usize = 1000;
const MAX_ADDRESSES: usize = 50;
const MAX_ATTACHMENTS: usize = 50;
/// How deep parts are looked for inside of parts.
const MAX_DEPTH: usize = 16;

/// How much of a mail is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parts {
    Headers,
    #[default]
    Text,
    Raw,
}

/// A mail, or its beginning.
#[derive(Debug)]
pub struct Raw<'a> {
    pub uid: u32,
    /// When the server got it, as it says: RFC 3339.
    pub received: Option<String>,
    /// The length of the whole, if it is known.
    pub size: Option<u32>,
    pub bytes: &'a [u8],
}

/// What is delivered of it. Never fails: what cannot be parsed is delivered raw, with a note.
pub fn to_json(raw: &Raw<'_>, parts: Parts) -> Value {
    let mut mail = Map::new();
    mail.insert("uid".into(), raw.uid.into());
    if let Some(size) = raw.size {
        mail.insert("size".into(), size.into());
    }
    if let Some(received) = &raw.received {
        mail.insert("received".into(), received.as_str().into());
    }
    // A panic of the parser is one mail that it cannot read.
    let hidden = inner::hide(raw.bytes);
    let parsed = std::panic::catch_unwind(|| describe(&hidden, parts)).ok().flatten();
    let is_parsed = parsed.is_some();
    mail.extend(parsed.unwrap_or_default());
    if !is_parsed {
        mail.insert("note".into(), "unparsed".into());
    }
    if parts == Parts::Raw || !is_parsed {
        mail.insert("raw".into(), Base64::encode_string(raw.bytes).into());
    }
    let is_whole = raw.size.is_some_and(|size| raw.bytes.len() >= size as usize);
    if !is_whole && parts != Parts::Headers {
        mail.insert("truncated".into(), true.into());
    }
    Value::Object(mail)
}

fn describe(bytes: &[u8], parts: Parts) -> Option<Map<String, Value>> {
    let message = MessageParser::default().parse(bytes)?;
    // Anything with a colon looks like a header.
    if message.headers().iter().all(|it| matches!(it.name, HeaderName::Other(_))) {
        return None;
    }
    let mut mail = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            mail.insert(key.into(), value);
        }
    };
    put("date", message.date().map(|date| date.to_rfc3339().into()));
    put("subject", message.subject().map(|it| line(it).into()));
    put("message_id", message.message_id().map(|it| line(it).into()));
    put("from", addresses(message.from()).map(|mut all| all.swap_remove(0).into()));
    put("to", addresses(message.to()).map(Value::from));
    put("cc", addresses(message.cc()).map(Value::from));
    if parts == Parts::Text {
        let text = message.body_text(0).map(|text| clean(&text));
        put("text_truncated", text.as_ref().filter(|it| it.len() > MAX_TEXT).map(|_| true.into()));
        put("text", text.map(|text| cut(&text, MAX_TEXT).into()));
    }
    if parts != Parts::Headers {
        let mut found = Vec::new();
        // A mail may have very many parts.
        let bodies = message.text_body.iter().chain(&message.html_body).copied().collect();
        attachments((&message, &bodies), 0, "", 0, &mut found);
        put("attachments", Some(found.into()));
    }
    Some(mail)
}

/// Names of IMAP (RFC 9051 section 6.4.5.1) of the parts that are attachments, with what is known of them.
fn attachments(
    (message, bodies): (&Message<'_>, &HashSet<u32>),
    part: usize,
    name: &str,
    depth: usize,
    found: &mut Vec<Value>,
) {
    let Some(it) = message.parts.get(part) else { return };
    if found.len() >= MAX_ATTACHMENTS || depth > MAX_DEPTH {
        return;
    }
    if let PartType::Multipart(children) = &it.body {
        for (number, child) in children.iter().enumerate() {
            let name = if name.is_empty() { String::new() } else { format!("{name}.") };
            attachments(
                (message, bodies),
                *child as usize,
                &format!("{name}{}", number + 1),
                depth + 1,
                found,
            );
        }
        return;
    }
    let of_body = bodies.contains(&(part as u32));
    // A picture that is shown between texts counts for the library as body as well.
    if of_body && matches!(it.body, PartType::Text(_) | PartType::Html(_)) {
        return;
    }
    let kind = it.content_type().map(|kind| {
        let sub = kind.subtype().unwrap_or("octet-stream");
        line(&format!("{}/{sub}", kind.ctype()).to_ascii_lowercase())
    });
    found.push(json!({
        "part": if name.is_empty() { "1" } else { name },
        "name": it.attachment_name().map(line),
        "type": kind,
        "size": it.len(),
    }));
}

/// `Name <local@domain>`, as it is to be read.
fn addresses(all: Option<&Address<'_>>) -> Option<Vec<String>> {
    let one = |it: &mail_parser::Addr<'_>| {
        let address = it.address.as_deref().unwrap_or_default();
        line(&match it.name.as_deref() {
            Some(name) => format!("{name} <{address}>"),
            None => address.to_owned(),
        })
    };
    let all: Vec<String> = all?.iter().take(MAX_ADDRESSES).map(one).collect();
    (!all.is_empty()).then_some(all)
}

/// One line of bounded length.
fn line(text: &str) -> String {
    let text: String = clean(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&text, MAX_LINE).to_owned()
}

/// Without control characters, of which `jsonb` has no zero, and JSON writes each in six bytes.
fn clean(text: &str) -> String {
    let one = |c: char| if c.is_control() && !"\n\r\t".contains(c) { '\u{fffd}' } else { c };
    inner::show(text).chars().map(one).collect()
}

/// The beginning, in whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(bytes: &[u8], parts: Parts) -> Value {
        let raw = Raw { uid: 7, received: None, size: Some(bytes.len() as u32), bytes };
        to_json(&raw, parts)
    }

    const MIXED: &[u8] = b"From: \"Ann B.\" <ann@example.org>\r\nTo: bob@example.org, Carl <c@example.org>\r\n\
        Date: Fri, 27 Nov 2026 10:00:00 +0100\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n\
        --y\r\nContent-Type: text/plain\r\n\r\nhello\r\n--y\r\nContent-Type: text/html\r\n\r\n<b>hello</b>\r\n--y--\r\n\
        --x\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--x--\r\n";

    #[test]
    fn a_mail_has_what_is_asked_for() {
        let text = of(MIXED, Parts::Text);
        assert_eq!(text["from"], "Ann B. <ann@example.org>");
        assert_eq!(text["to"], json!(["bob@example.org", "Carl <c@example.org>"]));
        assert_eq!(text["subject"], "Grüße");
        assert_eq!(text["date"], "2026-11-27T10:00:00+01:00");
        assert_eq!(text["text"].as_str().map(str::trim_end), Some("hello"));
        let attachment =
            json!([{"part": "2", "name": "a.pdf", "type": "application/pdf", "size": 3}]);
        assert_eq!(text["attachments"], attachment);
        assert_eq!((text.get("raw"), text.get("note"), text.get("truncated")), (None, None, None));
        let headers = of(MIXED, Parts::Headers);
        assert_eq!((headers.get("text"), &headers["subject"]), (None, &text["subject"]));
        let raw = of(MIXED, Parts::Raw);
        assert_eq!(Base64::decode_vec(raw["raw"].as_str().unwrap()).unwrap(), MIXED);
    }

    #[test]
    fn what_may_have_been_cut_off_is_said_to_be() {
        let with = |size| to_json(&Raw { uid: 7, received: None, size, bytes: MIXED }, Parts::Text);
        let length = MIXED.len() as u32;
        for (size, truncated) in
            [(Some(length), None), (Some(length + 1), Some(true)), (None, Some(true))]
        {
            let mail = with(size);
            assert_eq!(mail.get("size").and_then(Value::as_u64), size.map(u64::from));
            assert_eq!(mail.get("truncated").and_then(Value::as_bool), truncated);
        }
    }

    #[test]
    fn what_is_no_mail_is_delivered_raw_and_said_to_be() {
        for bytes in [&b""[..], b"\0\0\0", b"\xff\xfe no header at all"] {
            let mail = of(bytes, Parts::Text);
            assert_eq!(mail["note"], "unparsed", "{bytes:?}");
            assert_eq!(Base64::decode_vec(mail["raw"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    #[test]
    fn nothing_has_the_character_zero_or_no_end() {
        let long = "s".repeat(10_000);
        let mail = format!("Subject: a\0b{long}\r\n\r\n\0{}", "ü".repeat(MAX_TEXT));
        let mail = of(mail.as_bytes(), Parts::Text);
        assert!(!mail.to_string().contains("\\u0000"));
        assert_eq!(mail["text_truncated"], true);
        assert!(mail["subject"].as_str().unwrap().len() <= MAX_LINE);
        assert!(mail["text"].as_str().unwrap().len() <= MAX_TEXT);
    }

    #[test]
    fn a_bomb_of_parts_is_small() {
        let mut mail =
            String::from("Subject: x\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n");
        for i in 0..2000 {
            mail +=
                &format!("--b{i}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", i + 1);
        }
        assert!(of(mail.as_bytes(), Parts::Text).to_string().len() < 10_000);
        let wide = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned()
            + &"--b\r\nContent-Type: image/png; name=i\r\n\r\nx\r\n".repeat(5000);
        let wide = of(wide.as_bytes(), Parts::Text);
        assert_eq!(wide["attachments"].as_array().unwrap().len(), MAX_ATTACHMENTS);
    }

    #[test]
    fn a_mail_within_a_mail_is_an_attachment() {
        let kind = "Content-Type: Message/RFC822\r\n\r\n";
        let mail = format!(
            "Subject: an rfc822\r\n{kind}{}",
            format!("Subject: y\r\n{kind}").repeat(10_000)
        );
        let mail = of(mail.as_bytes(), Parts::Text);
        assert_eq!(mail["subject"], "an rfc822");
        assert_eq!(mail["attachments"][0]["type"], "message/rfc822");
        assert_eq!(mail["attachments"].as_array().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..MIXED.len()) {
            of(&bytes, Parts::Raw);
            let mut mail = MIXED.to_vec();
            mail.splice(at..at, bytes);
            prop_assert_eq!(&of(&mail, Parts::Text)["uid"], &json!(7));
        }
    }
}
