//! Interprets the statements of a dump.

/// The names of the schema, and of its tables of credentials and of accounts.
const SCHEMA: &str = "password_verify";
const CREDENTIAL: &str = "credential";
const ACCOUNT: &str = "account";

/// The meaning of a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    /// A COPY of credentials with these columns: rows follow.
    Credentials(Vec<String>),
    /// A COPY of accounts with these columns: rows follow.
    Accounts(Vec<String>),
    /// A COPY of another table: rows follow.
    Copy,
    /// An INSERT of credentials, which is not read.
    Insert,
    /// `SET client_encoding`.
    Encoding(String),
    /// `SET standard_conforming_strings`: whether a backslash escapes.
    Escapes(bool),
    Other,
}

impl Statement {
    pub fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        if let Some(rest) = text.strip_prefix("COPY ") {
            return match rest.strip_suffix(" FROM stdin") {
                Some(rest) => match (columns(rest, CREDENTIAL), columns(rest, ACCOUNT)) {
                    (Some(names), _) => Self::Credentials(names),
                    (None, Some(names)) => Self::Accounts(names),
                    (None, None) => Self::Copy,
                },
                None => Self::Other,
            };
        }
        if let Some(rest) = text.strip_prefix("INSERT INTO ") {
            return if is_ours(rest, CREDENTIAL).is_some() { Self::Insert } else { Self::Other };
        }
        match text.strip_prefix("SET ").and_then(|rest| rest.split_once(" = ")) {
            Some(("client_encoding", value)) => Self::Encoding(value.trim_matches('\'').into()),
            Some(("standard_conforming_strings", value)) => Self::Escapes(value == "off"),
            _ => Self::Other,
        }
    }
}

/// The columns of a table of ours: `password_verify.credential (blind_index, user_id)`.
fn columns(text: &str, table: &str) -> Option<Vec<String>> {
    let mut rest = is_ours(text, table)?.strip_prefix(" (")?;
    let mut columns = Vec::new();
    loop {
        let (column, after) = name(rest)?;
        columns.push(column);
        if after == ")" {
            return Some(columns);
        }
        rest = after.strip_prefix(", ")?;
    }
}

/// The text after the name of our table `wanted`, if the text begins with it.
fn is_ours<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let (schema, rest) = name(text)?;
    let (table, rest) = name(rest.strip_prefix('.')?)?;
    ([schema.as_str(), table.as_str()] == [SCHEMA, wanted]).then_some(rest)
}

/// A name, quoted or not, and the text after it.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([' ', ',', '.', '(', ')', '"']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].into(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => rest = after,
            None => return Some((name, after)),
        }
        name.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Statement::{Copy, Credentials, Encoding, Escapes, Insert, Other};

    #[test]
    fn statements_of_dumps() {
        let columns =
            |names: &[&str]| Credentials(names.iter().map(|name| (*name).into()).collect());
        for (text, expected) in [
            ("COPY password_verify.credential (a, b_1) FROM stdin", columns(&["a", "b_1"])),
            (
                r#"COPY "password_verify"."credential" ("a", "b "", c", d) FROM stdin"#,
                columns(&["a", "b \", c", "d"]),
            ),
            ("COPY password_verify.event (a) FROM stdin", Copy),
            ("COPY public.credential (a) FROM stdin", Copy),
            (r#"COPY "password_verify.credential" (a) FROM stdin"#, Copy),
            (r#"COPY public."x password_verify.credential (a)" (a) FROM stdin"#, Copy),
            ("COPY public.empty  FROM stdin", Copy),
            ("COPY public.empty TO stdout", Other),
            ("INSERT INTO password_verify.credential VALUES ('a')", Insert),
            (r#"INSERT INTO "password_verify".credential (a) VALUES ('a')"#, Insert),
            ("INSERT INTO password_verify.event VALUES ('a')", Other),
            ("SET client_encoding = 'LATIN1'", Encoding("LATIN1".into())),
            ("SET standard_conforming_strings = on", Escapes(false)),
            ("SET standard_conforming_strings = off", Escapes(true)),
            ("SET row_security = off", Other),
            ("", Other),
        ] {
            assert_eq!(Statement::read(text.as_bytes()), expected, "{text}");
        }
    }
}
