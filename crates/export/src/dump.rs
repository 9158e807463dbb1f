//! Reads the credential rows of a plain-text dump, one after the other.

use std::path::Path;

use password_verify_core::kept::keyring::Keyring;

use crate::account::Accounts;
use crate::failure::Failure;
use crate::input::{Input, Piece};
use crate::progress::Progress;
use crate::row::{ACCOUNT, CREDENTIAL, Columns, Row, number};
use crate::sql::Sql;
use crate::statement::Statement;

/// How dumps of other formats begin, and the advice for them.
const NOT_PLAIN: [(&[u8], &str); 4] = [
    (b"PGDMP", CUSTOM),
    (b"toc.dat\0", CUSTOM),
    (b"\x1f\x8b", "compressed: gunzip -c FILE | password_verify_export ... -"),
    (b"\x28\xb5\x2f\xfd", "compressed: zstd -dc FILE | password_verify_export ... -"),
];
const CUSTOM: &str =
    "not in plain text: pg_restore -f - FILE | password_verify_export --output FILE -";

pub struct Dump {
    input: Input,
    sql: Sql,
    place: Place,
    /// The state of the accounts, after their section has been read.
    accounts: Option<Accounts>,
    /// Whether a section of ours was found.
    found: bool,
}

enum Place {
    Statements,
    /// In the rows of another table.
    Others,
    Accounts(Columns),
    Ours(Columns),
}

/// A line of the section with credentials.
pub struct Line {
    /// The line number in the dump, counted from 1.
    pub line: u64,
    /// The `blind_index`, if the line has one.
    pub number: Option<String>,
    /// `None` if the line is not a row.
    pub row: Option<Row>,
}

impl Dump {
    /// Opens a plain-text dump.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it cannot be opened or has another format.
    pub fn open(file: Option<&Path>) -> Result<Self, Failure> {
        if file.is_some_and(Path::is_dir) {
            return Err(Failure::Failed(format!("the dump is {CUSTOM}")));
        }
        let input = Input::open(file).map_err(|error| {
            let name = file.map_or("standard input".into(), |file| file.display().to_string());
            Failure::read(&name, &error)
        })?;
        Ok(Self::of(input))
    }

    fn of(input: Input) -> Self {
        Self { input, sql: Sql::new(), place: Place::Statements, accounts: None, found: false }
    }

    /// The next row; `None` after the end of a dump that had a section of ours, even an empty one.
    ///
    /// # Errors
    /// [`Failure::Failed`]. It is not known then whether there are more rows.
    pub fn next(
        &mut self,
        progress: &Progress,
        ring: Option<&Keyring>,
    ) -> Result<Option<Line>, Failure> {
        loop {
            let first = self.input.bytes == 0;
            progress.at(self.input.bytes);
            let read = self.input.next().map_err(|error| Failure::read("the dump", &error))?;
            let Some(piece) = read else { return self.end() };
            if first {
                is_plain(&piece)?;
            }
            match &self.place {
                Place::Statements => {
                    if let Some(place) = statements(&mut self.sql, &piece)? {
                        match place {
                            Place::Ours(_) if std::mem::replace(&mut self.found, true) => {
                                return Err(second(self.input.line));
                            }
                            Place::Ours(_) if self.accounts.is_none() => return Err(no_accounts()),
                            Place::Accounts(_) => self.accounts = Some(Accounts::default()),
                            _ => {}
                        }
                        self.place = place;
                    }
                }
                Place::Others | Place::Accounts(_) | Place::Ours(_)
                    if piece.line() == Some(b"\\.") =>
                {
                    self.place = Place::Statements;
                }
                Place::Accounts(columns) if piece.begins => {
                    if let (Some(line), Some(accounts)) = (piece.line(), &mut self.accounts) {
                        accounts.add(line, columns, ring);
                    }
                }
                Place::Ours(columns) if piece.begins => {
                    let mut row = piece.line().and_then(|line| Row::read(line, columns));
                    let number = number(piece.bytes, columns);
                    if let (Some(row), Some(accounts)) = (&mut row, &self.accounts) {
                        row.judge(accounts.get(number.as_deref()));
                    }
                    return Ok(Some(Line { line: self.input.line, number, row }));
                }
                Place::Others | Place::Accounts(_) | Place::Ours(_) => {}
            }
        }
    }

    fn end(&self) -> Result<Option<Line>, Failure> {
        let failed = |text: &str| Err(Failure::Failed(text.into()));
        match self.place {
            Place::Statements if self.found => Ok(None),
            Place::Statements => failed(
                "the dump has no section COPY password_verify.credential: is it whole, of the right \
                 database, with data, and in plain text?",
            ),
            Place::Others | Place::Accounts(_) if !self.found => {
                failed("the dump is cut off, before the passwords")
            }
            Place::Others | Place::Accounts(_) => Ok(None),
            Place::Ours(_) => failed("the dump is cut off: it had more rows than were read"),
        }
    }
}

fn is_plain(piece: &Piece) -> Result<(), Failure> {
    match NOT_PLAIN.iter().find(|(magic, _)| piece.bytes.starts_with(magic)) {
        Some((_, how)) => Err(Failure::Failed(format!("the dump is {how}"))),
        None => Ok(()),
    }
}

/// Reads the statements of a piece. A line with a statement that begins rows has nothing after it.
fn statements(sql: &mut Sql, piece: &Piece) -> Result<Option<Place>, Failure> {
    let mut from = 0;
    while let Some((statement, end)) = sql.next(piece, from) {
        from = end;
        match Statement::read(&statement) {
            Statement::Credentials(names) => {
                let columns = Columns::of(&names, CREDENTIAL).map_err(|missing| {
                    Failure::Failed(format!("password_verify.credential has no column {missing}"))
                })?;
                return Ok(Some(Place::Ours(columns)));
            }
            Statement::Accounts(names) => {
                let columns = Columns::of(&names, ACCOUNT).map_err(|missing| {
                    Failure::Failed(format!("password_verify.account has no column {missing}"))
                })?;
                return Ok(Some(Place::Accounts(columns)));
            }
            Statement::Copy => return Ok(Some(Place::Others)),
            Statement::Insert => {
                return Err(Failure::Failed(
                    "the dump was made with --inserts, --column-inserts or --rows-per-insert: make it \
                     without them"
                        .into(),
                ));
            }
            Statement::Encoding(name) if name != "UTF8" => {
                return Err(Failure::Failed(format!(
                    "the dump is in the encoding {name}: make it with pg_dump --encoding=UTF8"
                )));
            }
            Statement::Encoding(_) | Statement::Other => {}
            Statement::Escapes(escapes) => sql.escapes = escapes,
        }
    }
    Ok(None)
}

fn no_accounts() -> Failure {
    Failure::Failed(
        "the dump has no section COPY password_verify.account before that of the passwords: who is disabled \
         is not in it; give pg_dump both tables"
            .into(),
    )
}

fn second(line: u64) -> Failure {
    Failure::Failed(format!(
        "line {line}: the dump has the passwords of another database too; nothing of that was written: \
         dump one database at a time, with pg_dump"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const ACCOUNTS: &str = "COPY password_verify.account (blind_index, user_id, disabled_at, change_required_at, tokens_revoked_at, created_at, seal) FROM stdin;\n\\.\n";
    const HEAD: &str = "COPY password_verify.credential (blind_index, user_id, verifier, must_change, expires_at, created_at, changed_at) FROM stdin;\n";

    fn row(user: &str) -> String {
        let now = "2026-01-02 03:04:05+00";
        format!("0123abcd-0000-0000-0000-000000000000\t{user}\t$x\tf\t\\N\t{now}\t{now}\n")
    }

    /// The user ids, with `-` for lines that are not rows, and the final result.
    fn read(text: &str) -> (Vec<(u64, String)>, Option<String>) {
        let mut dump = Dump::of(Input::of(Cursor::new(text.to_owned().into_bytes())));
        let (mut found, progress) = (Vec::new(), Progress::none());
        loop {
            match dump.next(&progress, None) {
                Ok(Some(Line { line, row, .. })) => {
                    found.push((line, row.map_or("-".into(), |row| row.user_id)))
                }
                Ok(None) => return (found, None),
                Err(failure) => return (found, Some(failure.to_string())),
            }
        }
    }

    fn failure(text: &str) -> String {
        read(text).1.unwrap()
    }

    #[test]
    fn rows_of_our_section_only() {
        let fake = format!("{HEAD}{}\\.\n", row("fake"));
        let (a, b) = (row("a"), row("b\\\\"));
        let text = format!(
            "{ACCOUNTS}SET client_encoding = 'UTF8';\nCREATE FUNCTION f() AS $_$\n{fake}$_$;\nCOPY public.t (x) FROM stdin;\n{HEAD}{a}\\.\n\
             COMMENT ON TABLE t IS 'it''s\n{fake}';\n\n{HEAD}{a}{b}\\.\n\nCOPY public.u (x) FROM stdin;\n{HEAD}{a}\\.\n"
        );
        assert_eq!(read(&text), (vec![(20, "a".into()), (21, "b\\".into())], None));
        assert_eq!(read(&text.replace('\n', "\r\n")), read(&text));
        assert_eq!(read(&format!("{ACCOUNTS}{HEAD}\\.\n")), (vec![], None));
        assert!(
            failure(&format!("{HEAD}\\.\n")).contains("no section COPY password_verify.account")
        );
    }

    #[test]
    fn what_is_no_row_is_told() {
        let long = "x".repeat(200_000);
        let text = format!("{ACCOUNTS}{HEAD}{}\n\n{long}\n{}\\.\n", row("a").trim_end(), row("b"));
        let told: Vec<_> =
            [(4, "a"), (5, "-"), (6, "-"), (7, "b")].map(|(n, s)| (n, s.into())).into();
        assert_eq!(read(&text), (told, None));
    }

    #[test]
    fn a_dump_that_is_cut_off() {
        let text = format!(
            "SET x = 1;\nCOPY a.b (c) FROM stdin;\n1\n2\n\\.\n{ACCOUNTS}{HEAD}{}{}\\.\n",
            row("a"),
            row("b")
        );
        let whole = read(&text);
        for end in 0..text.len() {
            let (rows, ended) = read(&text[..end]);
            assert!(ended.is_some(), "{end}");
            let complete = rows.iter().filter(|(_, user)| user != "-");
            assert!(complete.zip(&whole.0).all(|(cut, whole)| cut == whole), "{end}");
        }
    }

    #[test]
    fn other_dumps_are_refused() {
        for (text, said) in [
            ("", "no section"),
            ("SELECT 1;\n", "no section"),
            ("COPY a.b (c) FROM stdin;\n1\n", "cut off, before"),
            ("PGDMP\u{1}", "pg_restore -f - FILE | password_verify_export"),
            ("INSERT INTO password_verify.credential VALUES ('a');\n", "without them"),
            ("INSERT INTO \"password_verify\".\"credential\" (a) VALUES\n\t('a');\n", "--inserts"),
            ("SET client_encoding = 'LATIN1';\n", "encoding LATIN1: make it with pg_dump --enc"),
            ("COPY password_verify.credential (user_id) FROM stdin;\n", "no column blind_index"),
        ] {
            assert!(failure(text).contains(said), "{text}: {}", failure(text));
        }
        let two = format!("{ACCOUNTS}{HEAD}{}\\.\n", row("a")).repeat(2);
        let (rows, ended) = read(&two);
        assert_eq!(rows.len(), 1);
        assert!(
            ended.unwrap().starts_with("line 8: the dump has the passwords of another database")
        );
    }
}
