//! Connections to the world: where to, how, and how much comes back.
//!
//! | module | |
//! | --- | --- |
//! | [`allowed`] | the operator's list of hosts and ports |
//! | [`address`] | which sorts of addresses are connected to |
//! | [`dial`] | from a name to a connection to an address that was checked |
//! | [`tls`] | who is trusted |
//! | [`guard`] | bounds on what a server sends |
//! | [`shape`] | what responses may look like |
//! | [`stream`] | a stream with these bounds, and with deadlines |

pub mod address;
pub mod allowed;
pub mod dial;
pub mod guard;
pub mod shape;
pub mod stream;
pub mod tls;
