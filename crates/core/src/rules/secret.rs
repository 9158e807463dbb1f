//! A plaintext in memory, which must never be printed, copied or compared by accident.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret text: wiped when dropped, and without `Debug`, `Display`, `Clone` or `PartialEq`.
///
/// The only way out is [`Secret::expose`], which is easy to find with grep.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over without copying it.
    /// Takes the text over without copying it.
    ///
    /// A `String` that has grown leaves unwiped copies in its earlier, smaller buffers, so callers
    /// must allocate it with its final capacity.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether both texts are the same. Takes constant time for texts of equal length.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }

    /// The text itself. Every use needs a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// How much of the stack [`leaving_nothing`] wipes, in bytes: far less than the 512 kB that PostgreSQL
/// keeps free beyond `max_stack_depth`.
const STACK: usize = 32 * 1024;

/// Does some work, and wipes the stack that it took. What libraries copied there, and registers that
/// were saved there, no type can wipe.
pub fn leaving_nothing<T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    wipe_stack();
    result
}

/// A frame of its own, below that of the caller, where [`wipe_stack`] has its own afterwards.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe_stack() {
    [0_u64; STACK / 8].zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tells whether a type implements a trait: the inherent constant exists only where the bound
    // holds, and then takes precedence over the trait's.
    macro_rules! implements {
        ($ty:ty, $bound:path) => {{
            struct Probe<T>(std::marker::PhantomData<T>);
            #[allow(dead_code)]
            trait Otherwise {
                const IT_DOES: bool = false;
            }
            impl<T> Otherwise for Probe<T> {}
            #[allow(dead_code)]
            impl<T: $bound> Probe<T> {
                const IT_DOES: bool = true;
            }
            <Probe<$ty>>::IT_DOES
        }};
    }

    #[test]
    fn a_secret_cannot_be_printed_cloned_or_compared() {
        assert!(implements!(String, std::fmt::Debug), "the probe itself works");
        assert!(!implements!(Secret, std::fmt::Debug));
        assert!(!implements!(Secret, std::fmt::Display));
        assert!(!implements!(Secret, Clone));
        assert!(!implements!(Secret, PartialEq));
        assert!(!implements!(Secret, AsRef<str>));
    }

    #[test]
    fn a_secret_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let Secret(inner) = Secret::new(String::new());
        wiped(&inner);
    }

    #[test]
    fn secrets_are_compared_on_purpose_only() {
        let secret = |text: &str| Secret::new(text.into());
        assert!(secret("correct horse").same_as(&secret("correct horse")));
        assert!(!secret("correct horse").same_as(&secret("correct hors")));
        assert!(!secret("correct horse").same_as(&secret("Correct horse")));
    }

    #[test]
    fn taking_a_string_over_does_not_copy_it() {
        let text = String::from("correct horse");
        let before = text.as_ptr();
        assert_eq!(Secret::new(text).expose().as_ptr(), before);
    }
}
