//! Mails within mails are attachments, and are not taken apart.
//!
//! The library would parse them, one within the other as often as somebody has written it: with a stack that overflows
//! when they are freed, and where they are encoded with a copy of the whole for each of them, 5 GB for a mail of 400 KB.
//! It knows them by the words that follow `message/` and `multipart/`, which it takes as they stand in the mail. So the
//! last letter of these words is another one while it reads. Within a longer word it is not: that is something else for
//! the library, and may be a piece of base64, which would not be read any more.

use std::borrow::Cow;

/// `message/rfc822`, `message/global`, `multipart/digest`.
const WORDS: [&[u8]; 3] = [b"rfc822", b"global", b"digest"];
const LENGTH: usize = 6;
/// What stands for the last character, and for the same in capitals.
const SMALL: u8 = 1;
const CAPITAL: u8 = 2;

/// For the library to read.
pub fn hide(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut hidden = Cow::Borrowed(bytes);
    for (at, found) in bytes.windows(LENGTH).enumerate() {
        let is_whole = !at.checked_sub(1).is_some_and(|it| goes_on_after(bytes[it]))
            && !bytes.get(at + LENGTH).is_some_and(|it| goes_on_with(*it));
        if is_whole && WORDS.iter().any(|word| found.eq_ignore_ascii_case(word)) {
            let last = at + LENGTH - 1;
            let mark = if bytes[last].is_ascii_uppercase() { CAPITAL } else { SMALL };
            hidden.to_mut()[last] = mark;
        }
    }
    hidden
}

/// Is what follows this byte a piece of the word in which it is? `/` comes before the word that is looked for.
const fn goes_on_after(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+'
}

/// Is it a piece of the word before it?
const fn goes_on_with(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// As it was written.
pub fn show(text: &str) -> Cow<'_, str> {
    let marks = [char::from(SMALL), char::from(CAPITAL)];
    if !text.contains(marks) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let before = shown.as_bytes().last_chunk::<{ LENGTH - 1 }>();
        let word = before.and_then(|before| {
            WORDS.iter().find(|word| word[..LENGTH - 1].eq_ignore_ascii_case(before))
        });
        shown.push(match word {
            Some(word) if c == marks[0] => char::from(word[LENGTH - 1]),
            Some(word) if c == marks[1] => char::from(word[LENGTH - 1].to_ascii_uppercase()),
            _ => c,
        });
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders;
    use proptest::prelude::*;

    #[test]
    fn words_are_hidden_wherever_they_are() {
        for text in
            ["message/rfc822", "MESSAGE/RFC822; x", "message/\r\n global", "Multipart/DigesT"]
        {
            let hidden = hide(text.as_bytes());
            let hidden = str::from_utf8(&hidden).unwrap();
            let lower = hidden.to_ascii_lowercase();
            assert!(
                WORDS.iter().all(|it| !lower.contains(str::from_utf8(it).unwrap())),
                "{hidden}"
            );
            assert_eq!(show(hidden), text);
        }
        assert!(matches!(hide(b"no rfc 822 at all"), Cow::Borrowed(_)));
        assert_eq!(show("a\u{1}"), "a\u{1}");
    }

    proptest! {
        #[test]
        fn what_is_a_piece_of_a_longer_word_stays(
            before in "[A-Za-z0-9+]", word in "(?i:global|digest|rfc822)", after in "[A-Za-z0-9+/=]",
        ) {
            for text in [format!("{before}{word}"), format!("{word}{after}"), format!("x/{word}{after}")] {
                prop_assert!(matches!(hide(text.as_bytes()), Cow::Borrowed(_)), "{}", text);
            }
        }

        #[test]
        fn the_library_never_finds_a_mail_within_a_mail(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "message/", "multipart/", "rfc822", "Rfc822", "global", "GLOBAL", "digest", "Digest", " ", "\t", "\r\n ",
                    "\n\t", ";", "(", ")", "\"", "\\", "/", "+", "=", ".", "a", "1", "\0", "é",
                ]),
                0..12,
            ),
        ) {
            let parts = parts.concat();
            for kind in [format!("message/{parts}"), format!("multipart/{parts}"), parts] {
                let mail = format!("Subject: x\r\nContent-Type: {kind}\r\n\r\nSubject: y\r\n\r\n");
                let hidden = hide(mail.as_bytes());
                let message = mail_parser::MessageParser::default().parse(&*hidden);
                if let Some(kind) = message.as_ref().and_then(|it| it.parts[0].content_type()) {
                    let found = kind.subtype().unwrap_or_default().as_bytes();
                    prop_assert!(!WORDS.iter().any(|it| it.eq_ignore_ascii_case(found)), "{:?}", mail);
                }
            }
        }

        #[test]
        fn what_is_hidden_is_shown_again(text in "([a-z ]|rfc822|RFC822|global|GlobaL|digest|digesT){0,20}") {
            let hidden = hide(text.as_bytes());
            prop_assert_eq!(show(str::from_utf8(&hidden).unwrap()), text.as_str());
        }
    }
}
