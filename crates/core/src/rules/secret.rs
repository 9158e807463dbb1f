//! A plaintext in memory.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Text that must not leave: wiped when dropped, and without `Debug`, `Display`, `Clone` or
/// `PartialEq`, so that it cannot be printed, copied or compared by accident.
///
/// The only way out is [`Secret::expose`], which is short enough to grep for.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over without copying it.
    ///
    /// A `String` that has grown leaves its older, smaller buffers behind unwiped; callers build it
    /// with its final capacity.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Is it the same text? In constant time for texts of one length.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }

    /// The text itself. Every use is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An inherent constant is preferred over a trait's, and the inherent one below exists only where
    // the bound holds: so this tells whether a type implements a trait.
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
