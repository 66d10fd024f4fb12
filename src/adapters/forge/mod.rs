//! The forge port over the REST API that Gitea and Forgejo share.
//!
//! From the outside in: `gitea` says what each call of the port is on the wire; `paging` makes whole lists of pages; `retry`
//! repeats reads; `http` sends one request over `connections` and reads a bounded answer; `answer` turns what is no success into errors; `wire`
//! holds the shapes of the API and `convert` makes them into rig's own words. Deliberately absent: any decision about what an
//! answer means for an issue, and webhooks.

mod answer;
mod connections;
mod convert;
mod gitea;
mod http;
mod paging;
mod retry;
mod wire;

pub use connections::{Connections, Timing};
pub use gitea::Gitea;
pub use http::InvalidConnection;
