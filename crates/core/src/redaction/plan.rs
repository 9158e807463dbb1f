//! Plans as auto_explain prints them, in each of its formats. Every literal in them is redacted;
//! costs, times and counts stay.

use super::lexer::{Kind, Lexer};
use super::mask::REDACTED;
use super::statement::Reader;

enum Format {
    Text,
    /// JSON and YAML, of which only strings matter, which are alike.
    Strings,
    Xml,
}

fn format(plan: &[u8]) -> Format {
    match plan.trim_ascii_start() {
        [b'{' | b'[', ..] => Format::Strings,
        [b'<', ..] => Format::Xml,
        rest if rest.starts_with(b"Query Text: \"") => Format::Strings,
        _ => Format::Text,
    }
}

impl Reader<'_> {
    /// Is this the plan of a statement that calls a function that takes or gives a secret?
    pub fn plan_calls(&self, plan: &[u8]) -> bool {
        if !self.names.may_be_in(plan) {
            return false;
        }
        let query = match format(plan) {
            Format::Text => return self.calls(plan),
            Format::Strings => after(plan, b"Query Text").and_then(|rest| {
                let value = rest.strip_prefix(b"\"").unwrap_or(rest);
                Some(unescape(after(value, b"\"")?)?.0)
            }),
            Format::Xml => after(plan, b"<Query-Text>").map(|rest| unescape_element(element(rest))),
        };
        query.is_none_or(|query| self.calls(&query))
    }

    /// The plan with its literals redacted.
    pub fn redacted_plan(&self, plan: &[u8]) -> Vec<u8> {
        match format(plan) {
            Format::Text => self.redacted_text(plan),
            Format::Strings => self.redacted_strings(plan),
            Format::Xml => self.redacted_elements(plan),
        }
    }

    /// The format `text`: the query, and from its first cost on the plan.
    fn redacted_text(&self, plan: &[u8]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(plan.len());
        let mut in_query = true;
        for token in Lexer::new(plan, self.backslash) {
            let part = &plan[token.start..token.end];
            in_query &= !plan[token.start..].starts_with(b"(cost=");
            let hide = match token.kind {
                Kind::Literal | Kind::DollarQuoted(_) | Kind::Unfinished => true,
                Kind::Number => in_query || !is_measure(plan, token.start),
                _ => false,
            };
            redacted.extend_from_slice(if hide { REDACTED } else { part });
        }
        redacted
    }

    /// JSON and YAML: what stands in strings.
    fn redacted_strings(&self, plan: &[u8]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(plan.len());
        let mut rest = plan;
        while let Some(open) = memchr::memchr(b'"', rest) {
            redacted.extend_from_slice(&rest[..=open]);
            rest = &rest[open + 1..];
            let Some((string, after)) = unescape(rest) else {
                redacted.extend_from_slice(b"<redacted>\"");
                return redacted;
            };
            rest = after;
            escape(&self.all_redacted(&string), &mut redacted);
            redacted.push(b'"');
        }
        redacted.extend_from_slice(rest);
        redacted
    }

    /// XML: what stands between tags.
    fn redacted_elements(&self, plan: &[u8]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(plan.len());
        let mut rest = plan;
        while let Some(tag) = memchr::memchr(b'>', rest) {
            redacted.extend_from_slice(&rest[..=tag]);
            let is_item = rest[..tag].ends_with(b"<Item");
            rest = &rest[tag + 1..];
            let text = element(rest);
            // A cost, time or count, which only an item of a list is not.
            let is_number = |byte: &u8| byte.is_ascii_digit() || b".- \n".contains(byte);
            if !is_item && text.iter().all(is_number) {
                redacted.extend_from_slice(text);
                rest = &rest[text.len()..];
                continue;
            }
            for byte in self.all_redacted(&unescape_element(text)) {
                match ENTITIES.iter().find(|(_, meant)| *meant == byte) {
                    Some((entity, _)) => redacted.extend_from_slice(entity),
                    None => redacted.push(byte),
                }
            }
            rest = &rest[text.len()..];
        }
        redacted.extend_from_slice(rest);
        redacted
    }
}

/// Is this number in a plan a cost, time or count, as opposed to a part of an expression? Those
/// follow a `=` or `..` at once, or are alone with their unit behind a label.
fn is_measure(plan: &[u8], at: usize) -> bool {
    /// As far as a label and a measure reach; lines may be long.
    const NEAR: usize = 100;
    let before = &plan[at.saturating_sub(NEAR)..at];
    // `0.00..0.01` is read as three numbers and a point.
    if before.ends_with(b"=")
        || before.ends_with(b".")
        || before.last().is_some_and(u8::is_ascii_digit)
    {
        return true;
    }
    let label = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_start();
    let after = &plan[at..plan.len().min(at + NEAR)];
    let value = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" .:".contains(byte);
    label.ends_with(b": ") && !label.starts_with(b"Output") && value.iter().all(is_plain)
}

/// What follows a mark.
fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(text, mark).map(|at| &text[at + mark.len()..])
}

/// What PostgreSQL writes in place of some bytes in XML.
const ENTITIES: [(&[u8], u8); 4] =
    [(b"&lt;", b'<'), (b"&gt;", b'>'), (b"&#x0d;", b'\r'), (b"&amp;", b'&')];

/// The text up to the next tag.
fn element(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b'<', text).unwrap_or(text.len())]
}

fn unescape_element(written: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(first) = rest.first() {
        let entity = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        text.push(entity.map_or(*first, |(_, meant)| *meant));
        rest = &rest[entity.map_or(1, |(entity, _)| entity.len())..];
    }
    text
}

/// The string of JSON that begins here, and what follows it.
fn unescape(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    let mut rest = text;
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        match first {
            b'"' => return Some((plain, rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                plain.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    // PostgreSQL writes control characters only in this way.
                    b'u' => {
                        let hex = std::str::from_utf8(rest.get(..4)?).ok()?;
                        rest = &rest[4..];
                        u8::from_str_radix(hex, 16).ok()?
                    }
                    other => *other,
                });
            }
            byte => plain.push(*byte),
        }
    }
}

fn escape(text: &[u8], json: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', *byte]),
            b'\n' => json.extend(b"\\n"),
            b'\t' => json.extend(b"\\t"),
            b'\r' => json.extend(b"\\r"),
            0..0x20 => json.extend(format!("\\u{byte:04x}").bytes()),
            _ => json.push(*byte),
        }
    }
}
