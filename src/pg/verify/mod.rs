//! Is everything as it was written? Nothing here writes a table; what is found is left for the worker to say.
//!
//! | file | does |
//! | --- | --- |
//! | [`events`], [`walk`] | verifies the chain of events |
//! | [`erased`] | are erased user ids those that events say they have erased? |
//! | [`tables`] | verifies all other tables |
//! | [`check`] | the same in the background, after a start |
//! | [`rotation`] | the last step of a rotation: is everything sealed? |
//! | [`accept_restore`] | has the tables taken as they are |

pub mod accept_restore;
pub mod check;
pub mod erased;
pub mod events;
pub mod rotation;
pub mod tables;
pub mod walk;
