//! The forge port over the REST API that Gitea and Forgejo share.
//!
//! From the outside in: `gitea` says what each call of the port is on the wire; `paging` makes whole lists of pages; `retry`
//! repeats reads; `pause` knows when a forge wants to be left alone; `http` sends one request over `connections` and reads a bounded answer; `answer` turns what is no success into errors; `wire`
//! holds the shapes of the API and `convert` makes them into rig's own words. `http` and `retry` serve the API of Woodpecker too. Deliberately absent: any decision about what an
//! answer means for an issue, and webhooks.

mod answer;
mod connections;
mod convert;
mod gitea;
pub(in crate::adapters) mod http;
mod paging;
mod pause;
pub(in crate::adapters) mod retry;
mod wire;

pub use connections::{Connections, Timing};
pub use gitea::Gitea;
pub use http::InvalidConnection;
