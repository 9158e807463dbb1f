//! Is everything as it was written? Nothing here writes a table.
//!
//! | file | does |
//! | --- | --- |
//! | [`events`] | verifies the chain of events |

pub mod events;
