//! Recognises common passwords, however they are decorated: the dictionary words and repetitive
//! characters of NIST SP 800-63B-4.
//!
//! These are no composition rules: no character is required, and a phrase of several words is fine.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::strength::estimate;

/// Code points of the longest entry of the list. Longer texts are looked up only if they repeat a
/// shorter one, so that a long phrase is never mistaken for an entry.
pub const MAX_ENTRY: usize = 16;

/// Code points of the shortest entry. A Chinese word has two.
const MIN_ENTRY: usize = 2;

/// A repetition of a text of fewer code points is always refused, because there are too few.
const MIN_REPEATED: usize = 5;

/// The most digits that are removed before or after a password: a year or a counter.
const MAX_DIGITS: usize = 4;

/// NFKC turns one code point into at most this many (U+FDFA, Unicode Standard Annex #15).
const MAX_NFKC_GROWTH: usize = 18;

/// The most code points that are examined. A password that repeats an entry by chance has fewer.
const LOOKED_AT: usize = 512;

/// The capacity for [`folded_chars`]. Its buffer must never grow, which would leave a copy behind.
fn capacity(text: &str) -> usize {
    (text.len() * MAX_NFKC_GROWTH).min(LOOKED_AT)
}

/// Removes case, width, separators and separate accents: NFKC, lower case, letters and digits only.
/// A text without those keeps all but its white space, or if it has nothing else, that.
fn folded_chars(text: &str) -> Zeroizing<Vec<char>> {
    let lower = || text.nfkc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
    let mut chars = Zeroizing::new(Vec::with_capacity(capacity(text)));
    let kinds: [fn(char) -> bool; 3] = [char::is_alphanumeric, |c| !c.is_whitespace(), |_| true];
    for counts in kinds {
        if chars.is_empty() {
            // NFKC again, because a removed separator may have kept combining marks apart.
            chars.extend(lower().filter(|c| counts(*c)).nfkc().take(LOOKED_AT));
        }
    }
    chars
}

/// Whether the password is an entry of the list, once or repeated, in any case, with separators,
/// backwards, with digits and symbols for letters, and with up to four digits before or after it.
///
/// Calls `listed` at most eight times, never for texts above [`MAX_ENTRY`] that do not repeat.
pub fn is_common(password: &str, listed: impl Fn(&str) -> bool) -> bool {
    let letters = estimate::as_letters(password);
    let texts = [password, if *letters == password { "" } else { &letters }];
    texts.into_iter().filter(|text| !text.is_empty()).any(|text| {
        let folded = folded_chars(text);
        let whole = innermost(&folded);
        let bare = innermost(without_digits(whole));
        is_listed(whole, &listed) || (bare.len() < whole.len() && is_listed(bare, &listed))
    })
}

/// The form in which the list stores an entry. `None` if it is too short to mean anything, or
/// longer than [`MAX_ENTRY`].
pub fn entry(text: &str) -> Option<Zeroizing<String>> {
    let folded = folded_chars(text);
    let unit = innermost(&folded);
    if !(MIN_ENTRY..=MAX_ENTRY).contains(&unit.len()) {
        return None;
    }
    let mut entry = Zeroizing::new(String::with_capacity(unit.len() * 4));
    entry.extend(unit);
    Some(entry)
}

fn is_listed(chars: &[char], listed: impl Fn(&str) -> bool) -> bool {
    if chars.is_empty() || chars.len() > MAX_ENTRY {
        return false;
    }
    let mut word = Zeroizing::new(String::with_capacity(chars.len() * 4));
    word.extend(chars);
    if listed(&word) {
        return true;
    }
    word.clear();
    word.extend(chars.iter().rev());
    listed(&word)
}

/// Whether the password repeats a very short text, or is a sequence such as `abcdef`.
pub(crate) fn is_monotonous(password: &str) -> bool {
    let folded = folded_chars(password);
    let repeated = unit(&folded).len() < MIN_REPEATED.min(folded.len());
    repeated || is_sequence(&folded)
}

/// Whether the password repeats the user id, however short that is.
pub(crate) fn repeats(password: &str, user_id: &str) -> bool {
    let id = folded_chars(user_id);
    let folded = folded_chars(password);
    !id.is_empty()
        && without_digits(unit(&folded)) == without_digits(unit(&id))
        && !folded.is_empty()
}

/// Reduces a repeated text to one repetition, until it no longer repeats.
fn innermost(chars: &[char]) -> &[char] {
    let once = unit(chars);
    if once.len() < chars.len() { innermost(once) } else { once }
}

/// The text that is repeated at least twice, perhaps in part at the end; or all. Linear time.
fn unit(chars: &[char]) -> &[char] {
    // Knuth, Morris, Pratt: the longest border of each prefix.
    let mut borders: Vec<usize> = Vec::with_capacity(chars.len());
    for at in 0..chars.len() {
        let mut border = if at == 0 { 0 } else { borders[at - 1] };
        while at > 0 && border > 0 && chars[at] != chars[border] {
            border = borders[border - 1];
        }
        borders.push(if at > 0 && chars[at] == chars[border] { border + 1 } else { 0 });
    }
    let period = chars.len() - borders.last().unwrap_or(&0);
    if period * 2 <= chars.len() { &chars[..period] } else { chars }
}

/// Removes up to four digits at the end, or otherwise at the beginning.
fn without_digits(chars: &[char]) -> &[char] {
    let digits =
        |all: &mut dyn Iterator<Item = &char>| all.take_while(|c| c.is_ascii_digit()).count();
    let after = digits(&mut chars.iter().rev());
    let before = digits(&mut chars.iter());
    match (before, after) {
        (before, _) if before == chars.len() => chars,
        (_, 1..=MAX_DIGITS) => &chars[..chars.len() - after],
        (1..=MAX_DIGITS, 0) => &chars[before..],
        _ => chars,
    }
}

/// Whether each character succeeds, or each precedes, the one before it. 0 follows 9, a follows z.
fn is_sequence(chars: &[char]) -> bool {
    let next = |a: char, b: char| {
        u32::from(a) + 1 == u32::from(b) || (a == '9' && b == '0') || (a == 'z' && b == 'a')
    };
    chars.len() > 2
        && (chars.windows(2).all(|pair| next(pair[0], pair[1]))
            || chars.windows(2).all(|pair| next(pair[1], pair[0])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fold(text: &str) -> String {
        folded_chars(text).iter().collect()
    }

    fn common(text: &str) -> bool {
        let list =
            ["password", "passwort", "пароль", "contraseña", "qwerty", "密码", "dragon", "123456"];
        is_common(text, |word| list.contains(&word))
    }

    #[test]
    fn common_words_are_found_however_they_are_dressed_up() {
        for text in [
            "password password",
            "passwort passwort",
            "Pass-Word_password",
            "пароль пароль пароль",
            "ПАРОЛЬ.пароль.Пароль",
            "P@ssw0rd P@ssw0rd",
            "password2024password2024",
            "2024 password",
            "password/password/pass",
            "drowssap drowssap",
            "q w e r t y q w e r t y",
            "ｐａｓｓｗｏｒｄ password",
            "contrasen\u{303}a contraseña",
            "密码密码密码密码密码密码密码密码",
            "dragon!!!",
            "123456 123456 123456",
        ] {
            assert!(common(text), "{text}");
        }
    }

    #[test]
    fn several_words_are_no_common_one() {
        for text in [
            "password dragon qwerty",
            "passwordpasswort",
            "my password is a dragon",
            "correct horse battery staple",
            "password 839201 4711 dragon",
            "passwordpassphrase",
        ] {
            assert!(!common(text), "{text}");
        }
    }

    #[test]
    fn what_goes_on_the_same_way_is_monotonous() {
        for text in [
            "aaaaaaaaaaaaaaaa",
            "a-a-a-a-a-a-a-a-a",
            "!!!!!!!!!!!!!!!!",
            "! ! ! ! ! ! ! !",
            "                ",
            "abc abc abc abc abc",
            "abcdABCDabcdABCD",
            "123456789012345",
            "1-2-3-4-5-6-7-8-9-0",
            "a b c d e f g h i j k",
            "987654321098765",
            "🐎🐎🐎🐎🐎🐎🐎🐎",
        ] {
            assert!(is_monotonous(text), "{text}");
        }
        for text in ["correct horse correct horse", "abcdeabcde", "", "a", "correct horse battery"]
        {
            assert!(!is_monotonous(text), "{text}");
        }
    }

    #[test]
    fn a_user_id_over_and_over_is_seen() {
        assert!(repeats("bob bob bob bob bob", "bob"));
        assert!(repeats("A-l-i-c-e a.l.i.c.e", "alice"));
        assert!(repeats("alice2024alice2024", "alice"));
        assert!(!repeats("alice and bob went out", "alice"));
        assert!(!repeats("", "alice"));
    }

    #[test]
    fn folding_keeps_letters_and_digits_of_every_script() {
        assert_eq!(fold("Pass-Word_1"), "password1");
        assert_eq!(fold("ΚΩΔΙΚΌΣ κωδικός"), "κωδικόσκωδικόσ");
        assert_eq!(fold("パスワード"), "パスワード");
        assert_eq!(fold("?!"), "?!");
    }

    #[test]
    fn marks_that_come_together_are_in_order() {
        let text = "\u{10eab}\u{fe72}";
        assert_eq!(fold(&fold(text)), fold(text));
    }

    proptest! {
        #[test]
        fn an_entry_is_found_in_every_dress(
            word in "[a-z]{3,8}|[а-я]{3,8}", times in 1usize..5, separator in "[-_ ./]{0,2}", digits in "[0-9]{0,4}",
        ) {
            let Some(entry) = entry(&word) else {
                // A repeated letter is refused without a list.
                prop_assert!(is_monotonous(&word));
                return Ok(());
            };
            let listed = |it: &str| it == *entry;
            let dressed = format!("{word}{separator}").repeat(times) + &digits;
            prop_assert!(is_common(&dressed, listed));
            prop_assert!(is_common(&dressed.to_uppercase(), listed));
            let each = format!("{word}{digits}{separator}").repeat(times);
            prop_assert!(is_common(&each, listed));
            let before = format!("{digits}{separator}{word}");
            prop_assert!(is_common(&before, listed));
        }

        #[test]
        fn the_list_is_asked_eight_times_at_most(text in "\\PC{0,64}|[a-z0-9@$!]{0,40}") {
            let asked = std::cell::Cell::new(0);
            let found = is_common(&text, |word| {
                asked.set(asked.get() + 1);
                assert!(word.chars().count() <= MAX_ENTRY);
                false
            });
            prop_assert!(!found);
            prop_assert!(asked.get() <= 8);
        }

        #[test]
        fn a_unit_repeats_to_the_text(text in "[ab]{0,24}") {
            let chars: Vec<char> = text.chars().collect();
            let unit = unit(&chars);
            prop_assert!(chars.iter().zip(unit.iter().cycle()).all(|(a, b)| a == b));
            // No shorter text does.
            for period in 1..unit.len() {
                let shorter = chars.iter().zip(chars[..period].iter().cycle()).all(|(a, b)| a == b);
                prop_assert!(!shorter || period * 2 > chars.len());
            }
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
