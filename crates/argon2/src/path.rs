//! The code paths, and which of them this CPU supports.

use crate::Block;
use crate::params::{Error, Inputs, Params};

/// A way of computing Argon2id. All paths give the same tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Our kernel with 512-bit vectors (AVX-512 F).
    Avx512,
    /// Our kernel with 256-bit vectors (AVX2).
    Avx2,
    /// RustCrypto `argon2`, on any CPU.
    Portable,
}

impl Path {
    /// Every path, fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest path that this CPU supports.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// The paths that this CPU supports, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_available())
    }

    /// Whether this CPU and the operating system support the path. Detected once.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// The name for logs and tests: `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The path with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// Invariant: the lengths were checked, and there are exactly as many blocks as needed.
    #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
    pub(crate) fn run(
        self,
        memory: &mut [Block],
        params: Params,
        inputs: &Inputs,
        tag: &mut [u8],
    ) -> Result<(), Error> {
        if !self.is_available() {
            return Err(Error::NotOnThisCpu);
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                use crate::avx512::{fill, position};
                // SAFETY: `is_available` has just found AVX-512 F on this CPU.
                let fill = |memory: &mut [Block], shape| unsafe { fill(memory, shape) };
                crate::fill::hash(memory, params, inputs, tag, position, fill);
                Ok(())
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                use crate::avx2::{fill, position};
                // SAFETY: `is_available` has just found AVX2 on this CPU.
                let fill = |memory: &mut [Block], shape| unsafe { fill(memory, shape) };
                crate::fill::hash(memory, params, inputs, tag, position, fill);
                Ok(())
            }
            _ => portable(memory, params, inputs, tag),
        }
    }
}

/// Computes the tag with RustCrypto `argon2`, in the same memory.
fn portable(
    memory: &mut [Block],
    params: Params,
    inputs: &Inputs,
    tag: &mut [u8],
) -> Result<(), Error> {
    use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
    // It refuses only lengths, and all lengths were checked and are within its bounds.
    let refused = |_| Error::TooLong;
    let params = ParamsBuilder::new()
        .m_cost(params.m_kib())
        .t_cost(params.t())
        .p_cost(params.p())
        .output_len(tag.len())
        .data(AssociatedData::new(inputs.associated_data).map_err(refused)?)
        .build()
        .map_err(refused)?;
    Argon2::new_with_secret(inputs.secret, Algorithm::Argon2id, Version::V0x13, params)
        .and_then(|it| it.hash_password_into_with_memory(inputs.password, inputs.salt, tag, memory))
        .map_err(refused)
}
