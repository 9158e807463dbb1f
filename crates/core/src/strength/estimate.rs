//! Estimates with zxcvbn how many guesses a password withstands, in a bounded amount of work.
//!
//! zxcvbn looks a password up in its dictionaries once for every way in which digits and symbols
//! may stand for letters. These readings multiply: 32 characters can have 800, each as much work as
//! all the rest. A text with more than `MAX_READINGS` is estimated in smaller pieces.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

/// The number of code points that are estimated. More can only make a password stronger, and
/// zxcvbn's work grows faster than its length: 100 characters of some kinds take seconds that
/// nothing can interrupt.
pub(crate) const ESTIMATED: usize = 32;

/// The most readings of one estimated text. Typical passwords have few: ten digits have 8, a word
/// with `@`, `$`, `0` and `!` has one. With this limit, zxcvbn takes less time for 32 characters
/// than the cheapest hash that is allowed (`tests/strength.rs`).
pub(crate) const MAX_READINGS: u32 = 16;

/// The characters that zxcvbn 3.1 reads as letters, for each of twelve letters, and a weight. If
/// two letters share a character, zxcvbn goes on with it both replaced and unchanged, so it counts
/// twice for one of them: `l`, which shares with `i` and `t`.
const READINGS: [(char, &str, u32); 12] = [
    ('a', "4@", 1),
    ('b', "8", 1),
    ('c', "({[<", 1),
    ('e', "3", 1),
    ('g', "69", 1),
    ('i', "1!|", 1),
    ('l', "1|7", 2),
    ('o', "0", 1),
    ('s', "$5", 1),
    ('t', "+7", 1),
    ('x', "%", 1),
    ('z', "2", 1),
];

/// The guesses from which on the score is 1, 2, 3 and 4, as in zxcvbn.
const SCORES: [u64; 4] = [1_005, 1_000_005, 100_000_005, 10_000_000_005];

/// The score from 0 (too guessable) to 4 (very unguessable) of the first [`ESTIMATED`] code points.
/// The user id counts as a word to try first. zxcvbn's temporary copies are freed, not wiped.
pub(crate) fn score(password: &str, user_id: &str) -> u8 {
    let text = beginning(password, ESTIMATED);
    let guesses = |text: &str| zxcvbn(text, &[user_id]).guesses();
    let guesses = if readings(text) <= MAX_READINGS {
        guesses(text)
    } else {
        // An attacker who guesses the pieces guesses the whole. A word that is cut between two
        // pieces is found by also reading all characters of the whole text as letters.
        let product = |all: u64, piece| all.saturating_mul(guesses(piece));
        pieces(text).fold(1, product).min(guesses(&as_letters(text)))
    };
    // Invariant: at most 4.
    SCORES.iter().filter(|limit| guesses >= **limit).count() as u8
}

/// The first `code_points` of the text.
fn beginning(text: &str, code_points: usize) -> &str {
    let end = text.char_indices().nth(code_points).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// An upper bound of the readings that zxcvbn tries.
fn readings(text: &str) -> u32 {
    let ways = READINGS.map(|(_, stand_ins, weight)| {
        let there = stand_ins.chars().filter(|c| text.contains(*c)).count();
        (there as u32 * weight).max(1)
    });
    ways.iter().product()
}

/// Cuts the text into pieces, as long as possible, with at most [`MAX_READINGS`] each.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // One character has at most two readings, so no piece is empty.
        let ends = rest.char_indices().map(|(start, c)| start + c.len_utf8());
        let end = ends.take_while(|end| readings(&rest[..*end]) <= MAX_READINGS).last()?;
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// One reading of the text, in NFC: each character as the first letter that it may stand for.
pub(crate) fn as_letters(text: &str) -> Zeroizing<String> {
    let letter = |c| {
        READINGS
            .iter()
            .find(|(_, stand_ins, _)| stand_ins.contains(c))
            .map_or(c, |(letter, ..)| *letter)
    };
    let mut letters = Zeroizing::new(String::with_capacity(text.len() * 3));
    letters.extend(text.chars().map(letter).nfc());
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The number of readings that zxcvbn tries if its letters come in this order, counted as in
    /// its `enumerate_l33t_replacements`.
    fn ways(text: &str, letters: &[(char, &str, u32)]) -> usize {
        let mut ways: Vec<Vec<(char, char)>> = vec![vec![]];
        for (letter, stand_ins, _) in letters {
            let there: Vec<char> = stand_ins.chars().filter(|c| text.contains(*c)).collect();
            if there.is_empty() {
                continue;
            }
            let mut next = Vec::new();
            for c in there {
                for way in &ways {
                    let mut other = way.clone();
                    if let Some(at) = way.iter().position(|(used, _)| *used == c) {
                        other.remove(at);
                        next.push(way.clone());
                    }
                    other.push((c, *letter));
                    next.push(other);
                }
            }
            ways = next;
        }
        ways.len()
    }

    #[test]
    fn no_order_of_letters_has_more_readings_than_are_counted() {
        // Only characters that two letters share; the others just multiply.
        let [i, l, t] = [5, 6, 9].map(|at| READINGS[at]);
        for subset in 0..32 {
            let text: String = "1!|7+"
                .chars()
                .enumerate()
                .filter(|(n, _)| subset >> n & 1 == 1)
                .map(|(_, c)| c)
                .collect();
            for order in [[i, l, t], [i, t, l], [l, i, t], [l, t, i], [t, i, l], [t, l, i]] {
                assert!(ways(&text, &order) <= readings(&text) as usize, "{text} {order:?}");
            }
        }
        let all: String = READINGS.iter().map(|(_, stand_ins, _)| *stand_ins).collect();
        assert!(ways(&all, &READINGS) <= readings(&all) as usize);
        assert_eq!(readings(&all), 1152);
    }

    #[test]
    fn ordinary_passwords_are_estimated_whole() {
        for text in
            ["correct horse battery staple", "1234567890", "P@$$w0rd!", "1q2w3e4r5t6y7u8i9o0p"]
        {
            assert!(readings(text) <= MAX_READINGS, "{text}");
            assert_eq!(score(text, "42"), u8::from(zxcvbn(text, &["42"]).score()));
        }
    }

    #[test]
    fn a_random_password_of_many_symbols_is_as_strong_as_it_is() {
        for text in ["/(%${&19+83!50@6[#27", "4@8({[<3691!|70", "}7<2$|8%q(0[!z+36@K{4"] {
            assert!(readings(text) > MAX_READINGS, "{text}");
            assert_eq!(score(text, "42"), 4, "{text}");
        }
    }

    #[test]
    fn symbols_in_plenty_do_not_make_a_guessable_password_strong() {
        // A repeated word, with so many readings that it is cut into pieces.
        let text = "p4$$w0rdp@55w0rdpa$5w0rd1!|7+%2({";
        assert!(readings(text) > MAX_READINGS);
        assert!(score("p4$$w0rdp@55w0rd", "42") < 3);
        for text in ["1!|7+({[<4@369$5", "((((((((1111!!!!||||77774444@@@@"] {
            let whole = u8::from(zxcvbn(text, &["42"]).score());
            assert!(score(text, "42") <= whole, "{text}");
        }
    }

    #[test]
    fn the_user_id_is_a_word_that_an_attacker_tries_first() {
        assert!(score("zorblaxi", "zorblaxi") < score("zorblaxi", "42"));
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_none_has_too_many_readings(text in "[ -~]{0,40}|\\PC{0,40}") {
            prop_assert_eq!(pieces(&text).collect::<String>(), text.as_str());
            prop_assert!(pieces(&text).all(|piece| readings(piece) <= MAX_READINGS));
            prop_assert_eq!(readings(&as_letters(&text)), 1);
        }

        #[test]
        fn what_is_estimated_whole_has_zxcvbns_score(text in "[ -~]{1,32}") {
            if readings(&text) <= MAX_READINGS {
                prop_assert_eq!(score(&text, "42"), u8::from(zxcvbn(&text, &["42"]).score()));
            }
        }
    }
}
