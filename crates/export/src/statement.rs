//! Interprets the statements of a dump.

const SCHEMA: &str = "password_verify";

/// A table of that schema which is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Account,
    BlindIndexKey,
    Credential,
    Secret,
    Vault,
}

impl Table {
    const ALL: [Self; 5] =
        [Self::Account, Self::BlindIndexKey, Self::Credential, Self::Secret, Self::Vault];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::BlindIndexKey => "blind_index_key",
            Self::Credential => "credential",
            Self::Secret => "secret",
            Self::Vault => "vault",
        }
    }
}

/// The meaning of a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    /// A COPY of a table of ours with these columns: rows follow.
    Ours(Table, Vec<String>),
    /// A COPY of another table: rows follow.
    Copy,
    /// An INSERT into a table of ours, which is not read.
    Insert(Table),
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
                Some(rest) => match ours(rest).map(|(table, rest)| (table, columns(rest))) {
                    Some((table, Some(names))) => Self::Ours(table, names),
                    _ => Self::Copy,
                },
                None => Self::Other,
            };
        }
        if let Some(rest) = text.strip_prefix("INSERT INTO ") {
            return ours(rest).map_or(Self::Other, |(table, _)| Self::Insert(table));
        }
        match text.strip_prefix("SET ").and_then(|rest| rest.split_once(" = ")) {
            Some(("client_encoding", value)) => Self::Encoding(value.trim_matches('\'').into()),
            Some(("standard_conforming_strings", value)) => Self::Escapes(value == "off"),
            _ => Self::Other,
        }
    }
}

/// The columns after the name of a table: ` (blind_index, user_id)`.
fn columns(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix(" (")?;
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

/// The table of ours whose name the text begins with, and the text after that.
fn ours(text: &str) -> Option<(Table, &str)> {
    let (schema, rest) = name(text)?;
    let (table, rest) = name(rest.strip_prefix('.')?)?;
    let table = Table::ALL.into_iter().find(|it| schema == SCHEMA && it.name() == table)?;
    Some((table, rest))
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
    use Statement::{Copy, Encoding, Escapes, Insert, Other, Ours};
    use Table::{BlindIndexKey, Credential, Secret};

    #[test]
    fn statements_of_dumps() {
        let columns =
            |table, names: &[&str]| Ours(table, names.iter().map(|name| (*name).into()).collect());
        for (text, expected) in [
            (
                "COPY password_verify.credential (a, b_1) FROM stdin",
                columns(Credential, &["a", "b_1"]),
            ),
            (
                r#"COPY "password_verify"."credential" ("a", "b "", c", d) FROM stdin"#,
                columns(Credential, &["a", "b \", c", "d"]),
            ),
            ("COPY password_verify.secret (a) FROM stdin", columns(Secret, &["a"])),
            ("COPY password_verify.blind_index_key (a) FROM stdin", columns(BlindIndexKey, &["a"])),
            ("COPY password_verify.event (a) FROM stdin", Copy),
            ("COPY public.credential (a) FROM stdin", Copy),
            (r#"COPY "password_verify.credential" (a) FROM stdin"#, Copy),
            (r#"COPY public."x password_verify.credential (a)" (a) FROM stdin"#, Copy),
            ("COPY public.empty  FROM stdin", Copy),
            ("COPY public.empty TO stdout", Other),
            ("INSERT INTO password_verify.credential VALUES ('a')", Insert(Credential)),
            (r#"INSERT INTO "password_verify".credential (a) VALUES ('a')"#, Insert(Credential)),
            ("INSERT INTO password_verify.secret VALUES ('a')", Insert(Secret)),
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
