//! Reads the rows of a plain-text dump that are exported, one after the other.

use password_verify_core::kept::blind_index::IndexKey;
use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::row_mac::Installation;

use crate::account::Accounts;
use crate::args::Stream;
use crate::failure::Failure;
use crate::field::{Columns, bytea};
use crate::input::{Input, Piece};
use crate::kept::{Kept, SECRET};
use crate::progress::Progress;
use crate::row::{ACCOUNT, CREDENTIAL, Row};
use crate::sql::Sql;
use crate::statement::{Statement, Table};
use crate::vault::{VAULT, Vault};

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
    wanted: Wanted,
    /// The state of the accounts, after their section has been read.
    accounts: Option<Accounts>,
    /// What rows are bound to, after the section of the key that says so.
    installations: Option<Vec<Installation>>,
    /// Whether these sections were found.
    hashes: bool,
    secrets: bool,
}

/// What is to be exported.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub hashes: bool,
    pub secrets: bool,
    /// Vaults to open.
    pub vaults: bool,
}

enum Place {
    Statements,
    /// In the rows of another table.
    Others,
    Accounts(Columns<7>),
    IndexKeys(Columns<1>),
    Hashes(Columns<7>),
    Secrets(Columns<13>),
    Vaults(Columns<4>),
}

/// Where a row is in the dump.
pub struct At {
    /// The line number, counted from 1.
    pub line: u64,
    /// The column of its number.
    pub column: &'static str,
    /// What stands there, if it is a number.
    pub number: Option<String>,
}

/// A row that was found.
pub enum Found {
    Hash(At, Box<Row>),
    Secret(At, Box<Kept>),
    Vault(Vault),
    /// A line of a section with hashes or secrets that is not a row.
    Malformed(At),
}

impl Dump {
    /// Opens a plain-text dump.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it cannot be opened or has another format.
    pub fn open(stream: &Stream, wanted: Wanted) -> Result<Self, Failure> {
        let name = match stream {
            Stream::File(file) if file.is_dir() => {
                return Err(Failure::Failed(format!("the dump is {CUSTOM}")));
            }
            Stream::File(file) => file.display().to_string(),
            Stream::Standard => "standard input".into(),
        };
        let input = Input::open(stream).map_err(|error| Failure::read(&name, &error))?;
        Ok(Self::of(input, wanted))
    }

    fn of(input: Input, wanted: Wanted) -> Self {
        Self {
            input,
            sql: Sql::new(),
            place: Place::Statements,
            wanted,
            accounts: None,
            installations: None,
            hashes: false,
            secrets: false,
        }
    }

    /// What the rows read last are bound to: one installation, if the dump is whole.
    pub fn installations(&self) -> &[Installation] {
        self.installations.as_deref().unwrap_or_default()
    }

    /// The next row; `None` after the end of a dump that had all sections, even empty ones.
    ///
    /// # Errors
    /// [`Failure::Failed`]. It is not known then whether there are more rows.
    pub fn next(
        &mut self,
        progress: &Progress,
        ring: Option<&Keyring>,
    ) -> Result<Option<Found>, Failure> {
        loop {
            let first = self.input.bytes == 0;
            progress.at(self.input.bytes);
            let read = self.input.next().map_err(|error| Failure::read("the dump", &error))?;
            let Some(piece) = read else { return self.end() };
            if first {
                is_plain(&piece)?;
            }
            if let Place::Statements = self.place {
                if let Some(copy) = statements(&mut self.sql, &piece, self.wanted)? {
                    self.place = self.enter(copy)?;
                }
            } else if piece.line() == Some(b"\\.") {
                self.place = Place::Statements;
            } else if piece.begins {
                let found = match &self.place {
                    Place::Hashes(columns) => {
                        let row = piece.line().and_then(|line| Row::read(line, columns));
                        let number = columns.number(piece.bytes);
                        let at = At { line: self.input.line, column: "blind_index", number };
                        Some(match (row, &self.accounts) {
                            (Some(mut row), Some(accounts)) => {
                                row.judge(accounts.get(at.number.as_deref()));
                                Found::Hash(at, Box::new(row))
                            }
                            _ => Found::Malformed(at),
                        })
                    }
                    Place::Secrets(columns) => {
                        let row = piece.line().and_then(|line| Kept::read(line, columns));
                        let number = columns.number(piece.bytes);
                        let at = At { line: self.input.line, column: "key", number };
                        Some(match row {
                            Some(row) => Found::Secret(at, Box::new(row)),
                            None => Found::Malformed(at),
                        })
                    }
                    Place::Vaults(columns) => {
                        let row = piece.line().and_then(|line| Vault::read(line, columns));
                        row.filter(Vault::is_locked).map(Found::Vault)
                    }
                    Place::Accounts(columns) => {
                        if let (Some(line), Some(accounts)) = (piece.line(), &mut self.accounts) {
                            accounts.add(line, columns, ring);
                        }
                        None
                    }
                    Place::IndexKeys(columns) => {
                        let of = piece.line().and_then(|line| installation(line, columns));
                        // Two first records may have brought the same key.
                        if let (Some(of), Some(all)) = (of, &mut self.installations)
                            && !all.contains(&of)
                        {
                            all.push(of);
                        }
                        None
                    }
                    Place::Statements | Place::Others => None,
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
    }

    /// The place after a COPY.
    fn enter(&mut self, copy: Statement) -> Result<Place, Failure> {
        let Statement::Ours(table, names) = copy else { return Ok(Place::Others) };
        let Wanted { hashes, secrets, vaults } = self.wanted;
        let missing = |column| {
            Failure::Failed(format!("password_verify.{} has no column {column}", table.name()))
        };
        Ok(match table {
            Table::Account if hashes => {
                self.accounts = Some(Accounts::default());
                Place::Accounts(Columns::of(&names, ACCOUNT).map_err(missing)?)
            }
            Table::BlindIndexKey if secrets => {
                self.installations = Some(Vec::new());
                Place::IndexKeys(Columns::of(&names, ["key"]).map_err(missing)?)
            }
            Table::Credential if hashes => {
                let columns = Columns::of(&names, CREDENTIAL).map_err(missing)?;
                if std::mem::replace(&mut self.hashes, true) {
                    return Err(second(self.input.line, "passwords"));
                }
                if self.accounts.is_none() {
                    return Err(no_accounts());
                }
                Place::Hashes(columns)
            }
            Table::Secret if secrets => {
                if std::mem::replace(&mut self.secrets, true) {
                    return Err(second(self.input.line, "secrets"));
                }
                if self.installations.is_none() {
                    return Err(no_index_key());
                }
                let columns = Columns::of(&names, SECRET).map_err(missing)?;
                // The MAC covers every column.
                if names.len() > SECRET.len() {
                    return Err(Failure::Failed(
                        "password_verify.secret has columns that a later version of this command knows"
                            .into(),
                    ));
                }
                Place::Secrets(columns)
            }
            Table::Vault if vaults => Place::Vaults(Columns::of(&names, VAULT).map_err(missing)?),
            _ => Place::Others,
        })
    }

    fn end(&self) -> Result<Option<Found>, Failure> {
        let Wanted { hashes, secrets, .. } = self.wanted;
        let missing = match (hashes && !self.hashes, secrets && !self.secrets) {
            (true, _) => Some((Table::Credential, "passwords")),
            (_, true) => Some((Table::Secret, "secrets")),
            _ => None,
        };
        Err(Failure::Failed(match (&self.place, missing) {
            (Place::Hashes(_) | Place::Secrets(_) | Place::Vaults(_), _) => {
                "the dump is cut off: it had more rows than were read".into()
            }
            (_, None) => return Ok(None),
            (Place::Statements, Some((table, _))) => format!(
                "the dump has no section COPY password_verify.{}: is it whole, of the right database, \
                 with data, and in plain text?",
                table.name()
            ),
            (_, Some((_, what))) => format!("the dump is cut off, before the {what}"),
        }))
    }
}

/// What rows are bound to under that key of the blind index.
fn installation(line: &[u8], columns: &Columns<1>) -> Option<Installation> {
    let [key] = columns.fields(line)?;
    IndexKey::new(&bytea(key)?).map(|key| key.installation())
}

fn is_plain(piece: &Piece) -> Result<(), Failure> {
    match NOT_PLAIN.iter().find(|(magic, _)| piece.bytes.starts_with(magic)) {
        Some((_, how)) => Err(Failure::Failed(format!("the dump is {how}"))),
        None => Ok(()),
    }
}

/// Reads the statements of a piece, up to one that begins rows. A line with such a statement has
/// nothing after it.
fn statements(sql: &mut Sql, piece: &Piece, wanted: Wanted) -> Result<Option<Statement>, Failure> {
    let mut from = 0;
    while let Some((statement, end)) = sql.next(piece, from) {
        from = end;
        match Statement::read(&statement) {
            copy @ (Statement::Ours(..) | Statement::Copy) => return Ok(Some(copy)),
            Statement::Insert(table)
                if (table == Table::Credential && wanted.hashes)
                    || (table == Table::Secret && wanted.secrets) =>
            {
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
            Statement::Insert(_) | Statement::Encoding(_) | Statement::Other => {}
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

fn no_index_key() -> Failure {
    Failure::Failed(
        "the dump has no section COPY password_verify.blind_index_key before that of the secrets: whether they \
         are as they were written cannot be told without it; give pg_dump both tables"
            .into(),
    )
}

fn second(line: u64, what: &str) -> Failure {
    Failure::Failed(format!(
        "line {line}: the dump has the {what} of another database too; nothing of that was written: \
         dump one database at a time, with pg_dump"
    ))
}

#[cfg(test)]
mod tests;
