//! The names whose calls are redacted.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;

use super::identifier::{ANY, identifier};
use super::lexer::{Backslash, Lexer};
use super::quotes::double;

/// The functions that take or give a secret.
pub const FUNCTIONS: [&str; 20] = [
    "pv_change_password",
    "pv_change_vault_password",
    "pv_check_password",
    "pv_create_password",
    "pv_create_vault",
    "pv_deliver",
    "pv_import_hash",
    "pv_issue_reset_token",
    "pv_lock_vault",
    "pv_open_secret",
    "pv_register_imap_account",
    "pv_request",
    "pv_request_attachment",
    "pv_request_mail",
    "pv_reset_password",
    "pv_set_password",
    "pv_store_rotated",
    "pv_store_secret",
    "pv_unlock_vault",
    "pv_validate_password",
];

/// The longest identifier in bytes (PostgreSQL's NAMEDATALEN - 1). What is longer is cut.
const LONGEST: usize = 63;

/// [`FUNCTIONS`], and what `password_verify.redact_functions` lists.
pub struct Names {
    listed: BTreeSet<Vec<u8>>,
    finder: Option<AhoCorasick>,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// A function of ours, if it is called: a parenthesis follows.
    Ours,
    /// Listed: its mention is enough, because it may be a table.
    Listed,
    /// EXECUTE, after which the name of a prepared statement may follow.
    Execute,
}

impl Names {
    /// `list`: names separated by commas, each as an identifier is written in SQL. A schema before a
    /// name says nothing, because a call need not name it.
    pub fn new(list: &[u8]) -> Self {
        let mut lexer = Lexer::new(list, Backslash::Plain);
        let (mut listed, mut name) = (BTreeSet::new(), None);
        while let Some(token) = lexer.significant() {
            if token.is(list, b",") {
                listed.extend(name.take());
            }
            name = identifier(list, token, &mut lexer).map(cut).or(name);
        }
        listed.extend(name);
        // In a text a quotation mark within a name is doubled.
        let written = listed.iter().flat_map(|name| [name.clone(), double(name, b'"')]);
        let finder = (!listed.is_empty())
            .then(|| AhoCorasick::builder().ascii_case_insensitive(true).build(written).ok())
            .flatten();
        Self { listed, finder }
    }

    /// Can there be anything to redact? Most texts are told from those that have to be read here,
    /// in a few passes of which each looks for one rare byte.
    pub fn may_be_in(&self, text: &[u8]) -> bool {
        memchr::memchr2_iter(b'_', b'&', text)
            .any(|at| is_at(text, at, 2, b"pv_") || is_at(text, at, 1, b"u&\""))
            || memchr::memchr2_iter(b'x', b'X', text).any(|at| is_at(text, at, 1, b"execute"))
            || self.finder.as_ref().is_some_and(|finder| finder.is_match(text))
    }

    /// Is a name in this string, which is code or may become some?
    pub fn are_in_string(&self, text: &[u8]) -> bool {
        let ours = |at: usize| FUNCTIONS.iter().any(|name| is_at(text, at, 2, name.as_bytes()));
        memchr::memchr_iter(b'_', text).any(ours)
            || self.finder.as_ref().is_some_and(|finder| finder.is_match(text))
    }

    /// What an identifier stands for. `bare`: it is written without quotation marks.
    pub fn named(&self, name: &[u8], bare: bool) -> Option<Named> {
        let name = &name[..name.len().min(LONGEST)];
        if name == ANY || FUNCTIONS.binary_search_by(|ours| ours.as_bytes().cmp(name)).is_ok() {
            Some(Named::Ours)
        } else if self.listed.contains(name) {
            Some(Named::Listed)
        } else {
            (bare && name == b"execute").then_some(Named::Execute)
        }
    }
}

fn cut(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(LONGEST);
    name
}

/// Does this word, whatever its case, begin `before` bytes before `at`?
fn is_at(text: &[u8], at: usize, before: usize, word: &[u8]) -> bool {
    let from = at.checked_sub(before);
    let part = from.and_then(|from| text.get(from..from + word.len()));
    part.is_some_and(|part| part.eq_ignore_ascii_case(word))
}
