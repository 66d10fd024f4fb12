//! What a person or a script sees: data on stdout, talk on stderr, errors with hints, exit codes. Logs are neither.

pub mod error;
pub mod logging;
pub mod printer;

pub use error::{Exit, Failure};
pub use printer::Printer;
