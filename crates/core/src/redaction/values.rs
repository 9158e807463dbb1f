//! Values in PostgreSQL's own errors: `invalid input syntax for type bigint: "hunter2"`.
//!
//! The format string that a message was made with tells which parts of it are values. A message in
//! another language than that is replaced by its format string.

use super::mask::VALUE;

/// Values that say nothing but what kind of value was expected.
const KINDS: &[&str] = &[
    "bigint",
    "integer",
    "smallint",
    "oid",
    "uuid",
    "inet",
    "interval",
    "boolean",
    "json",
    "jsonb",
    "numeric",
    "bytea",
    "real",
    "double precision",
    "date",
    "time",
    "timestamp",
    "timestamp with time zone",
    "regclass",
    "regrole",
    "text",
    "name",
    "xml",
];

/// The message with its values redacted, of an error with this SQLSTATE. `is_known`: is this word one
/// of the statement's, outside of its literals?
pub fn redacted(
    message: &[u8],
    template: &str,
    state: &str,
    is_known: &dyn Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let is_data = state.starts_with("22");
    // About names: of cursors, prepared statements, databases, schemas, and of anything.
    let is_about = |class: &&str| state.starts_with(*class);
    // What other code says in its own words, such as RAISE, has no format string.
    if template == "%s" || !["22", "26", "34", "3D", "3F", "42"].iter().any(is_about) {
        return None;
    }
    let parts = parts(template);
    let mut redacted = Vec::new();
    let mut rest = message;
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        let at = if last {
            rest.len().checked_sub(part.len()).filter(|at| rest[*at..] == **part)
        } else if i == 0 {
            rest.starts_with(part).then_some(0)
        } else {
            memchr::memmem::find(rest, part)
        };
        let Some(at) = at else { return Some(parts.join(VALUE)) };
        if i > 0 {
            let value = &rest[..at];
            let is_kind = KINDS.iter().any(|kind| kind.as_bytes() == value);
            // About a statement, and not about data, what stands without quotation marks is a kind of
            // thing, a type or a signature; and what stands in them is its own word, or a value.
            let is_quoted = parts[i - 1].ends_with(b"\"") || parts[i - 1].ends_with(b": ");
            let is_word = !is_data && (!is_quoted || is_sign(value) || is_known(value));
            redacted.extend_from_slice(if is_kind || is_word { value } else { VALUE });
        }
        redacted.extend_from_slice(part);
        rest = &rest[at + part.len()..];
    }
    Some(redacted)
}

/// The text between the values of a format string.
fn parts(template: &str) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        let conversion = rest[at + 1..]
            .find(|c: char| c.is_ascii_alphabetic() && !"hlzjt".contains(c) || c == '%');
        parts.push(&rest.as_bytes()[..at]);
        rest = &rest[conversion.map_or(rest.len(), |n| at + 1 + n + 1)..];
    }
    parts.push(rest.as_bytes());
    parts
}

fn is_sign(text: &[u8]) -> bool {
    text.len() == 1 && b",()[].;:+-*/%^<>=".contains(&text[0])
}

/// The detail of an error with that SQLSTATE.
pub fn redacted_detail(detail: &[u8], state: &str) -> Option<Vec<u8>> {
    match &state[..2.min(state.len())] {
        // XML: a part of the document, without any quotation marks.
        "22" if ["2200L", "2200M", "2200N", "2200S", "2200T"].contains(&state) => {
            Some(VALUE.to_vec())
        }
        "22" => Some(redacted_quotes(detail)),
        // `Key (id)=(42) already exists.`, `Failing row contains (42, …).`
        "23" | "44" => {
            let from = memchr::memmem::find(detail, b"=(").map(|at| at + 1);
            let from = from.or_else(|| memchr::memchr(b'(', detail))?;
            let to = memchr::memrchr(b')', detail).filter(|to| *to > from)?;
            Some([&detail[..=from], VALUE, &detail[to..]].concat())
        }
        _ => None,
    }
}

/// What stands in quotation marks of any language, redacted.
pub fn redacted_quotes(text: &[u8]) -> Vec<u8> {
    const PAIRS: [(&[u8], &[u8]); 5] = [
        (b"\"", b"\""),
        (b"'", b"'"),
        ("»".as_bytes(), "«".as_bytes()),
        ("«".as_bytes(), "»".as_bytes()),
        ("„".as_bytes(), "“".as_bytes()),
    ];
    let mut redacted = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((open, close)) = PAIRS.iter().find(|(open, _)| rest.starts_with(open)) else {
            redacted.push(rest[0]);
            rest = &rest[1..];
            continue;
        };
        // A value may have quotation marks of its own: the last one ends it.
        let inside = &rest[open.len()..];
        let end = memchr::memmem::rfind(inside, close).unwrap_or(inside.len());
        redacted.extend([open, VALUE, close].concat());
        rest = inside.get(end + close.len()..).unwrap_or_default();
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(message: &str, template: &str, state: &str) -> Option<String> {
        redacted(message.as_bytes(), template, state, &|word| word == b"FROM" || word == b"users")
            .map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn messages() {
        for (text, template, state, expected) in [
            (
                "invalid input syntax for type bigint: \"a\"b\"",
                "invalid input syntax for type %s: \"%s\"",
                "22P02",
                "invalid input syntax for type bigint: \"<redacted>\"",
            ),
            (
                "syntax error at or near \"'hunter2'\"",
                "%s at or near \"%s\"",
                "42601",
                "syntax error at or near \"<redacted>\"",
            ),
            (
                "syntax error at or near \"FROM\"",
                "%s at or near \"%s\"",
                "42601",
                "syntax error at or near \"FROM\"",
            ),
            (
                "syntax error at end of input",
                "%s at end of input",
                "42601",
                "syntax error at end of input",
            ),
            (
                "ungültige Eingabesyntax für Typ bigint: »hunter2«",
                "invalid input syntax for type %s: \"%s\"",
                "22P02",
                "invalid input syntax for type <redacted>: \"<redacted>\"",
            ),
            ("division by zero", "division by zero", "22012", "division by zero"),
            (
                "invalid byte sequence for encoding \"UTF8\": 0xe9 0x20",
                "invalid byte sequence for encoding \"%s\": %s",
                "22021",
                "invalid byte sequence for encoding \"<redacted>\": <redacted>",
            ),
            (
                "100% of 5 is 5",
                "100%% of %lld is %5.2f",
                "22000",
                "100<redacted> of <redacted> is <redacted>",
            ),
        ] {
            assert_eq!(message(text, template, state).as_deref(), Some(expected), "{text}");
        }
        let relation = "relation \"%s\" does not exist";
        let is = |name: &str| {
            message(&format!("relation \"{name}\" does not exist"), relation, "42P01").unwrap()
        };
        assert_eq!(is("users"), "relation \"users\" does not exist");
        assert_eq!(is("hunter2"), "relation \"<redacted>\" does not exist");
        let function = "function f(unknown) does not exist";
        assert_eq!(
            message(function, "function %s does not exist", "42883").as_deref(),
            Some(function)
        );
        assert_eq!(message("role \"x\" may not", "role \"%s\" may not", "55000"), None);
        assert_eq!(message("what a trigger says", "%s", "22000"), None);
    }

    #[test]
    fn details() {
        for (text, state, expected) in [
            ("Key (id)=(42) already exists.", "23505", "Key (id)=(<redacted>) already exists."),
            (
                "Key (a)=(x)) is not present in table \"t\".",
                "23503",
                "Key (a)=(<redacted>) is not present in table \"t\".",
            ),
            ("Failing row contains (42, hunter2).", "23514", "Failing row contains (<redacted>)."),
            ("Token \"hunter2\" is invalid.", "22P02", "Token \"<redacted>\" is invalid."),
            ("Token »hunter2« ist ungültig.", "22P02", "Token »<redacted>« ist ungültig."),
            ("line 1: hunter2", "2200N", "<redacted>"),
        ] {
            let redacted = redacted_detail(text.as_bytes(), state).unwrap();
            assert_eq!(String::from_utf8(redacted).unwrap(), expected);
        }
        assert_eq!(redacted_detail(b"The role is \"x\".", "42501"), None);
    }
}
