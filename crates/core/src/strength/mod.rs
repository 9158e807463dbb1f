//! How easily a password is guessed.
//!
//! | module | idea |
//! | --- | --- |
//! | [`common`] | passwords that everybody thinks of, however they are dressed up |
//! | [`estimate`] | how many guesses a password withstands, in bounded work |

pub mod common;
pub mod estimate;
