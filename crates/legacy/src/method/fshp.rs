//! FSHP (github.com/bdd/fshp-is-not-secure-anymore): PBKDF1 with password and salt swapped.

use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::{Hash, Method, Remainder};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::{Output, filled};
use crate::{Limits, OutOfMemory, Refusal};

const NAMES: [(&str, Hash); 4] = [
    ("fshp-sha1", Hash::Sha1),
    ("fshp-sha256", Hash::Sha256),
    ("fshp-sha384", Hash::Sha384),
    ("fshp-sha512", Hash::Sha512),
];

pub struct Fshp {
    /// Any hash but MD5.
    pub hash: Hash,
    /// At least 1.
    pub rounds: u32,
    /// Any bytes, or none.
    pub salt: Vec<u8>,
}

impl Fshp {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(&(_, hash)) = NAMES.iter().find(|entry| entry.0 == name) else { return Ok(None) };
        let [rounds] = fields.numbers(["rounds"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { hash, rounds, salt })))
    }

    fn digest<D: sha2::Digest>(&self, password: &[u8]) -> Output {
        let first = D::new().chain_update(&self.salt).chain_update(password).finalize();
        let mut digest = Zeroizing::new(first.to_vec());
        for _ in 1..self.rounds {
            let next = D::digest(&*digest);
            digest.copy_from_slice(&next);
        }
        filled(digest.len(), |out| out.copy_from_slice(&digest))
    }
}

impl Method for Fshp {
    fn name(&self) -> &'static str {
        // FSHP has no MD5: `check` refuses it.
        NAMES.iter().find(|entry| entry.1 == self.hash).map_or("fshp-md5", |entry| entry.0)
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("rounds", self.rounds).blob(&self.salt)
    }

    /// A round is cheaper than an iteration of PBKDF2.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.rounds, limits.pbkdf2_iterations)?;
        floor(self.rounds, 1u32)?;
        if self.hash == Hash::Md5 { Err(Refusal::UnsupportedFormat) } else { Ok(()) }
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        Ok(match self.hash {
            Hash::Sha256 => self.digest::<Sha256>(password),
            Hash::Sha384 => self.digest::<Sha384>(password),
            Hash::Sha512 => self.digest::<Sha512>(password),
            Hash::Sha1 | Hash::Md5 => self.digest::<Sha1>(password),
        })
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}
