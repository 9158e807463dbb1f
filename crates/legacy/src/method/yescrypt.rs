//! yescrypt (openwall.com/yescrypt), the default of crypt(3) in current distributions.

use yescrypt::{Mode, Params};

use super::memory::ask_for;
use super::{Method, Remainder, c_string};
use crate::fields::Fields;
use crate::limits::{ceiling, floor, kib};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the output in bytes.
pub const OUTPUT_BYTES: usize = 32;
/// The most bytes of S-boxes and smaller buffers per lane, apart from r.
const LANE_BYTES: u64 = 16 * 1024;

/// yescrypt as crypt(3) uses it: without ROM, not upgraded.
pub struct Yescrypt {
    /// The flavor as libxcrypt writes it: 0 classic, 1 write once, 47 read and write.
    pub flavor: u32,
    /// The binary logarithm of N.
    pub log_n: u32,
    /// r, in units of 128 bytes.
    pub r: u32,
    /// p, computed one after the other.
    pub p: u32,
    /// t: more time with the same memory.
    pub t: u32,
    /// At most 64 bytes.
    pub salt: Vec<u8>,
}

impl Yescrypt {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "yescrypt" {
            return Ok(None);
        }
        let [flavor, log_n, r, p, t] = fields.numbers(["f", "ln", "r", "p", "t"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { flavor, log_n, r, p, t, salt })))
    }

    fn bytes(&self) -> u64 {
        let (p, r128) = (u64::from(self.p), 128 * u64::from(self.r));
        let blocks = 1u64.checked_shl(self.log_n).unwrap_or(u64::MAX).saturating_add(p + 2);
        blocks.saturating_mul(r128).saturating_add(p * LANE_BYTES)
    }

    fn params(&self) -> Option<Params> {
        let mode = Mode::try_from(self.flavor).ok()?;
        let n = 1u64.checked_shl(self.log_n)?;
        Params::new_with_all_params(mode, n, self.r, self.p, self.t, 0).ok()
    }
}

impl Method for Yescrypt {
    fn name(&self) -> &'static str {
        "yescrypt"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
            .number("f", self.flavor)
            .number("ln", self.log_n)
            .number("r", self.r)
            .number("p", self.p)
            .number("t", self.t)
            .blob(&self.salt)
    }

    /// Values that overflow, or that the crate would divide by, are refused before the crate sees
    /// them. libxcrypt does not make flavors that the crate cannot compute.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.log_n, 40u32)?;
        limits.memory(self.bytes())?;
        let blocks = (u64::from(self.r) * u64::from(self.p)).saturating_mul(1 << self.log_n);
        ceiling(blocks.saturating_mul(u64::from(self.t) + 1), limits.yescrypt_blocks)?;
        floor(self.log_n, 1u32)?;
        floor(self.r, 1u32)?;
        floor(self.p, 1u32)?;
        ceiling(self.salt.len() as u64, 64u32)?;
        Mode::try_from(self.flavor).map_err(|_| Refusal::UnsupportedFormat)?;
        self.params().map(|_| ()).ok_or(Refusal::Malformed)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        ask_for(self.bytes())?;
        // Invariant: `check` has built the same parameters.
        #[allow(clippy::expect_used)]
        let params = self.params().expect("parameters that were checked");
        Ok(filled(OUTPUT_BYTES, |out| {
            let done = yescrypt::yescrypt(c_string(password), &self.salt, &params, out);
            // Invariant: the crate refuses only parameters, and these were checked.
            #[allow(clippy::expect_used)]
            done.expect("parameters within the ceilings");
        }))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }

    fn is_fast(&self) -> bool {
        false
    }

    fn memory_kib(&self) -> u32 {
        kib(self.bytes())
    }
}
