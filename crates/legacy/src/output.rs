//! The output that another system stored of a password.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The output of a hash: wiped when dropped, and without `Debug`, `Display`, `Clone` or
/// `PartialEq`, so that it cannot be printed, copied or compared by accident.
pub struct Output(Zeroizing<Vec<u8>>);

impl Output {
    /// Takes the bytes over without copying them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether both outputs are the same. Takes constant time for outputs of equal length.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The bytes, for storing or wrapping them. Every use needs a review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Fills an output in its final place, so that no copy is left behind.
pub(crate) fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Output {
    let mut bytes = Zeroizing::new(vec![0; length]);
    fill(&mut bytes);
    Output(bytes)
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
    fn an_output_cannot_be_printed_cloned_or_compared() {
        assert!(implements!(String, std::fmt::Debug), "the probe itself works");
        assert!(!implements!(Output, std::fmt::Debug));
        assert!(!implements!(Output, std::fmt::Display));
        assert!(!implements!(Output, Clone));
        assert!(!implements!(Output, PartialEq));
        assert!(!implements!(crate::Scheme, std::fmt::Debug), "a signer key may be in it");
    }

    #[test]
    fn outputs_are_compared_on_purpose_only() {
        let output = |bytes: &[u8]| Output::new(bytes.to_vec());
        assert!(output(b"abc").same_as(&output(b"abc")));
        assert!(!output(b"abc").same_as(&output(b"abd")));
        assert!(!output(b"abc").same_as(&output(b"abcd")));
        assert!(!output(b"abc").same_as(&output(b"")));
    }

    #[test]
    fn an_output_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let Output(inner) = filled(3, |bytes| bytes.fill(7));
        assert_eq!(inner.as_slice(), [7, 7, 7]);
        wiped(&inner);
    }
}
