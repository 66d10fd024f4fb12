//! What the user wants: the root, the projects' TOML files, the environment, and what they come to together.
//!
//! `locate` finds the root; `schema` is the one table of keys; `document` reads a file against it; `resolve` adds environment
//! and defaults and keeps where each value came from; `project` makes the typed [`settings::Project`]; `load` does it for a
//! root. Deliberately absent: printing, exit codes, and any answer that needs the network.

pub mod document;
pub mod duration;
pub mod environment;
pub mod kind;
pub mod load;
pub mod locate;
pub mod only_here;
pub mod problem;
pub mod project;
pub mod resolve;
pub mod root;
pub mod schema;
pub mod secrets;
pub mod settings;
pub mod text_kind;
pub mod value;

pub use load::{Explained, LoadError, Loaded, explain, fingerprint, load, load_one, load_with, names, one_name};
pub use locate::RootError;
pub use only_here::variables_only_here;
pub use problem::{Problem, ProjectProblem};
pub use resolve::{Origin, Setting};
pub use root::Root;
