//! Parameters that belong to a whole site and are missing in its hashes.

use zeroize::Zeroizing;

#[derive(Default)]
pub struct Site {
    /// The "password hash parameters" of a Firebase project.
    pub firebase: Option<FirebaseParams>,
}

/// What the Firebase console shows as "password hash parameters", with base64 decoded.
pub struct FirebaseParams {
    /// `base64_signer_key`, 64 bytes. A secret.
    pub signer_key: Zeroizing<Vec<u8>>,
    /// `base64_salt_separator`, one byte in every known project.
    pub salt_separator: Vec<u8>,
    /// `rounds`: r of scrypt, 8 in every known project.
    pub rounds: u32,
    /// `mem_cost`: the binary logarithm of scrypt's N, 14 in every known project.
    pub mem_cost: u32,
}
