//! What the user wants: the root, the projects' TOML files, the environment, and what they come to together.

pub mod root;
pub mod settings;
