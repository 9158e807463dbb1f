//! Which statements of a text call a function that takes or gives a secret.

use std::collections::HashSet;
use std::ops::Range;

use super::identifier::identifier;
use super::lexer::{Backslash, Kind, Lexer, Token};
use super::names::{Named, Names};

/// What is known beside a text.
pub struct Reader<'a> {
    pub names: &'a Names,
    pub backslash: Backslash,
    /// Does the session's prepared statement of this name call one?
    pub prepared: &'a dyn Fn(&[u8]) -> bool,
}

/// What was found in a text.
pub struct Reading {
    /// The statements that call one, in their order.
    pub calls: Vec<Call>,
    /// Is everything in it complete? Otherwise nobody knows what is a literal and what is not.
    pub is_complete: bool,
}

/// A statement that calls one.
#[derive(PartialEq, Eq, Debug)]
pub struct Call {
    /// With the semicolon after it.
    pub range: Range<usize>,
    /// Is it `DO`, whose string is code?
    pub is_code: bool,
}

impl Reader<'_> {
    /// Does any statement call one?
    pub fn calls(&self, text: &[u8]) -> bool {
        self.names.may_be_in(text) && !self.read(text).calls.is_empty()
    }

    /// Takes time and memory in proportion to the text.
    pub fn read(&self, text: &[u8]) -> Reading {
        let mut reading = Reading { calls: Vec::new(), is_complete: true };
        let mut prepared = HashSet::new();
        let mut lexer = Lexer::new(text, self.backslash);
        let (mut start, mut first, mut calls, mut has_body) = (0, None, false, false);
        let is =
            |token: Option<Token>, word: &[u8]| token.is_some_and(|token| token.is(text, word));
        while let Some(token) = lexer.next() {
            if token.kind == Kind::Space {
                continue;
            }
            first = first.or(Some(token));
            reading.is_complete &= token.kind != Kind::Unfinished;
            // The body of a function in SQL has semicolons of its own.
            has_body |= token.is(text, b"atomic");
            calls = calls || self.is_call(text, token, &lexer, &prepared, is(first, b"do"));
            let ends = !has_body && token.is(text, b";");
            if ends || token.end == text.len() {
                let range = start..token.end;
                if calls && is(first, b"prepare") {
                    prepared.extend(prepared_name(text, &range, self.backslash));
                }
                if calls {
                    reading.calls.push(Call { range, is_code: is(first, b"do") });
                }
                (start, first, calls) = (token.end, None, false);
            }
        }
        if calls {
            reading.calls.push(Call { range: start..text.len(), is_code: is(first, b"do") });
        }
        reading
    }

    /// `after`: what follows the token. `prepared`: statements that this text has prepared, and that
    /// call one.
    fn is_call(
        &self,
        text: &[u8],
        token: Token,
        after: &Lexer<'_>,
        prepared: &HashSet<Vec<u8>>,
        in_code: bool,
    ) -> bool {
        match token.kind {
            Kind::Word | Kind::Delimited | Kind::UnicodeDelimited => {}
            Kind::Literal | Kind::DollarQuoted(_) | Kind::Unfinished if in_code => {
                return self.names.are_in_string(&text[token.start..token.end]);
            }
            _ => return false,
        }
        let mut after = after.clone();
        let Some(name) = identifier(text, token, &mut after) else { return false };
        match self.names.named(&name, token.kind == Kind::Word) {
            Some(Named::Ours) => after.significant().is_some_and(|next| next.is(text, b"(")),
            Some(Named::Listed) => true,
            Some(Named::Execute) => after
                .significant()
                .and_then(|next| identifier(text, next, &mut after))
                .is_some_and(|name| prepared.contains(&name) || (self.prepared)(&name)),
            None => false,
        }
    }
}

/// The name that a PREPARE gives.
fn prepared_name(text: &[u8], statement: &Range<usize>, backslash: Backslash) -> Option<Vec<u8>> {
    let text = &text[statement.clone()];
    let mut lexer = Lexer::new(text, backslash);
    lexer.significant()?;
    let name = lexer.significant()?;
    identifier(text, name, &mut lexer)
}
