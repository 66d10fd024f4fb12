//! The integration tests: one binary, one file per story or contract.

#[path = "../support/forge.rs"]
mod forge_support;

mod embedded_forge;
mod forge_adapter;
mod forge_contract;
