//! Unknown users, who must cost what known ones do.
//!
//! | module | idea |
//! | --- | --- |
//! | [`decoy`] | what an unknown user's password is hashed against |
//! | [`cost_class`] | what computing a record costs, apart from whose it is |
//! | [`recount`] | an exact count of records while they move |

pub mod cost_class;
pub mod decoy;
pub mod recount;
