//! Unknown users, whose attempts must cost the same as those of known users.
//!
//! | module | subject |
//! | --- | --- |
//! | [`cells`] | the class of cost that an unknown user gets |
//! | [`cost_class`] | what computing a record costs, apart from its user |
//! | [`recount`] | an exact count of records while they change |

pub mod cells;
pub mod cost_class;
pub mod recount;
