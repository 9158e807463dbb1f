//! Small pages and too little memory, in a process of their own: both are settings of the process.

#![cfg(not(miri))]
#![allow(clippy::unwrap_used, unsafe_code)]

use password_verify_argon2::{Arena, Inputs, Params, Refused, hash};

fn hashed(arena: &mut Arena, params: Params) -> [u8; 32] {
    let inputs = Inputs { password: b"password", salt: b"somesalt", ..Inputs::default() };
    let mut tag = [0; 32];
    hash(arena.blocks(), params, &inputs, &mut tag).unwrap();
    tag
}

#[test]
fn small_pages_are_noticed_and_refused_memory_is_an_error() {
    let params = Params::new(19 * 1024, 1, 1).unwrap();
    let expected = hashed(&mut Arena::new(params.blocks()).unwrap(), params);

    // SAFETY: this changes what the kernel takes for later mappings, nothing that the program sees.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }, 0);
    let mut small = Arena::new(params.blocks()).unwrap();
    assert!(!small.expects_huge_pages());
    assert_eq!(hashed(&mut small, params), expected);

    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: these are valid for the length of each call.
    let refused = unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut before), 0);
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: 0, ..before }), 0);
        let refused = Arena::new(params.blocks()).err();
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &before), 0);
        refused
    };
    assert_eq!(refused, Some(Refused));
    assert_eq!(hashed(&mut Arena::new(params.blocks()).unwrap(), params), expected);
}
