//! The record of a user: an Argon2id verifier, or the hash of another system until it is renewed at
//! the first right password ([`crate::kept::renewal`]).
//!
//! ```text
//! $argon2id$v=19$m=65536,t=3,p=4$<salt>$<tag>                   a verifier
//! $legacy$<base64 of the output>$<scheme>                       another system's slow hash
//! $wrapped$argon2id$v=19$m=65536,t=3,p=4$<salt>$<tag>$<scheme>  a verifier of such an output
//! ```
//!
//! A fast hash is wrapped when it is imported: a stolen table is expensive to attack even for users
//! who never log in again (OWASP password storage cheat sheet, "upgrading legacy hashes").

use base64ct::{Base64Unpadded, Encoding};
use password_verify_legacy::{Limits, Output, Refusal, Scheme, Site};

use crate::kept::seal::MAX_LABEL;
use crate::kept::verifier::{NotAVerifier, SALT_BYTES, Verifier};
use crate::kept::workspace::{OutOfMemory, Workspace};
use crate::rules::cost::{Cost, MAX_MEMORY_KIB};
use crate::rules::policy::Password;
use crate::rules::reason::Reason;
use crate::rules::repeat::Comparison;
use crate::rules::secret::Secret;

/// The longest password that is tested against another system's hash, in bytes: some hashes take
/// longer, the longer the password is.
const MAX_SUBMITTED: usize = 1024;

/// The longest text of a record, in bytes.
pub const MAX_BYTES: usize = 512;

const LEGACY: &str = "$legacy$";
const WRAPPED: &str = "$wrapped";

/// The record of a user.
pub enum Record {
    /// A verifier made here.
    Argon2id(Verifier),
    /// The unchanged hash of another system.
    Legacy(Scheme, Output),
    /// A verifier of another system's output.
    Wrapped(Scheme, Verifier),
}

/// A hash of another system that is being imported.
pub enum Imported {
    /// It is stored as it is.
    Ready(Record),
    /// It is too fast to be stored as it is, and has to go through [`wrap`].
    Fast(Scheme, Output),
}

impl Record {
    /// Reads what [`Record::expose`] wrote. `memory_kib` limits the memory of one hash.
    ///
    /// # Errors
    /// [`NotAVerifier`] for any other text, and above the limits.
    pub fn parse(text: &str, memory_kib: u32) -> Result<Self, NotAVerifier> {
        let scheme = |text: &str| {
            Scheme::from_text(text, &Limits::new(memory_kib)).map_err(|why| match why {
                // Tell limits that can be raised (memory) from those that cannot.
                Refusal::OverLimit
                    if Scheme::from_text(text, &Limits::new(MAX_MEMORY_KIB)).is_ok() =>
                {
                    NotAVerifier::OverMemory
                }
                Refusal::OverLimit => NotAVerifier::OverLimit,
                Refusal::NotBuilt => NotAVerifier::NotBuilt,
                Refusal::Malformed | Refusal::UnsupportedFormat => NotAVerifier::Malformed,
            })
        };
        let within = |verifier: Verifier| match verifier.cost().memory_kib() > memory_kib {
            true => Err(NotAVerifier::OverMemory),
            false => Ok(verifier),
        };
        if let Some(rest) = text.strip_prefix(LEGACY) {
            let (output, text) = rest.split_once('$').ok_or(NotAVerifier::Malformed)?;
            let output = Base64Unpadded::decode_vec(output).map_err(|_| NotAVerifier::Malformed)?;
            Ok(Self::Legacy(scheme(text)?, Output::new(output)))
        } else if let Some(rest) = text.strip_prefix(WRAPPED) {
            // The verifier has five parts, each with a `$` before it.
            let end = rest.match_indices('$').nth(5).ok_or(NotAVerifier::Malformed)?.0;
            let verifier = within(Verifier::parse(&rest[..end])?)?;
            Ok(Self::Wrapped(scheme(&rest[end + 1..])?, verifier))
        } else {
            Ok(Self::Argon2id(within(Verifier::parse(text)?)?))
        }
    }

    /// Whether this is the password. Some systems' hashes include `user_id`.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn matches(
        &self,
        password: &Password,
        user_id: &str,
        workspace: &mut Workspace,
    ) -> Result<bool, OutOfMemory> {
        Ok(self.compare(password, user_id, workspace)?.is_right())
    }

    /// Like [`Record::matches`], but also returns the output of the hash.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn compare(
        &self,
        password: &Password,
        user_id: &str,
        workspace: &mut Workspace,
    ) -> Result<Comparison, OutOfMemory> {
        let compute =
            |scheme: &Scheme| scheme.compute(submitted(password), user_id).map_err(|_| OutOfMemory);
        let possible = password.as_submitted().len() <= MAX_SUBMITTED;
        match self {
            Self::Argon2id(verifier) => {
                verifier.compare_bytes(password.expose().as_bytes(), workspace)
            }
            Self::Legacy(scheme, output) => {
                let computed = compute(scheme)?;
                Ok(Comparison::new(computed.same_as(output) && possible, computed.expose()))
            }
            Self::Wrapped(scheme, verifier) => {
                Ok(verifier.compare_bytes(compute(scheme)?.expose(), workspace)?.and(possible))
            }
        }
    }

    /// The cost of its Argon2id hash; `None` for another system's hash.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Argon2id(verifier) | Self::Wrapped(_, verifier) => Some(verifier.cost()),
            Self::Legacy(..) => None,
        }
    }

    /// The record after its user has been renamed. Some systems hash the user name too; their
    /// records then keep the name that they were made with. At most [`MAX_BYTES`] long.
    #[must_use]
    pub fn keeping_name(self, user_id: &str) -> Self {
        match self {
            Self::Argon2id(verifier) => Self::Argon2id(verifier),
            Self::Legacy(scheme, output) => Self::Legacy(scheme.keeping_name(user_id), output),
            Self::Wrapped(scheme, verifier) => {
                Self::Wrapped(scheme.keeping_name(user_id), verifier)
            }
        }
    }

    /// The text, for storing it only.
    pub fn expose(&self) -> Secret {
        match self {
            Self::Argon2id(verifier) => verifier.expose(),
            Self::Legacy(scheme, output) => {
                let output = Base64Unpadded::encode_string(output.expose());
                Secret::new(format!("{LEGACY}{output}${}", scheme.to_text()))
            }
            Self::Wrapped(scheme, verifier) => {
                Secret::new(format!("{WRAPPED}{}${}", verifier.expose().expose(), scheme.to_text()))
            }
        }
    }
}

/// The bytes that another system's scheme hashes. Other systems did not normalise, so these are the
/// bytes that the client sent.
pub(crate) fn submitted(password: &Password) -> &[u8] {
    let bytes = password.as_submitted().as_bytes();
    bytes.get(..MAX_SUBMITTED).unwrap_or(bytes)
}

impl Imported {
    /// Parses a hash of another system. `memory_kib` limits the memory of one hash.
    ///
    /// # Errors
    /// [`Reason::UnsupportedFormat`], [`Reason::Malformed`], [`Reason::OverLimit`].
    pub fn parse(hash: &str, memory_kib: u32) -> Result<Self, Reason> {
        let limits = Limits::new(memory_kib);
        let imported = password_verify_legacy::parse(hash, &limits, &Site::default());
        let imported = imported.map_err(|why| match why {
            Refusal::UnsupportedFormat | Refusal::NotBuilt => Reason::UnsupportedFormat,
            Refusal::Malformed => Reason::Malformed,
            Refusal::OverLimit => Reason::OverLimit,
        })?;
        let (scheme, output) = (imported.scheme, imported.output);
        let ours = scheme.as_argon2id().and_then(|of| {
            let cost = Cost::new(of.memory_kib, of.iterations, of.parallelism).ok()?;
            Verifier::from_parts(cost, of.salt, output.expose())
        });
        let record = match ours {
            Some(verifier) => Record::Argon2id(verifier),
            None if scheme.is_fast() => {
                if WRAPPED.len() + MAX_VERIFIER + scheme.to_text().len() > MAX_BYTES {
                    return Err(Reason::OverLimit);
                }
                return Ok(Self::Fast(scheme, output));
            }
            None => Record::Legacy(scheme, output),
        };
        let fits = record.expose().expose().len() <= MAX_BYTES;
        if fits { Ok(Self::Ready(record)) } else { Err(Reason::OverLimit) }
    }
}

/// The longest verifier made today, in bytes.
const MAX_VERIFIER: usize = 110;

/// Wraps the output of a fast hash into an Argon2id verifier.
///
/// # Errors
/// [`OutOfMemory`] when the hash has too little memory.
pub fn wrap(
    scheme: Scheme,
    output: &Output,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    workspace: &mut Workspace,
) -> Result<Record, OutOfMemory> {
    let verifier = Verifier::of_bytes(output.expose(), cost, salt, workspace)?;
    Ok(Record::Wrapped(scheme, verifier))
}

/// The kind of a record without anything secret: `argon2id m=65536,t=3,p=4`, `bcrypt -`,
/// `argon2id+phpass m=65536,t=3,p=4`. At most [`MAX_LABEL`] bytes without `$`.
pub fn label(text: &str) -> String {
    let parts: Vec<&str> = text.split('$').collect();
    let label = match parts[..] {
        ["", "legacy", _, scheme, ..] => format!("{scheme} -"),
        ["", "wrapped", algorithm, _, parameters, _, _, scheme, ..] => {
            format!("{algorithm}+{scheme} {parameters}")
        }
        ["", algorithm, _, parameters, _, _] => format!("{algorithm} {parameters}"),
        _ => String::new(),
    };
    if label.is_empty() || label.len() > MAX_LABEL { "unknown -".to_owned() } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policy::Submitted;
    use password_verify_argon2::Path;

    const MEMORY: u32 = 65536;
    /// python3 -c "import bcrypt; print(bcrypt.hashpw(b'password', bcrypt.gensalt(4)))"
    const BCRYPT: &str = "$2b$04$E2zMiFD6CER8OUVZQXoz4urtTTvCJRXG2WC3.KuhhB3j3w2C//NUS";

    fn password(text: &str) -> Password {
        Password::normalize(Submitted::Text(Secret::new(text.into()))).ok().unwrap()
    }

    fn cheap() -> Cost {
        Cost::new(32, 1, 1).unwrap()
    }

    fn workspace() -> Workspace {
        Workspace::new(cheap(), Path::best()).unwrap()
    }

    /// Imports a hash of another system, and writes and reads the record.
    fn imported(hash: &str) -> Record {
        let record = match Imported::parse(hash, MEMORY).unwrap() {
            Imported::Ready(record) => record,
            Imported::Fast(scheme, output) => {
                wrap(scheme, &output, cheap(), [1; 16], &mut workspace()).unwrap()
            }
        };
        let text = record.expose();
        let read = Record::parse(text.expose(), MEMORY).unwrap();
        assert!(read.expose().same_as(&text));
        read
    }

    fn opens(record: &Record, text: &str) -> bool {
        record.matches(&password(text), "42", &mut workspace()).unwrap()
    }

    #[test]
    fn fast_hashes_are_wrapped_and_slow_ones_are_not() {
        // echo -n password | sha1sum | xxd -r -p | base64
        let sha = imported("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=");
        assert!(matches!(sha, Record::Wrapped(..)));
        assert!(opens(&sha, "password") && !opens(&sha, "Password"));
        assert!(!sha.expose().expose().contains("W6ph5Mm5Pz8GgiULbPgzG37mj9g"));
        let bcrypt = imported(BCRYPT);
        assert!(matches!(bcrypt, Record::Legacy(..)));
        assert!(opens(&bcrypt, "password") && !opens(&bcrypt, "Password"));
    }

    #[test]
    fn argon2id_is_what_we_make_ourselves() {
        // echo -n password | argon2 somesaltsomesalt -id -t 2 -k 256 -p 4 -l 32 -e
        let hash = "$argon2id$v=19$m=256,t=2,p=4$c29tZXNhbHRzb21lc2FsdA$5CZ0y4EFo8aGNnTOqyj0Zv3Ly//FEsr0bPZ6BGnEO9U";
        let record = imported(hash);
        assert!(matches!(record, Record::Argon2id(_)));
        assert_eq!(record.expose().expose(), hash);
    }

    #[test]
    fn a_hash_with_a_name_in_it_opens_under_every_later_name() {
        // printf 'password%s' "$name" | md5sum, for the longest possible name.
        let name = "x".repeat(255);
        let hash = "md50376338f43e00e97db43706f175012f0";
        let record = imported(hash);
        let opens = |record: &Record, user: &str| {
            record.matches(&password("password"), user, &mut workspace()).unwrap()
        };
        assert!(opens(&record, &name) && !opens(&record, "new"));
        let dear = Cost::new(MAX_MEMORY_KIB, 20, 16).unwrap();
        let longest = Record::Wrapped(
            Scheme::from_text("postgresql-md5$", &Limits::new(MEMORY)).ok().unwrap(),
            Verifier::decoy(dear),
        );
        let longest = longest.keeping_name(&name).expose();
        assert!(longest.expose().len() <= MAX_BYTES, "{}", longest.expose().len());
        // After two renames, the hash still includes the first name.
        let renamed = record.keeping_name(&name).keeping_name("second");
        let text = renamed.expose();
        let read = Record::parse(text.expose(), MEMORY).unwrap();
        assert!(read.expose().same_as(&text));
        assert!(["new", "second", &name].iter().all(|user| opens(&read, user)));
        assert_eq!(label(text.expose()), "argon2id+postgresql-md5 m=32,t=1,p=1");
    }

    #[test]
    fn a_hash_without_a_name_keeps_none() {
        for hash in [BCRYPT, "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="] {
            let record = imported(hash);
            let before = record.expose();
            assert!(record.keeping_name("somebody").expose().same_as(&before));
        }
    }

    #[test]
    fn labels_show_no_salt_and_no_output() {
        let labels = [BCRYPT, "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]
            .map(|hash| label(imported(hash).expose().expose()));
        assert_eq!(labels, ["bcrypt -", "argon2id+ldap-sha1 m=32,t=1,p=1"]);
        assert_eq!(label("$argon2id$v=19$m=65536,t=3,p=4$a$b"), "argon2id m=65536,t=3,p=4");
        assert_eq!(label(""), "unknown -");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "$legacy$",
            "$legacy$$",
            "$legacy$AAAA$bcrypt$",
            "$wrapped$argon2id$v=19$m=32,t=1,p=1$",
        ] {
            assert!(Record::parse(text, MEMORY).is_err(), "{text}");
        }
    }

    #[test]
    fn what_takes_more_memory_is_over_the_limit() {
        let hash = "$argon2id$v=19$m=256,t=2,p=4$c29tZXNhbHRzb21lc2FsdA$5CZ0y4EFo8aGNnTOqyj0Zv3Ly//FEsr0bPZ6BGnEO9U";
        assert_eq!(Record::parse(hash, 255).err(), Some(NotAVerifier::OverMemory));
        assert_eq!(Imported::parse(hash, 255).err(), Some(Reason::OverLimit));
        let text = "$legacy$AAAA$argon2i$v=19,m=256,t=2,p=1,l=32$c29tZXNhbHQ";
        assert!(matches!(Record::parse(text, 256), Ok(Record::Legacy(..))));
        assert_eq!(Record::parse(text, 255).err(), Some(NotAVerifier::OverMemory));
        let work = text.replace("t=2", "t=9999999");
        assert_eq!(Record::parse(&work, 255).err(), Some(NotAVerifier::OverLimit));
    }
}
