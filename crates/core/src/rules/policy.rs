//! What may become a password, after NIST SP 800-63B-4 section 3.1.1.2: a length in code points,
//! Unicode NFC, a blocklist, no composition rules, and a reason for every refusal; beyond NIST, an
//! estimate of strength. A bound on the length is checked before any other work.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::rules::reason::Reason;
use crate::rules::secret::Secret;
use crate::rules::user_id::UserId;
use crate::strength::common;
use crate::strength::estimate;

/// The longest password, in bytes of UTF-8. NIST asks verifiers to permit at least 64 characters.
pub const MAX_BYTES: usize = 4096;

/// A user id of fewer code points than this occurs in passwords by accident.
const MIN_TELLING_ID: usize = 4;

/// NFC makes UTF-8 at most this many times longer (Unicode Standard Annex #15).
const MAX_NFC_GROWTH: usize = 3;

/// The password that the client sent, before any work.
pub enum Submitted {
    /// The text, which may still be longer than [`MAX_BYTES`].
    Text(Secret),
    /// The text was not even read, because its length alone was too much.
    Oversized,
}

/// A password as it is hashed: in NFC, and at most [`MAX_BYTES`] long before normalisation.
pub struct Password {
    normalized: Secret,
    /// The text before normalisation, if that changed it.
    submitted: Option<Secret>,
}

impl Password {
    /// Normalises what the client sent into the one form in which it is hashed.
    ///
    /// # Errors
    /// [`Reason::TooLong`] above [`MAX_BYTES`], before any other work.
    pub fn normalize(submitted: Submitted) -> Result<Self, Reason> {
        let raw = match submitted {
            Submitted::Text(raw) if raw.expose().len() <= MAX_BYTES => raw,
            Submitted::Text(_) | Submitted::Oversized => return Err(Reason::TooLong),
        };
        if is_nfc_quick(raw.expose().chars()) == IsNormalized::Yes {
            return Ok(Self { normalized: raw, submitted: None });
        }
        let mut text = String::with_capacity(raw.expose().len() * MAX_NFC_GROWTH);
        text.extend(raw.expose().nfc());
        Ok(Self { normalized: Secret::new(text), submitted: Some(raw) })
    }

    /// Whether both passwords are the same. Takes constant time for passwords of equal length.
    pub fn same_as(&self, other: &Self) -> bool {
        self.normalized.same_as(&other.normalized)
    }

    /// The normalised text. Every use needs a review.
    pub fn expose(&self) -> &str {
        self.normalized.expose()
    }

    /// The text as the client sent it, for hashes of systems that did not normalise it.
    pub fn as_submitted(&self) -> &str {
        self.submitted.as_ref().unwrap_or(&self.normalized).expose()
    }
}

/// A password that the rules accept as new.
pub struct NewPassword(Password);

impl NewPassword {
    pub fn password(&self) -> &Password {
        &self.0
    }
}

/// The rules for new passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Minimum length in code points. NIST: 15 if a password is the only factor, never below 8.
    pub min_length: usize,
    /// Minimum zxcvbn score, from 0 (too guessable) to 4 (very unguessable).
    pub min_strength: u8,
}

impl Rules {
    /// Accepts a password that may be hashed and stored for `user`. `is_listed` is the blocklist.
    ///
    /// # Errors
    /// The first that applies: [`Reason::TooShort`], [`Reason::Blocklisted`],
    /// [`Reason::ContainsUserId`], [`Reason::TooWeak`].
    pub fn accept(
        &self,
        password: Password,
        user: &UserId,
        is_listed: impl FnOnce(&Password) -> bool,
    ) -> Result<NewPassword, Reason> {
        let text = password.expose();
        if text.chars().count() < self.min_length {
            Err(Reason::TooShort)
        } else if is_listed(&password) {
            Err(Reason::Blocklisted)
        } else if contains(text, user.as_str()) || common::repeats(text, user.as_str()) {
            Err(Reason::ContainsUserId)
        } else if self.min_strength > 0 && common::is_monotonous(text)
            || estimate::score(text, user.as_str()) < self.min_strength
        {
            Err(Reason::TooWeak)
        } else {
            Ok(NewPassword(password))
        }
    }
}

/// Whether the password contains the user id, ignoring case.
fn contains(password: &str, user_id: &str) -> bool {
    if user_id.chars().count() < MIN_TELLING_ID {
        return false;
    }
    let id: String = user_id.nfc().flat_map(char::to_lowercase).collect();
    // Lower case makes UTF-8 at most three times longer: no growth, so no unwiped copies.
    let mut text = String::with_capacity(password.len() * 3);
    text.extend(password.chars().flat_map(char::to_lowercase));
    Secret::new(text).expose().contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { min_length: 15, min_strength: 3 };

    fn normalize(text: &str) -> Result<Password, Reason> {
        Password::normalize(Submitted::Text(Secret::new(text.into())))
    }

    fn password(text: &str) -> Password {
        normalize(text).ok().unwrap()
    }

    fn refusal(text: &str, user: &str) -> Option<Reason> {
        RULES.accept(password(text), &UserId::from_text(user).unwrap(), |_| false).err()
    }

    #[test]
    fn a_good_password_is_accepted() {
        assert_eq!(refusal("correct horse battery staple", "42"), None);
        assert_eq!(refusal("korrektes Pferd Batterie Heftklammer", "42"), None);
    }

    #[test]
    fn length_counts_code_points_not_bytes() {
        assert_eq!(refusal("qwmxpzrtvkjhgq", "42"), Some(Reason::TooShort));
        assert_eq!(refusal("qwmxpzrtvkjhgqb", "42"), None);
        assert_eq!(refusal("ßüöäéèêñçøåœæð", "42"), Some(Reason::TooShort));
        assert_eq!(refusal("ßüöäéèêñçøåœæðþ", "42"), None);
        // Each emoji is one code point of four bytes.
        assert_eq!(refusal("🐎🔋🦆🌋🎷🧲🦀🐘🍄🧭🪁🦥🧶🪐", "42"), Some(Reason::TooShort));
    }

    #[test]
    fn length_is_counted_after_normalisation() {
        // 28 code points as typed, 14 in NFC.
        assert_eq!(refusal(&"e\u{301}".repeat(14), "42"), Some(Reason::TooShort));
    }

    #[test]
    fn the_bound_comes_first_and_is_exact() {
        assert!(normalize(&"x".repeat(MAX_BYTES)).is_ok());
        assert_eq!(normalize(&"x".repeat(MAX_BYTES + 1)).err(), Some(Reason::TooLong));
        assert_eq!(normalize(&"é".repeat(MAX_BYTES / 2 + 1)).err(), Some(Reason::TooLong));
        assert_eq!(Password::normalize(Submitted::Oversized).err(), Some(Reason::TooLong));
    }

    #[test]
    fn two_spellings_of_one_character_are_one_password() {
        assert_eq!(password("Ame\u{301}lie").expose(), "Amélie");
        assert_eq!(password("\u{212b}").expose(), "Å");
        assert_eq!(password("ﬁ").expose(), "ﬁ", "NFC, not NFKC");
    }

    #[test]
    fn passwords_compare_as_they_are_hashed() {
        assert!(password("Ame\u{301}lie").same_as(&password("Amélie")));
        assert!(!password("Amelie").same_as(&password("Amélie")));
        assert!(!password("").same_as(&password("a")));
    }

    #[test]
    fn ascii_is_hashed_as_it_came() {
        let text: String = (' '..='~').collect();
        assert_eq!(password(&text).expose(), text);
    }

    #[test]
    fn common_choices_are_too_weak() {
        for text in
            ["passwordpassword", "aaaaaaaaaaaaaaaaaaaaaa", "123456789012345", "qwertyuiopasdfgh"]
        {
            assert_eq!(refusal(text, "42"), Some(Reason::TooWeak), "{text}");
        }
    }

    #[test]
    fn what_goes_on_the_same_way_is_too_weak_unless_strength_is_no_matter() {
        for text in ["abc abc abc abc abc", "1-2-3-4-5-6-7-8-9-0", "////////////////"] {
            assert_eq!(refusal(text, "42"), Some(Reason::TooWeak), "{text}");
            let any = Rules { min_strength: 0, ..RULES };
            let user = UserId::from_bigint(42);
            assert_eq!(any.accept(password(text), &user, |_| false).err(), None, "{text}");
        }
    }

    #[test]
    fn a_user_id_over_and_over_is_refused_however_short() {
        assert_eq!(refusal("bob bob bob bob bob", "bob"), Some(Reason::ContainsUserId));
        assert_eq!(refusal("a-l-i-c-e a.l.i.c.e", "alice"), Some(Reason::ContainsUserId));
    }

    #[test]
    fn strength_is_of_the_beginning() {
        let long = "correct horse battery staple";
        assert_eq!(
            refusal(&format!("{}{long}", "a".repeat(estimate::ESTIMATED)), "42"),
            Some(Reason::TooWeak)
        );
        assert_eq!(refusal(&format!("{long}{}", "é".repeat(1000)), "42"), None);
    }

    #[test]
    fn no_composition_rules() {
        assert_eq!(refusal("velvet anvil monsoon", "42"), None);
    }

    #[test]
    fn the_user_id_may_not_be_in_it() {
        assert_eq!(refusal("my-ALICE-monsoon-anvil", "alice"), Some(Reason::ContainsUserId));
        assert_eq!(refusal("velvet 8675309 monsoon", "8675309"), Some(Reason::ContainsUserId));
        assert_eq!(refusal("velvet ÉMILE monsoon", "e\u{301}mile"), Some(Reason::ContainsUserId));
    }

    #[test]
    fn a_short_user_id_may_turn_up_by_accident() {
        assert_eq!(refusal("velvet 42 anvil monsoon", "42"), None);
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(text in "\\PC{0,64}") {
            let once = password(&text);
            let twice = password(once.expose());
            prop_assert_eq!(once.expose(), twice.expose());
        }

        #[test]
        fn spellings_that_nfc_makes_equal_are_one_password(text in "\\PC{0,64}") {
            let decomposed: String = text.nfd().collect();
            let (given, respelled) = (password(&text), password(&decomposed));
            prop_assert_eq!(given.expose(), respelled.expose());
        }

        #[test]
        fn nfc_never_outgrows_the_buffer(text in "\\PC{0,64}") {
            prop_assert!(password(&text).expose().len() <= text.len() * MAX_NFC_GROWTH);
        }

        #[test]
        fn what_is_accepted_satisfies_every_rule(text in "\\PC{0,40}", user in "\\PC{1,12}") {
            let user = UserId::from_text(&user).unwrap();
            if let Ok(new) = RULES.accept(password(&text), &user, |_| false) {
                let accepted = new.password().expose();
                prop_assert!(accepted.chars().count() >= 15);
                prop_assert!(!contains(accepted, user.as_str()));
            }
        }

        #[test]
        fn a_stricter_rule_accepts_no_more(text in "\\PC{8,40}") {
            let user = UserId::from_bigint(42);
            let lax = Rules { min_length: 8, min_strength: 1 };
            if RULES.accept(password(&text), &user, |_| false).is_ok() {
                prop_assert!(lax.accept(password(&text), &user, |_| false).is_ok());
            }
        }
    }
}
