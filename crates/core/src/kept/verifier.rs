//! The verifier of a password: Argon2id output as a PHC string, stored instead of the password.
//!
//! ```text
//! $argon2id$v=19$m=65536,t=3,p=4$<salt, 22 characters>$<tag, 43 characters>
//! ```

use phc::PasswordHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::kept::workspace::{OutOfMemory, Workspace};
use crate::rules::cost::{Cost, NotACost};
use crate::rules::policy::{NewPassword, Password};
use crate::rules::repeat::Comparison;
use crate::rules::secret::Secret;

/// Salt length of a new verifier in bytes (recommended by RFC 9106 section 3.1).
pub const SALT_BYTES: usize = 16;
/// Tag length of a new verifier in bytes.
pub const TAG_BYTES: usize = 32;

const ALGORITHM: &str = "argon2id";
const VERSION: u32 = 19;
/// RFC 9106 asks for salts of at least 8 bytes.
const MIN_SALT_BYTES: usize = 8;
/// The longest salt of a PHC string.
const MAX_SALT_BYTES: usize = 48;
/// The longest tag of a PHC string.
const MAX_TAG_BYTES: usize = 64;
/// A tag of less than 128 bits is not worth storing.
const MIN_TAG_BYTES: usize = 16;

/// An Argon2id verifier: parameters, salt and tag. It has no `Debug` or `Display`; only
/// [`Verifier::expose`] gives its text.
pub struct Verifier {
    cost: Cost,
    salt: Vec<u8>,
    tag: Zeroizing<Vec<u8>>,
}

/// Why a stored text is not a usable verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAVerifier {
    /// It is not an Argon2id PHC string exactly as this module writes it.
    Malformed,
    /// Its parameters are above the ceilings of [`crate::rules::cost`].
    OverLimit,
    /// It asks for more memory than `password_verify.hash_memory_limit`.
    OverMemory,
    /// It is another system's, which this build cannot read (feature `import`).
    NotBuilt,
}

impl Verifier {
    /// Hashes a new password. `salt` must come from the operating system's generator.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn create(
        password: &NewPassword,
        cost: Cost,
        salt: [u8; SALT_BYTES],
        workspace: &mut Workspace,
    ) -> Result<Self, OutOfMemory> {
        Self::remake(password.password(), cost, salt, workspace)
    }

    /// Hashes a password that was right again, even if it does not meet the current rules.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn remake(
        password: &Password,
        cost: Cost,
        salt: [u8; SALT_BYTES],
        workspace: &mut Workspace,
    ) -> Result<Self, OutOfMemory> {
        Self::of_bytes(password.expose().as_bytes(), cost, salt, workspace)
    }

    /// Hashes a password, or another system's output for one.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub(crate) fn of_bytes(
        bytes: &[u8],
        cost: Cost,
        salt: [u8; SALT_BYTES],
        workspace: &mut Workspace,
    ) -> Result<Self, OutOfMemory> {
        let mut tag = Zeroizing::new(vec![0; TAG_BYTES]);
        workspace.argon2id(cost, bytes, &salt, &mut tag)?;
        Ok(Self { cost, salt: salt.to_vec(), tag })
    }

    /// Takes over a verifier from another system. `None` if salt or tag have a length that
    /// [`Verifier::parse`] refuses.
    pub(crate) fn from_parts(cost: Cost, salt: &[u8], tag: &[u8]) -> Option<Self> {
        let fits = (MIN_SALT_BYTES..=MAX_SALT_BYTES).contains(&salt.len())
            && (MIN_TAG_BYTES..=MAX_TAG_BYTES).contains(&tag.len());
        let tag = Zeroizing::new(tag.to_vec());
        fits.then(|| Self { cost, salt: salt.to_vec(), tag })
    }

    /// The salt and the tag, for a text that has more than these.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        (&self.salt, &self.tag)
    }

    /// Hashes a fixed text with `cost`, to measure the time.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn measure(
        cost: Cost,
        salt: [u8; SALT_BYTES],
        workspace: &mut Workspace,
    ) -> Result<(), OutOfMemory> {
        Self::of_bytes(b"correct horse battery staple", cost, salt, workspace).map(drop)
    }

    /// A verifier to spend `cost` on when there is nothing to compare with. The caller must ignore
    /// the result of [`Verifier::matches`].
    pub fn decoy(cost: Cost) -> Self {
        Self { cost, salt: vec![0; SALT_BYTES], tag: Zeroizing::new(vec![0; TAG_BYTES]) }
    }

    /// Whether this is the password. Compares the tags in constant time.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn matches(
        &self,
        password: &Password,
        workspace: &mut Workspace,
    ) -> Result<bool, OutOfMemory> {
        self.matches_bytes(password.expose().as_bytes(), workspace)
    }

    /// Like [`Verifier::matches`], for another system's output.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub(crate) fn matches_bytes(
        &self,
        bytes: &[u8],
        workspace: &mut Workspace,
    ) -> Result<bool, OutOfMemory> {
        Ok(self.compare_bytes(bytes, workspace)?.is_right())
    }

    /// Like [`Verifier::matches_bytes`], but also returns the computed tag.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub(crate) fn compare_bytes(
        &self,
        bytes: &[u8],
        workspace: &mut Workspace,
    ) -> Result<Comparison, OutOfMemory> {
        let mut tag = Zeroizing::new(vec![0; self.tag.len()]);
        workspace.argon2id(self.cost, bytes, &self.salt, &mut tag)?;
        Ok(Comparison::new(tag.ct_eq(&self.tag).into(), &tag))
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Reads what [`Verifier::expose`] wrote.
    ///
    /// # Errors
    /// [`NotAVerifier`]. A text that differs in one byte from the canonical one is malformed,
    /// because only this module writes to the table.
    pub fn parse(text: &str) -> Result<Self, NotAVerifier> {
        let phc = PasswordHash::new(text).map_err(|_| NotAVerifier::Malformed)?;
        let number = |name| phc.params.get_decimal(name).ok_or(NotAVerifier::Malformed);
        let (m, t, p) = (number("m")?, number("t")?, number("p")?);
        let salt = phc.salt.as_ref().filter(|salt| salt.len() >= MIN_SALT_BYTES);
        let tag = phc.hash.as_ref().filter(|tag| tag.len() >= MIN_TAG_BYTES);
        let (Some(salt), Some(tag)) = (salt, tag) else { return Err(NotAVerifier::Malformed) };
        // The canonical text has this algorithm, this version, and these parameters in this order.
        let canonical = format!("${ALGORITHM}$v={VERSION}$m={m},t={t},p={p}${salt}${tag}");
        if text != *Zeroizing::new(canonical) {
            return Err(NotAVerifier::Malformed);
        }
        let cost = Cost::new(m, t, p).map_err(|why| match why {
            NotACost::AboveCeiling => NotAVerifier::OverLimit,
            NotACost::BelowMinimum => NotAVerifier::Malformed,
        })?;
        Ok(Self { cost, salt: salt.to_vec(), tag: Zeroizing::new(tag.as_bytes().to_vec()) })
    }

    /// The PHC string, for storing it only.
    pub fn expose(&self) -> Secret {
        use phc::{Output, Salt};
        // Invariant: both lengths were checked by `parse` or set by `create` and `decoy`.
        #[allow(clippy::expect_used)]
        let (salt, tag) = (
            Salt::new(&self.salt).expect("a salt of 8 to 48 bytes"),
            Output::new(&self.tag).expect("a tag of 16 to 64 bytes"),
        );
        let (m, t, p) = (self.cost.memory_kib(), self.cost.iterations(), self.cost.parallelism());
        Secret::new(format!("${ALGORITHM}$v={VERSION}$m={m},t={t},p={p}${salt}${tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policy::Submitted;
    use proptest::prelude::*;

    fn password(text: &str) -> Password {
        Password::normalize(Submitted::Text(Secret::new(text.into()))).ok().unwrap()
    }

    fn cheap() -> Cost {
        Cost::new(32, 1, 1).unwrap()
    }

    fn workspace(cost: Cost) -> Workspace {
        Workspace::new(cost, password_verify_argon2::Path::best()).unwrap()
    }

    fn made(text: &str, salt: u8) -> Verifier {
        Verifier::remake(&password(text), cheap(), [salt; 16], &mut workspace(cheap())).unwrap()
    }

    fn matches(verifier: &Verifier, password: &Password) -> bool {
        verifier.matches(password, &mut workspace(verifier.cost())).unwrap()
    }

    #[test]
    fn right_and_wrong() {
        let verifier = made("correct horse battery staple", 1);
        assert!(matches(&verifier, &password("correct horse battery staple")));
        assert!(!matches(&verifier, &password("correct horse battery stapl")));
        assert!(!matches(&verifier, &password("")));
    }

    #[test]
    fn the_reference_implementation_is_read_and_agreed_with() {
        // echo -n password | argon2 somesaltsomesalt -id -t 2 -k 256 -p N -l 32 -e
        for text in [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$yrdGtGIZk/3JHsUHh5gLQUqQppLwvGjf4Z+cJbPLqew",
            "$argon2id$v=19$m=256,t=2,p=4$c29tZXNhbHRzb21lc2FsdA$5CZ0y4EFo8aGNnTOqyj0Zv3Ly//FEsr0bPZ6BGnEO9U",
        ] {
            let verifier = Verifier::parse(text).ok().unwrap();
            assert!(matches(&verifier, &password("password")));
            assert!(!matches(&verifier, &password("Password")));
            assert_eq!(verifier.expose().expose(), text);
        }
    }

    #[test]
    fn what_is_written_is_what_the_reference_implementation_writes() {
        // echo -n 'correct horse battery staple' | argon2 sixteenbytesalt! -id -t 3 -k 65536 -p 4 -l 32 -e
        let password = password("correct horse battery staple");
        let cost = Cost::new(65536, 3, 4).unwrap();
        let verifier =
            Verifier::remake(&password, cost, *b"sixteenbytesalt!", &mut workspace(cost)).unwrap();
        assert_eq!(
            verifier.expose().expose(),
            "$argon2id$v=19$m=65536,t=3,p=4$c2l4dGVlbmJ5dGVzYWx0IQ$fIdckRrlGIsZEK+VGnuPj/D4XiTNGpIDoIAZIsyWpwc"
        );
    }

    #[test]
    fn the_salt_matters() {
        assert!(!made("x", 1).expose().same_as(&made("x", 2).expose()));
    }

    #[test]
    fn a_written_verifier_reads_back() {
        let verifier = made("correct horse battery staple", 9);
        let read = Verifier::parse(verifier.expose().expose()).ok().unwrap();
        assert_eq!(read.cost(), cheap());
        assert!(matches(&read, &password("correct horse battery staple")));
    }

    #[test]
    fn every_truncation_is_malformed_never_a_panic() {
        let text = made("x", 1).expose();
        let text = text.expose();
        for end in 0..text.len() {
            // A shorter tag is valid base64, but a tag must have at least 16 bytes.
            if let Ok(verifier) = Verifier::parse(&text[..end]) {
                assert!(verifier.tag.len() >= MIN_TAG_BYTES);
                assert!(!matches(&verifier, &password("x")));
            }
        }
    }

    #[test]
    fn what_is_not_canonical_is_malformed() {
        let salt = "c29tZXNhbHRzb21lc2FsdA";
        let tag = "eOKSL4f/6ERLnEfxmyv/KsSzgf7pSmW8WSM4DjHlZdk";
        for text in [
            String::new(),
            format!("$argon2i$v=19$m=256,t=2,p=1${salt}${tag}"),
            format!("$argon2id$v=16$m=256,t=2,p=1${salt}${tag}"),
            format!("$argon2id$m=256,t=2,p=1${salt}${tag}"),
            format!("$argon2id$v=19$t=2,m=256,p=1${salt}${tag}"),
            format!("$argon2id$v=19$m=0256,t=2,p=1${salt}${tag}"),
            format!("$argon2id$v=19$m=256,t=2,p=1,keyid=AAAA${salt}${tag}"),
            format!("$argon2id$v=19$m=256,t=2${salt}${tag}"),
            format!("$argon2id$v=19$m=256,t=2,p=1${salt}"),
            format!("$argon2id$v=19$m=256,t=2,p=1$c2FsdA${tag}"),
            format!("$argon2id$v=19$m=256,t=2,p=1${salt}$AAAAAAAAAAAAAAAA"),
            format!("$argon2id$v=19$m=256,t=2,p=1${salt}${tag} "),
            format!(" $argon2id$v=19$m=256,t=2,p=1${salt}${tag}"),
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".into(),
        ] {
            assert_eq!(Verifier::parse(&text).err(), Some(NotAVerifier::Malformed), "{text}");
        }
    }

    #[test]
    fn what_is_above_the_ceilings_is_not_computed() {
        for params in
            ["m=1048577,t=1,p=1", "m=65536,t=21,p=1", "m=65536,t=1,p=17", "m=4294967295,t=3,p=4"]
        {
            let text = format!(
                "$argon2id$v=19${params}$c29tZXNhbHRzb21lc2FsdA$eOKSL4f/6ERLnEfxmyv/KsSzgf7pSmW8WSM4DjHlZdk"
            );
            assert_eq!(Verifier::parse(&text).err(), Some(NotAVerifier::OverLimit), "{params}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_is_refused_or_read_without_a_panic(text in "\\PC{0,200}") {
            let _ = Verifier::parse(&text);
        }

        #[test]
        fn any_change_of_one_byte_is_refused_or_another_verifier(at in 0usize..100, to in b' '..b'~') {
            let text = made("correct horse battery staple", 3).expose().expose().to_owned();
            let mut changed = text.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = to;
            let changed = String::from_utf8(changed).unwrap();
            if changed != text && let Ok(other) = Verifier::parse(&changed) {
                let text = other.expose();
                prop_assert_eq!(text.expose(), &changed);
                if other.cost().memory_kib() < 4096 {
                    let password = password("correct horse battery staple");
                    prop_assert!(!matches(&other, &password));
                }
            }
        }
    }
}
