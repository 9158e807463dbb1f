//! Known answers of RFC 9106 section 5 for the Argon2 that the verifiers are made with, including
//! the secret and the associated data that the PHC strings here do not use.

#![allow(clippy::unwrap_used)]

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};

fn tag(algorithm: Algorithm) -> String {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).unwrap())
        .build()
        .unwrap();
    let mut tag = [0; 32];
    Argon2::new_with_secret(&[3; 8], algorithm, Version::V0x13, params)
        .unwrap()
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn argon2id_section_5_3() {
    assert_eq!(
        tag(Algorithm::Argon2id),
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    );
}

#[test]
fn argon2i_and_argon2d_are_other_functions() {
    // Sections 5.2 and 5.1: what would be computed if the variant were mixed up.
    assert_eq!(
        tag(Algorithm::Argon2i),
        "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8"
    );
    assert_eq!(
        tag(Algorithm::Argon2d),
        "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb"
    );
}
