//! Who asks for what: callers, rights, and the table of everything that can be asked.
//!
//! Words only: nothing here is decided. The one place that decides is `authorize` in `service/resources/granted.rs`.

mod call;
mod caller;
mod right;

pub use call::{CALLS, Call, Method};
pub use caller::{Caller, Peer};
pub use right::{Right, Rights};
