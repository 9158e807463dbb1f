//! Puts `'<redacted>'` in place of literals and numbers. All else stays as it is: whoever reads a log
//! still sees what was done, an injection too.

use std::ops::Range;

use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest};

use super::identifier;
use super::lexer::{Backslash, Kind, Lexer, Token};
use super::quotes::{double, undouble};
use super::statement::{Reader, Reading, is_complete};
use super::type_name::TypeName;

/// What stands in place of a literal: still one, so that the statement stays SQL.
pub const REDACTED: &[u8] = b"'<redacted>'";
/// What stands in place of a value.
pub const VALUE: &[u8] = b"<redacted>";

impl Reader<'_> {
    /// The text with the literals of those statements redacted that call a function that takes or
    /// gives a secret; `None` if none does. What is not complete is redacted as a whole.
    pub fn redacted(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.redacted_if(text, false)
    }

    /// The same for a text that may have been cut off, as in `pg_stat_activity`.
    pub fn redacted_cut(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.redacted_if(text, true)
    }

    fn redacted_if(&self, text: &[u8], may_be_cut: bool) -> Option<Vec<u8>> {
        if !self.names.may_be_in(text) {
            return None;
        }
        if text.len() > LONG {
            let mut place = text.to_vec();
            return self.redact_in_place(&mut place).then_some(place);
        }
        let reading = self.read(text);
        if reading.calls.is_empty() {
            return None;
        }
        if !reading.is_complete && !may_be_cut {
            return Some(REDACTED.to_vec());
        }
        let mut redacted = Vec::with_capacity(text.len());
        let mut done = 0;
        for call in reading.calls {
            redacted.extend_from_slice(&text[done..call.range.start]);
            done = call.range.end;
            replace(&text[call.range], call.is_code, reading.backslash, &mut redacted);
        }
        redacted.extend_from_slice(&text[done..]);
        Some(redacted)
    }

    /// The text with all literals redacted.
    pub fn all_redacted(&self, text: &[u8]) -> Vec<u8> {
        if text.len() > LONG {
            let mut place = text.to_vec();
            self.redact_all_in_place(&mut place);
            return place;
        }
        let backslash = self.backslash_in(text);
        let mut redacted = Vec::with_capacity(text.len());
        if is_complete(text, backslash) {
            replace(text, is_do(text, backslash), backslash, &mut redacted);
        } else {
            redacted.extend_from_slice(REDACTED);
        }
        redacted
    }

    /// [`Reader::redacted`] without a change of length, so that positions in the text stay right.
    /// False if nothing was to be redacted.
    pub fn redact_in_place(&self, text: &mut [u8]) -> bool {
        if !self.names.may_be_in(text) {
            return false;
        }
        let Reading { calls, is_complete, backslash } = self.read(text);
        if !is_complete && !calls.is_empty() {
            fill(text);
            return true;
        }
        for call in &calls {
            fill_all(&mut text[call.range.clone()], call.is_code, backslash);
        }
        !calls.is_empty()
    }

    /// [`Reader::all_redacted`] without a change of length.
    pub fn redact_all_in_place(&self, text: &mut [u8]) {
        let backslash = self.backslash_in(text);
        if is_complete(text, backslash) {
            fill_all(text, is_do(text, backslash), backslash);
        } else {
            fill(text);
        }
    }
}

/// A number for a redacted text, which is the same for all secrets.
pub fn fingerprint(redacted: &[u8]) -> u64 {
    let digest: [u8; 8] = Blake2b::<U8>::digest(redacted).into();
    u64::from_be_bytes(digest)
}

/// Longer texts, in bytes, do not become longer still: a number of one digit would become twelve bytes.
const LONG: usize = 64 * 1024;

/// Is the text a DO, whose string is code?
fn is_do(text: &[u8], backslash: Backslash) -> bool {
    Lexer::new(text, backslash).significant().is_some_and(|first| first.is(text, b"do"))
}

fn replace(text: &[u8], is_code: bool, backslash: Backslash, redacted: &mut Vec<u8>) {
    let mut done = 0;
    let mut hidden = Hidden::new(text, is_code, backslash);
    while let Some(range) = hidden.next() {
        redacted.extend_from_slice(&text[done..range.start]);
        done = range.end;
        let literal = &text[range];
        match quoted_code(literal, is_code && hidden.outer.is_none(), backslash) {
            Some(code) => redacted.extend(code),
            None => {
                // `u&42` has become `u& '…'`, which is no Unicode string, and `b.5` is no string of bits.
                let last = redacted.last().map(u8::to_ascii_lowercase);
                let is_prefix =
                    !literal.starts_with(b"'") && matches!(last, Some(b'b' | b'e' | b'n' | b'x'));
                if is_prefix || redacted.ends_with(b"u&") || redacted.ends_with(b"U&") {
                    redacted.push(b' ');
                }
                redacted.extend_from_slice(REDACTED);
            }
        }
    }
    redacted.extend_from_slice(&text[done..]);
}

/// The literal of a DO with the literals of its code redacted.
fn quoted_code(literal: &[u8], is_code: bool, backslash: Backslash) -> Option<Vec<u8>> {
    let inside = literal.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
    let inside = inside.filter(|_| is_code)?;
    let code = undouble(inside, b'\'');
    // One that is continued on another line, or has escapes, is code that cannot be read so.
    if double(&code, b'\'') != inside || inside.contains(&b'\\') || !is_complete(&code, backslash) {
        return None;
    }
    let mut redacted = Vec::new();
    replace(&code, false, backslash, &mut redacted);
    Some([b"'", double(&redacted, b'\'').as_slice(), b"'"].concat())
}

fn fill_all(text: &mut [u8], is_code: bool, backslash: Backslash) {
    // A text may be as long as the memory that is left.
    let mut whole = Vec::new();
    if whole.try_reserve_exact(text.len()).is_err() {
        return fill(text);
    }
    whole.extend_from_slice(text);
    for range in Hidden::new(&whole, is_code, backslash) {
        fill(&mut text[range]);
    }
}

/// Fills this space with a literal, cut where there is too little of it, and with blanks in it where
/// there is more. A number stays one, so that what stands before it keeps its meaning (`u&42`).
fn fill(space: &mut [u8]) {
    match space {
        [b'0'..=b'9', ..] => space.fill(b'0'),
        [b'.', decimals @ ..] => decimals.fill(b'0'),
        [] => {}
        [one] => *one = b'0',
        [first, content @ .., last] => {
            (*first, *last) = (b'\'', b'\'');
            content.fill(b' ');
            content.iter_mut().zip(VALUE).for_each(|(place, byte)| *place = *byte);
        }
    }
}

/// The ranges of a text that are literals or numbers.
pub struct Hidden<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    is_code: bool,
    /// Inside of a string that is code: what follows that string.
    outer: Option<Lexer<'a>>,
    backslash: Backslash,
    type_name: TypeName,
}

impl<'a> Hidden<'a> {
    /// `is_code`: dollar-quoted strings are code, of which only the literals are hidden.
    pub fn new(text: &'a [u8], is_code: bool, backslash: Backslash) -> Self {
        let (lexer, type_name) = (Lexer::new(text, backslash), TypeName::default());
        Self { text, lexer, is_code, outer: None, backslash, type_name }
    }

    fn literal(&mut self, token: Token) -> Range<usize> {
        let part = &self.text[token.start..token.end];
        let national = matches!(part, [b'n' | b'N', ..]);
        let mut end = token.end;
        if matches!(part, [b'u' | b'U', b'&', ..]) {
            let before = self.lexer.at();
            identifier::escape(self.text, &mut self.lexer);
            end += self.lexer.at() - before;
        }
        token.start + usize::from(national)..end
    }
}

impl Iterator for Hidden<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let Some(token) = self.lexer.next() else {
                self.lexer = self.outer.take()?;
                continue;
            };
            let part = &self.text[token.start..token.end];
            if token.kind != Kind::Space {
                self.type_name = self.type_name.next(part);
            }
            match token.kind {
                Kind::Number if self.type_name.has(part) => {}
                // The escape that UESCAPE names is a part of the identifier.
                Kind::UnicodeDelimited => _ = identifier::escape(self.text, &mut self.lexer),
                Kind::Literal => return Some(self.literal(token)),
                Kind::Number | Kind::Unfinished => return Some(token.start..token.end),
                Kind::DollarQuoted(mark) => {
                    let inside = token.start + mark..token.end - mark;
                    let code = &self.text[inside.clone()];
                    if !self.is_code || self.outer.is_some() || !is_complete(code, self.backslash) {
                        return Some(token.start..token.end);
                    }
                    let inner = self.lexer.within(inside);
                    self.outer = Some(std::mem::replace(&mut self.lexer, inner));
                }
                _ => {}
            }
        }
    }
}
