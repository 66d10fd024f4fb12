//! The integration tests: one binary, one file per story or contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod architecture;
mod config;
mod status;
mod store_contract;

#[path = "../support/store.rs"]
mod store_support;

#[path = "../support/root.rs"]
mod root_support;
