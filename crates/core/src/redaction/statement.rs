//! Which statements of a text call a function that takes or gives a secret.

use std::collections::HashMap;
use std::ops::Range;

use super::identifier::identifier;
use super::lexer::{Backslash, Kind, Lexer, Token};
use super::names::{Named, Names};
use super::quotes::undouble;

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
    /// What a backslash in it is.
    pub backslash: Backslash,
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

    /// Takes time in proportion to the text, and memory in proportion to the calls in it.
    pub fn read(&self, text: &[u8]) -> Reading {
        let backslash = self.backslash_in(text);
        let mut reading = Reading { calls: Vec::new(), is_complete: true, backslash };
        let mut prepared = HashMap::new();
        let mut lexer = Lexer::new(text, backslash);
        let mut now = Progress::default();
        while let Some(token) = lexer.significant() {
            reading.is_complete &= token.kind != Kind::Unfinished;
            now.first = now.first.or(Some(token));
            now.look_at_kind(text, token);
            now.calls = now.calls || self.is_call(text, token, &now, &lexer, &mut prepared);
            now.before.rotate_right(1);
            now.before[0] = Some(token);
            now.open_body(text, token);
            if token.is(text, b";") && now.body == 0 {
                let call = now.end(text, token.end);
                if let Some(call) = call.filter(|_| now.calls) {
                    let name = prepared_name(text, &call.range, backslash);
                    prepared.extend(name.map(|name| (name, true)));
                    reading.calls.push(call);
                }
                now = Progress { start: token.end, ..Progress::default() };
            }
        }
        reading.calls.extend(now.end(text, text.len()).filter(|_| now.calls));
        reading
    }

    /// What a backslash in this text is: what it is now, or if the text would not be complete then,
    /// what it may have been when it was parsed.
    pub fn backslash_in(&self, text: &[u8]) -> Backslash {
        let other = match self.backslash {
            Backslash::Unknown => return Backslash::Unknown,
            _ if memchr::memchr(b'\\', text).is_none() => return Backslash::Plain,
            Backslash::Plain => Backslash::Escape,
            Backslash::Escape => Backslash::Plain,
        };
        let is_so = |backslash| is_complete(text, backslash);
        if !is_so(self.backslash) && is_so(other) { other } else { self.backslash }
    }

    /// `after`: what follows the token. `prepared`: what is known of prepared statements, by their
    /// names: do they call one?
    fn is_call(
        &self,
        text: &[u8],
        token: Token,
        now: &Progress,
        after: &Lexer<'_>,
        prepared: &mut HashMap<Vec<u8>, bool>,
    ) -> bool {
        match token.kind {
            Kind::Word | Kind::Delimited | Kind::UnicodeDelimited => {}
            Kind::Literal | Kind::DollarQuoted(_) | Kind::Unfinished => {
                return now.begins_with(text, &[b"do"]) && self.code_calls(text, token);
            }
            _ => return false,
        }
        if now.kind == Kinds::Definition {
            return false;
        }
        let mut after = after.clone();
        let Some(name) = identifier(text, token, &mut after) else { return false };
        match self.names.named(&name, token.kind == Kind::Word) {
            Some(Named::Ours) => {
                after.significant().is_some_and(|next| next.is(text, b"(")) && !now.is_mention(text)
            }
            Some(Named::Listed) => true,
            Some(Named::Execute) => after
                .significant()
                .and_then(|next| identifier(text, next, &mut after))
                .is_some_and(|name| match prepared.get(&name) {
                    Some(known) => *known,
                    None => {
                        let calls = (self.prepared)(&name);
                        prepared.insert(name, calls);
                        calls
                    }
                }),
            None => false,
        }
    }

    /// Does the string of a DO call one, or name one in a string, which may be executed?
    fn code_calls(&self, text: &[u8], token: Token) -> bool {
        let part = &text[token.start..token.end];
        let code = match (token.kind, part) {
            (Kind::DollarQuoted(mark), _) => part[mark..part.len() - mark].to_vec(),
            (Kind::Literal, [b'\'', inside @ .., b'\'']) => undouble(inside, b'\''),
            _ => return self.names.are_in_string(part),
        };
        let mut lexer = Lexer::new(&code, self.backslash_in(&code));
        while let Some(token) = lexer.significant() {
            let part = &code[token.start..token.end];
            let calls = match token.kind {
                Kind::Literal | Kind::DollarQuoted(_) | Kind::Unfinished => {
                    self.names.are_in_string(part)
                }
                _ => identifier(&code, token, &mut lexer)
                    .and_then(|name| self.names.named(&name, token.kind == Kind::Word))
                    .is_some_and(|named| named != Named::Execute),
            };
            if calls {
                return true;
            }
        }
        false
    }
}

/// Is everything in the text complete?
pub fn is_complete(text: &[u8], backslash: Backslash) -> bool {
    Lexer::new(text, backslash).all(|token| token.kind != Kind::Unfinished)
}

/// What a statement does with functions that it names.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// It has begun with CREATE, and what it creates is not known yet.
    Create,
    /// It defines something, as CREATE VIEW does: nothing is called, and the text is kept in the
    /// catalog. Whoever has DDL replicated or recorded needs it as it is.
    Definition,
    #[default]
    Call,
}

/// How far a statement has been read.
#[derive(Default)]
struct Progress {
    start: usize,
    kind: Kinds,
    first: Option<Token>,
    /// The tokens before this one, the last one first.
    before: [Option<Token>; 5],
    calls: bool,
    /// How many END are missing to the end of `BEGIN ATOMIC`, which has semicolons of its own.
    body: usize,
}

impl Progress {
    fn look_at_kind(&mut self, text: &[u8], token: Token) {
        const BETWEEN: [&[u8]; 7] =
            [b"or", b"replace", b"temp", b"temporary", b"recursive", b"constraint", b"event"];
        const DEFINED: [&[u8]; 7] =
            [b"function", b"procedure", b"view", b"rule", b"trigger", b"policy", b"aggregate"];
        let is = |words: &[&[u8]]| words.iter().any(|word| token.is(text, word));
        self.kind = match self.kind {
            Kinds::Call if self.first == Some(token) && is(&[b"create"]) => Kinds::Create,
            Kinds::Create if is(&BETWEEN) => Kinds::Create,
            Kinds::Create if is(&DEFINED) => Kinds::Definition,
            Kinds::Create => Kinds::Call,
            known => known,
        };
    }

    fn open_body(&mut self, text: &[u8], token: Token) {
        let after_begin = self.before[1].is_some_and(|token| token.is(text, b"begin"));
        if (after_begin && token.is(text, b"atomic")) || (self.body > 0 && token.is(text, b"case"))
        {
            self.body += 1;
        } else if self.body > 0 && token.is(text, b"end") {
            self.body -= 1;
        }
    }

    fn begins_with(&self, text: &[u8], words: &[&[u8]]) -> bool {
        self.first.is_some_and(|first| words.iter().any(|word| first.is(text, word)))
    }

    /// Is what follows the name of a function that a command is about, as in `COMMENT ON FUNCTION`,
    /// and not a call?
    fn is_mention(&self, text: &[u8]) -> bool {
        const COMMANDS: [&[u8]; 7] =
            [b"alter", b"comment", b"create", b"drop", b"grant", b"revoke", b"security"];
        const KINDS: [&[u8]; 3] = [b"function", b"procedure", b"routine"];
        let is_point = |i: usize| self.before[i].is_some_and(|token| token.is(text, b"."));
        let schemas = usize::from(is_point(0)) + usize::from(is_point(0) && is_point(2));
        let lead = self.before[2 * schemas];
        self.begins_with(text, &COMMANDS)
            && lead.is_some_and(|lead| KINDS.iter().any(|kind| lead.is(text, kind)))
    }

    /// The statement, if there is one.
    fn end(&self, text: &[u8], end: usize) -> Option<Call> {
        self.first?;
        Some(Call { range: self.start..end, is_code: self.begins_with(text, &[b"do"]) })
    }
}

/// The name that a PREPARE gives.
fn prepared_name(text: &[u8], statement: &Range<usize>, backslash: Backslash) -> Option<Vec<u8>> {
    let text = &text[statement.clone()];
    let mut lexer = Lexer::new(text, backslash);
    lexer.significant().filter(|first| first.is(text, b"prepare"))?;
    let name = lexer.significant()?;
    identifier(text, name, &mut lexer)
}
