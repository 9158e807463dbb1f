//! Fields of several lines: the context of an error, and who waits for whom in a deadlock.

use super::lexer::{Backslash, Kind, Lexer};
use super::mask::VALUE;
use super::statement::Reader;
use super::values::redacted_quotes;

/// Lines of a context that begin so name a function and a line of it, and no value.
const HARMLESS: [&[u8]; 2] = [b"SQL function ", b"PL/"];
/// What the lines after a value begin with. A value may have line ends of its own.
const BEGINNINGS: [&[u8]; 4] = [b"SQL ", b"PL/", b"COPY ", b"JSON "];

impl Reader<'_> {
    /// The context of an error. `all`: its statement calls a function that takes or gives a secret,
    /// so that every value is redacted; otherwise only the statements that call one are.
    pub fn redacted_context(&self, context: &[u8], all: bool) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(context.len());
        let mut rest = context;
        while !rest.is_empty() {
            let line = &rest[..line_end(rest)];
            let taken = if let Some((open, close)) = quoted_sql(line) {
                let end = closing(&rest[open..], close, self.backslash).map(|n| open + n);
                let sql = &rest[open..end.unwrap_or(rest.len())];
                redacted.extend_from_slice(&rest[..open]);
                redacted.extend(if all {
                    self.all_redacted(sql)
                } else {
                    self.redacted_cut(sql).unwrap_or(sql.to_vec())
                });
                open + sql.len()
            } else if all && !HARMLESS.iter().any(|one| line.starts_with(one)) {
                self.redacted_value(rest, line, &mut redacted)
            } else {
                redacted.extend_from_slice(line);
                line.len()
            };
            rest = &rest[taken..];
            // What is left of the line: a closing quotation mark, and the line's end.
            let after = (line_end(rest) + 1).min(rest.len());
            redacted.extend_from_slice(&rest[..after]);
            rest = &rest[after..];
        }
        redacted
    }

    /// A line such as `COPY t, line 1, column a: "…"` or `portal with parameters: $1 = '…'`; returns
    /// how much was taken.
    fn redacted_value(&self, rest: &[u8], line: &[u8], redacted: &mut Vec<u8>) -> usize {
        let dollar = memchr::memmem::find(line, b"$")
            .filter(|at| line[at + 1..].first().is_some_and(u8::is_ascii_digit));
        if let Some(from) = dollar {
            // Parameters are quoted, whatever `standard_conforming_strings` says.
            let mut lexer = Lexer::new(rest, Backslash::Plain).within(from..rest.len());
            let ends = |start: usize, end: usize| rest[start..end].contains(&b'\n');
            let end = lexer.find(|token| token.kind == Kind::Space && ends(token.start, token.end));
            let end = end.map_or(rest.len(), |token| token.start);
            redacted.extend_from_slice(&rest[..from]);
            redacted.extend(self.all_redacted(&rest[from..end]));
            return end;
        }
        let Some(colon) = memchr::memmem::find(line, b": ") else {
            redacted.extend(redacted_quotes(line));
            return line.len();
        };
        redacted.extend_from_slice(&line[..colon + 2]);
        redacted.extend_from_slice(VALUE);
        let begins = |at: &usize| BEGINNINGS.iter().any(|one| rest[at + 1..].starts_with(one));
        memchr::memchr_iter(b'\n', rest).find(begins).unwrap_or(rest.len())
    }

    /// The detail of a deadlock in the log: `Process 4711: SELECT …`, a line or more for each.
    pub fn redacted_processes(&self, detail: &[u8]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(detail.len());
        let mut rest = detail;
        while !rest.is_empty() {
            let Some(head) = process(rest) else {
                let after = (line_end(rest) + 1).min(rest.len());
                redacted.extend_from_slice(&rest[..after]);
                rest = &rest[after..];
                continue;
            };
            let mut tokens = Lexer::new(rest, Backslash::Unknown).within(head..rest.len());
            let next = tokens.find_map(|token| {
                let line = token.start + memchr::memchr(b'\n', &rest[token.start..token.end])?;
                (token.kind == Kind::Space && process(&rest[line + 1..]).is_some())
                    .then_some(line + 1)
            });
            let sql = &rest[head..next.unwrap_or(rest.len())];
            redacted.extend_from_slice(&rest[..head]);
            let other = Reader { backslash: Backslash::Unknown, ..*self };
            redacted.extend(other.redacted_cut(sql).unwrap_or(sql.to_vec()));
            rest = &rest[head + sql.len()..];
        }
        redacted
    }
}

fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).unwrap_or(text.len())
}

/// Where the SQL begins in a line such as `SQL statement "SELECT …"`, and the mark that ends it.
fn quoted_sql(line: &[u8]) -> Option<(usize, &'static [u8])> {
    // `SQL statement "…"`, `PL/pgSQL assignment "…"`, and from 18 on `PL/pgSQL expression "…"`; the line
    // of a function quotes nothing.
    let of_language = line.starts_with(b"PL/") && !line.starts_with(b"PL/pgSQL function ");
    let quotes = line.starts_with(b"SQL") || of_language;
    if !quotes || line.starts_with(HARMLESS[0]) {
        return None;
    }
    let marks: [(&[u8], &'static [u8]); 3] =
        [(b"\"", b"\""), ("»".as_bytes(), "«".as_bytes()), ("«".as_bytes(), "»".as_bytes())];
    let found = marks
        .iter()
        .filter_map(|(open, close)| Some((memchr::memmem::find(line, open)? + open.len(), *close)));
    found.min_by_key(|(at, _)| *at)
}

/// Where SQL ends that is quoted without escapes: at a mark outside of its literals with a line's end
/// behind it.
fn closing(text: &[u8], close: &[u8], backslash: Backslash) -> Option<usize> {
    Lexer::new(text, backslash).find_map(|token| {
        let ends = |at: usize| {
            text[at..].starts_with(close)
                && matches!(text.get(at + close.len()), None | Some(b'\n'))
        };
        let last = token.end.checked_sub(close.len())?;
        // A mark that is no ASCII sign is a part of the word before it.
        if ends(token.start) {
            Some(token.start)
        } else {
            (token.kind == Kind::Word && last >= token.start && ends(last)).then_some(last)
        }
    })
}

/// The length of `Process 4711: ` at the beginning of a line, in any language.
fn process(line: &[u8]) -> Option<usize> {
    let line = &line[..line_end(line)];
    let colon = memchr::memmem::find(line, b": ")?;
    let space = memchr::memrchr(b' ', &line[..colon])?;
    let number = &line[space + 1..colon];
    let words = !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
        && !line[..space].contains(&b' ');
    words.then_some(colon + 2)
}
