//! The integration tests: one binary, one file per story or contract.

mod forge_adapter;
mod forge_contract;
