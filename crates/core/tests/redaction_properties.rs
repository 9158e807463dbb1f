//! What holds for every text, however odd.
#![allow(clippy::unwrap_used)]

use password_verify_core::redaction::lexer::{Backslash, Kind, Lexer, Token};
use password_verify_core::redaction::mask::Hidden;
use password_verify_core::redaction::names::Names;
use password_verify_core::redaction::report::Report;
use password_verify_core::redaction::statement::Reader;
use proptest::prelude::*;

const PIECES: [&str; 40] = [
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "$",
    "$1",
    "\\",
    "\\'",
    "E'",
    "e'",
    "U&'",
    "u&\"",
    "N'",
    "x'",
    "B'",
    "UESCAPE",
    "'!'",
    "--",
    "\n",
    "/*",
    "*/",
    ";",
    "(",
    ")",
    " ",
    "pv_set_password",
    "PV_Set_Password(",
    "DO ",
    "BEGIN ATOMIC ",
    "END",
    "EXECUTE p",
    "PREPARE p AS ",
    "1.5e",
    "0x1F",
    "..",
    "+-",
    "listed",
    "word",
    "é",
];

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        9 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(1_u8.., 0..4),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn backslashes() -> impl Strategy<Value = Backslash> {
    prop::sample::select(vec![Backslash::Plain, Backslash::Escape, Backslash::Unknown])
}

fn with<T>(backslash: Backslash, read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let names = Names::new(b"listed");
    let prepared = |name: &[u8]| name == b"p";
    read(&Reader { names: &names, backslash, prepared: &prepared })
}

/// Is it a DO, of whose string only the literals are redacted?
fn is_do(text: &[u8]) -> bool {
    Lexer::new(text, Backslash::Plain).significant().is_some_and(|first| first.is(text, b"do"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn tokens_cover_the_text(text in texts(), backslash in backslashes()) {
        let mut at = 0;
        for token in Lexer::new(&text, backslash) {
            prop_assert_eq!(token.start, at);
            prop_assert!(token.end > at);
            at = token.end;
        }
        prop_assert_eq!(at, text.len());
    }

    /// Literals of a text in which all are redacted are placeholders. Where two stood side by side,
    /// which is no SQL, they may be read as one.
    #[test]
    fn nothing_else_is_a_literal(text in texts()) {
        // The string of a DO stays, as far as it is code.
        prop_assume!(!is_do(&text));
        let redacted = with(Backslash::Plain, |reader| reader.all_redacted(&text));
        for range in Hidden::new(&redacted, false, Backslash::Plain) {
            let left = String::from_utf8_lossy(&redacted[range]).replace("'<redacted>'", "");
            let is_space = |token: Token| token.kind == Kind::Space;
            prop_assert!(Lexer::new(left.as_bytes(), Backslash::Plain).all(is_space), "{left:?}");
        }
    }

    #[test]
    fn in_place_is_as_long_and_leaves_nothing(text in texts()) {
        let mut place = text.clone();
        with(Backslash::Plain, |reader| {
            let found = reader.redact_in_place(&mut place);
            assert_eq!(place.len(), text.len());
            assert_eq!(found, reader.calls(&text));
            if !found {
                assert_eq!(place, text);
            }
            reader.redact_all_in_place(&mut place);
        });
        assert_eq!(place.len(), text.len());
        for range in Hidden::new(&place, is_do(&place), Backslash::Plain) {
            // Two that stood on two lines may be read as one, with a comment between them.
            let literal = String::from_utf8_lossy(&place[range]).replace('\r', "\n");
            let lines = literal.lines().map(|line| line.split("--").next().unwrap_or_default());
            let left: String = lines.collect();
            let is_placeholder = |c: char| c.is_whitespace() || c == '\u{b}' || "'<redacted>0.".contains(c);
            // A word that has become the end of a number.
            let left = if left.starts_with('0') { left.split('.').next().unwrap_or_default() } else { &left };
            // A letter before a quotation mark that has come in place of another mark.
            let left = left.trim_start_matches(['e', 'E', 'n', 'N', 'b', 'B', 'x', 'X']);
            assert!(left.chars().all(is_placeholder), "{left:?}");
        }
    }

    /// Whatever stands in the fields of a message, reading them ends, and not in a panic.
    #[test]
    fn messages_never_panic(
        texts in prop::collection::vec(texts(), 5),
        template in prop::sample::select(vec![
            "statement: %s", "duration: %s ms  %s %s%s%s: %s", "duration: %.3f ms  plan:\n%s", "AUDIT: %s",
            "invalid input syntax for type %s: \"%s\"", "%s at or near \"%s\"", "%s", "",
        ]),
        state in prop::sample::select(vec!["00000", "22P02", "42601", "23505", "40P01", ""]),
        head in prop::sample::select(vec!["", "AUDIT: S,1,1,R,S,,,", "duration: 1 ms  plan:\n{", "duration: 1 ms  plan:\nQuery Text: ", "duration: 1 ms  plan:\n<", "Process 1: ", "SQL statement \"", "COPY t, line 1: "]),
        is_call: bool,
    ) {
        let texts: Vec<Vec<u8>> = texts.into_iter().map(|text| [head.as_bytes(), &text].concat()).collect();
        let report = Report {
            message: &texts[0],
            detail: Some(&texts[1]),
            detail_log: Some(&texts[2]),
            context: Some(&texts[3]),
            internal_query: Some(&texts[4]),
            statement: Some(&texts[0]),
            template,
            state,
            is_call,
            ..Report::default()
        };
        with(Backslash::Plain, |reader| reader.redacted_report(&report));
    }
}
