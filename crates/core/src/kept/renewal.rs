//! What becomes of a record when its password has been given.
//!
//! A record that is weaker than today's settings is made anew of the password. What another system made is
//! replaced, too, but not always by a hash of what was typed: DES looked at eight bytes of a password, so that
//! whoever typed more was right there, and would make it *the* password here, for an owner who believes in
//! eight. Then the other system's output is hashed instead, and its scheme stays in the record until the next
//! change.

use password_verify_legacy::Scheme;

use crate::kept::record::{Record, submitted, wrap};
use crate::kept::verifier::{SALT_BYTES, Verifier};
use crate::kept::workspace::{OutOfMemory, Workspace};
use crate::rules::cost::Cost;
use crate::rules::policy::Password;

/// How a record is made anew of the password that has just opened it.
pub enum Renewal {
    /// The password is hashed.
    Remake,
    /// What this scheme makes of it is.
    Wrap(Scheme),
}

impl Record {
    /// Is it to be made anew, now that this has been the right password, and how? What others made is, once; and
    /// everything that is weaker than `current`.
    pub fn renewal(&self, password: &Password, current: Cost) -> Option<Renewal> {
        match self {
            Self::Argon2id(verifier) => {
                verifier.cost().weaker_than(current).then_some(Renewal::Remake)
            }
            Self::Legacy(scheme, _) => Some(Renewal::of(scheme, password)),
            Self::Wrapped(scheme, verifier) => match Renewal::of(scheme, password) {
                Renewal::Wrap(same)
                    if same.name() == scheme.name() && !verifier.cost().weaker_than(current) =>
                {
                    None
                }
                renewal => Some(renewal),
            },
        }
    }
}

impl Renewal {
    fn of(scheme: &Scheme, password: &Password) -> Self {
        scheme.remainder(submitted(password)).map_or(Self::Remake, Self::Wrap)
    }

    /// The new record. `salt` comes from the operating system's generator; `user_id` is part of some systems'
    /// hashes.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn make(
        self,
        password: &Password,
        user_id: &str,
        cost: Cost,
        salt: [u8; SALT_BYTES],
        workspace: &mut Workspace,
    ) -> Result<Record, OutOfMemory> {
        match self {
            Self::Remake => Verifier::remake(password, cost, salt, workspace).map(Record::Argon2id),
            Self::Wrap(scheme) => {
                let output = scheme.compute(submitted(password), user_id);
                wrap(scheme, &output.map_err(|_| OutOfMemory)?, cost, salt, workspace)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::record::{Imported, MAX_BYTES, label};
    use crate::rules::policy::Submitted;
    use crate::rules::secret::Secret;
    use password_verify_argon2::Path;

    const MEMORY: u32 = 65536;
    /// 72 bytes, all that bcrypt sees.
    const SEEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
    /// perl -e 'print crypt("hunter22", "ab")'; the others likewise.
    const DES: &str = "abbhF9SDEuJoY";
    /// "café!"
    const XDES: &str = "_J9..aBcD2YWe.anUSZ2";
    const BCRYPT_2X: &str = "$2x$04$E2zMiFD6CER8OUVZQXoz4u3GXwrYBAo11LGJblgxkouiPS/KBjb1m";
    /// "pässword", of which the "p" is not seen.
    const HIDING: &str = "$2x$04$E2zMiFD6CER8OUVZQXoz4u62IvYzHcF9036oPEWQbC1CVJH8jAU/S";
    /// Of [`SEEN`].
    const FULL: &str = "$2b$04$E2zMiFD6CER8OUVZQXoz4uTCuMMKGLS3Fgl79OLLNgZkwfRIHhxZO";
    /// "correct horse battery staple": PHP with WordPress 6.8.
    const WORDPRESS: &str = "$wp$2y$04$eGvnJFTwx/eApT7IcV9fhu85omXCmlJd6qirrnWvdxli/e78/Kjxu";
    /// The password "IX" of PostgreSQL 15, typed as U+2168.
    const SCRAM: &str = "SCRAM-SHA-256$4096:oXglycAOZ7zo/Kub577fCA==$Dhvd+xUujhE0AE+EmYpkDUJAeyCN28NSZV5M+kyAun0=:OZZlTKrnxauFn34g44hGnymp8MdKJ+VrRJT8EOzCQ4o=";
    /// echo -n password | sha1sum | xxd -r -p | base64
    const SHA: &str = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";
    /// python3 -c "import bcrypt; print(bcrypt.hashpw(b'password', bcrypt.gensalt(4)))"
    const BCRYPT: &str = "$2b$04$E2zMiFD6CER8OUVZQXoz4urtTTvCJRXG2WC3.KuhhB3j3w2C//NUS";

    fn password(text: &str) -> Password {
        Password::normalize(Submitted::Text(Secret::new(text.into()))).ok().unwrap()
    }

    fn cheap() -> Cost {
        Cost::new(32, 1, 1).unwrap()
    }

    fn strong() -> Cost {
        Cost::new(64, 2, 1).unwrap()
    }

    fn workspace() -> Workspace {
        Workspace::new(strong(), Path::best()).unwrap()
    }

    fn imported(hash: &str) -> Record {
        match Imported::parse(hash, MEMORY).unwrap() {
            Imported::Ready(record) => record,
            Imported::Fast(scheme, output) => {
                wrap(scheme, &output, cheap(), [1; 16], &mut workspace()).unwrap()
            }
        }
    }

    fn opens(record: &Record, text: &str) -> bool {
        record.matches(&password(text), "42", &mut workspace()).unwrap()
    }

    /// The record after a login with `typed`, written and read; the name of its scheme.
    fn after_login(record: &Record, typed: &str) -> (Record, String) {
        assert!(opens(record, typed), "{typed}");
        let typed = password(typed);
        // What is wrapped as it would be wrapped stays as it is.
        let text = record.renewal(&typed, cheap()).map_or(record.expose(), |renewal| {
            renewal.make(&typed, "42", cheap(), [2; 16], &mut workspace()).unwrap().expose()
        });
        assert!(text.expose().len() <= MAX_BYTES);
        let shown = label(text.expose()).split(' ').next().unwrap().to_owned();
        (Record::parse(text.expose(), MEMORY).unwrap(), shown)
    }

    /// Everything that the other system took for the password still is, whichever was typed first, and the
    /// record is made anew once.
    fn nobody_is_turned_away(hash: &str, right: &[&str], wrong: &[&str], expected: &str) {
        for typed in right {
            let (record, shown) = after_login(&imported(hash), typed);
            assert_eq!(shown, expected, "{typed}");
            for other in right {
                assert!(opens(&record, other), "{typed}, then {other}");
                let renewal = |cost| record.renewal(&password(other), cost);
                assert!(renewal(cheap()).is_none(), "{other}");
                assert!(matches!(renewal(strong()), Some(Renewal::Wrap(_))), "{other}");
            }
            for other in wrong {
                assert!(!opens(&record, other), "{typed}, then {other}");
            }
        }
    }

    #[test]
    fn who_typed_more_than_des_looks_at_turns_nobody_away() {
        let right = ["hunter22", "hunter22xyz", "hunter22hunter22"];
        nobody_is_turned_away(DES, &right, &["hunter2", "hunter23"], "argon2id+des-crypt");
    }

    #[test]
    fn bytes_that_look_alike_in_seven_bits_turn_nobody_away() {
        // Without its eighth bits, the UTF-8 of "é" is "C)".
        let right = ["caf\u{e9}!", "cafC)!"];
        nobody_is_turned_away(XDES, &right, &["cafe!", "CafC)!"], "argon2id+xdes-crypt");
    }

    #[test]
    fn who_typed_more_than_bcrypt_looks_at_turns_nobody_away() {
        let longer = format!("{SEEN} and more");
        let right = [SEEN, &longer];
        nobody_is_turned_away(FULL, &right, &[&SEEN[..71]], "argon2id+bcrypt");
    }

    #[test]
    fn what_the_bug_of_2x_hides_turns_nobody_away() {
        let right = ["p\u{e4}ssword"];
        nobody_is_turned_away(HIDING, &right, &["password"], "argon2id+bcrypt-2x");
        let (record, shown) = after_login(&imported(BCRYPT_2X), "hunter22");
        assert_eq!(shown, "argon2id");
        assert!(opens(&record, "hunter22") && !opens(&record, "hunter23"));
    }

    #[test]
    fn a_space_that_wordpress_cut_off_turns_nobody_away() {
        let right = ["correct horse battery staple", " correct horse battery staple\n"];
        let wrong = ["correct horse battery staples", "correct  horse battery staple"];
        nobody_is_turned_away(WORDPRESS, &right, &wrong, "argon2id+trimmed");
    }

    #[test]
    fn characters_that_are_one_to_saslprep_turn_nobody_away() {
        nobody_is_turned_away(SCRAM, &["IX", "\u{2168}", "I\u{ad}X"], &["ix"], "argon2id+saslprep");
    }

    #[test]
    fn where_no_other_password_matches_it_is_hashed_itself() {
        for (hash, typed) in [(BCRYPT, "password"), (SHA, "password")] {
            let (record, shown) = after_login(&imported(hash), typed);
            assert_eq!(shown, "argon2id");
            assert!(opens(&record, typed) && !opens(&record, "passwordx"));
            assert!(record.renewal(&password(typed), cheap()).is_none());
            let renewal = record.renewal(&password(typed), strong());
            assert!(matches!(renewal, Some(Renewal::Remake)));
        }
    }
}
