//! How easily a password is guessed.
//!
//! | module | subject |
//! | --- | --- |
//! | [`common`] | common passwords, however they are decorated |
//! | [`estimate`] | how many guesses a password withstands, in bounded work |

pub mod common;
pub mod estimate;
