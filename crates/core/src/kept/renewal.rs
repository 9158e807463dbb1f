//! Renews a record after its password has been given.
//!
//! A record that is weaker than the current settings is made again from the password. So is the
//! hash of another system, but not always from what was typed. DES, for example, reads only eight
//! bytes of a password: if a user who typed more became bound to the longer text, the owner's eight
//! bytes would no longer be right. In such a case the other system's output is hashed, and its
//! scheme stays in the record until the next change.

use password_verify_legacy::Scheme;

use crate::kept::record::{Record, submitted, wrap};
use crate::kept::verifier::{SALT_BYTES, Verifier};
use crate::kept::workspace::{OutOfMemory, Workspace};
use crate::rules::cost::Cost;
use crate::rules::policy::Password;

/// How a record is renewed.
pub enum Renewal {
    /// Hash the password.
    Remake,
    /// Hash this scheme's output for the password.
    Wrap(Scheme),
}

impl Record {
    /// Whether and how to renew the record, after `password` was right: once for a hash of another
    /// system, and whenever the record is weaker than `current`.
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

    /// Makes the new record. `salt` must come from the operating system's generator; some systems'
    /// hashes include `user_id`.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
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
    /// 72 bytes, all that bcrypt reads.
    const SEEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
    /// perl -e 'print crypt("hunter22", "ab")'; the hashes below were made in the same way.
    const DES: &str = "abbhF9SDEuJoY";
    /// Hash of "café!".
    const XDES: &str = "_J9..aBcD2YWe.anUSZ2";
    const BCRYPT_2X: &str = "$2x$04$E2zMiFD6CER8OUVZQXoz4u3GXwrYBAo11LGJblgxkouiPS/KBjb1m";
    /// Hash of "pässword"; the bug of $2x$ hides the "p".
    const HIDING: &str = "$2x$04$E2zMiFD6CER8OUVZQXoz4u62IvYzHcF9036oPEWQbC1CVJH8jAU/S";
    /// Hash of [`SEEN`].
    const FULL: &str = "$2b$04$E2zMiFD6CER8OUVZQXoz4uTCuMMKGLS3Fgl79OLLNgZkwfRIHhxZO";
    /// Hash of "correct horse battery staple" by PHP with WordPress 6.8.
    const WORDPRESS: &str = "$wp$2y$04$eGvnJFTwx/eApT7IcV9fhu85omXCmlJd6qirrnWvdxli/e78/Kjxu";
    /// PostgreSQL 15's verifier for the password "IX", typed as U+2168.
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

    /// Logs in with `typed`. Returns the record after a round trip, and the name of its scheme.
    fn after_login(record: &Record, typed: &str) -> (Record, String) {
        assert!(opens(record, typed), "{typed}");
        let typed = password(typed);
        // A record that would be wrapped in the same way stays as it is.
        let text = record.renewal(&typed, cheap()).map_or(record.expose(), |renewal| {
            renewal.make(&typed, "42", cheap(), [2; 16], &mut workspace()).unwrap().expose()
        });
        assert!(text.expose().len() <= MAX_BYTES);
        let shown = label(text.expose()).split(' ').next().unwrap().to_owned();
        (Record::parse(text.expose(), MEMORY).unwrap(), shown)
    }

    /// Every password that the other system accepted is still right, whichever was typed first, and
    /// the record is renewed once.
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
        // Without the eighth bit of each byte, the UTF-8 of "é" is "C)".
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
