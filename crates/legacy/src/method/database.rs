//! Password hashes of other databases: MySQL and MariaDB, SQL Server.

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the output in bytes (SHA-1).
pub const OUTPUT_BYTES: usize = 20;

/// MySQL since 4.1 (`mysql_native_password`): SHA-1 of SHA-1.
pub struct Mysql41;

impl Mysql41 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "mysql41" {
            return Ok(None);
        }
        let ([], []) = (fields.numbers([])?, fields.blobs()?);
        Ok(Some(Box::new(Self)))
    }
}

impl Method for Mysql41 {
    fn name(&self) -> &'static str {
        "mysql41"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let once = Zeroizing::new(<[u8; 20]>::from(Sha1::digest(password)));
        Ok(filled(OUTPUT_BYTES, |out| out.copy_from_slice(&Sha1::digest(*once))))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

/// SQL Server before 2012: SHA-1 of the password in UTF-16 and the salt.
pub struct SqlServer {
    /// SQL Server 2000 also stores the hash of the upper-case password. The text does not tell
    /// whether the server ignored case, so any case is accepted.
    pub capitals: bool,
    /// Four bytes.
    pub salt: Vec<u8>,
}

fn name(capitals: bool) -> &'static str {
    if capitals { "mssql2000" } else { "mssql2005" }
}

impl SqlServer {
    pub fn read(text: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(capitals) = by_name(&[false, true], text, name) else { return Ok(None) };
        let [] = fields.numbers([])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { capitals, salt })))
    }
}

impl Method for SqlServer {
    fn name(&self) -> &'static str {
        name(self.capitals)
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().blob(&self.salt)
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let text = String::from_utf8_lossy(password);
        let capitals =
            Zeroizing::new(if self.capitals { text.to_uppercase() } else { String::new() });
        let text = if self.capitals { capitals.as_str() } else { &text };
        let mut hash = Sha1::new();
        text.encode_utf16().for_each(|unit| hash.update(unit.to_le_bytes()));
        let digest = hash.chain_update(&self.salt).finalize();
        Ok(filled(OUTPUT_BYTES, |out| out.copy_from_slice(&digest)))
    }

    /// Upper-case letters stand for lower-case ones, so the method must stay.
    fn remainder(&self, _: &[u8]) -> Remainder {
        if self.capitals { Remainder::All } else { Remainder::Nothing }
    }
}
