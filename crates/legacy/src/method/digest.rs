//! One hash of password and salt: LDAP (RFC 2307 and its salted forms) and Django before 1.4.

use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::{Method, Remainder};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    /// Length of the output in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaltAt {
    /// Before the password: Django.
    Start,
    /// After the password: LDAP.
    End,
}

pub struct Digest {
    pub hash: Hash,
    pub salt_at: SaltAt,
    /// Any bytes, or none.
    pub salt: Vec<u8>,
}

const NAMES: [(&str, Hash, SaltAt); 7] = [
    ("django-md5", Hash::Md5, SaltAt::Start),
    ("django-sha1", Hash::Sha1, SaltAt::Start),
    ("ldap-md5", Hash::Md5, SaltAt::End),
    ("ldap-sha1", Hash::Sha1, SaltAt::End),
    ("ldap-sha256", Hash::Sha256, SaltAt::End),
    ("ldap-sha384", Hash::Sha384, SaltAt::End),
    ("ldap-sha512", Hash::Sha512, SaltAt::End),
];

impl Digest {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(&(_, hash, salt_at)) = NAMES.iter().find(|entry| entry.0 == name) else {
            return Ok(None);
        };
        let [] = fields.numbers([])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { hash, salt_at, salt })))
    }
}

impl Method for Digest {
    fn name(&self) -> &'static str {
        // Invariant: no format makes another pair, and `read` takes the pair from the table.
        #[allow(clippy::expect_used)]
        let entry = NAMES
            .iter()
            .find(|entry| (entry.1, entry.2) == (self.hash, self.salt_at))
            .expect("a pair of the table");
        entry.0
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().blob(&self.salt)
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let parts = match self.salt_at {
            SaltAt::Start => [&self.salt, password],
            SaltAt::End => [password, &self.salt],
        };
        Ok(match self.hash {
            Hash::Md5 => digest::<Md5>(parts),
            Hash::Sha1 => digest::<Sha1>(parts),
            Hash::Sha256 => digest::<Sha256>(parts),
            Hash::Sha384 => digest::<Sha384>(parts),
            Hash::Sha512 => digest::<Sha512>(parts),
        })
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

fn digest<D: sha2::Digest>([first, second]: [&[u8]; 2]) -> Output {
    let hash = D::new().chain_update(first).chain_update(second);
    filled(<D as sha2::Digest>::output_size(), |out| out.copy_from_slice(&hash.finalize()))
}
