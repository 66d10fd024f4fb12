//! What the documentation promises: its links lead somewhere, its commands exist, its map of the code is whole, its numbers
//! hold, and its example runs.

mod budget;
mod code_map;
mod commands;
mod links;
mod pages;
mod reason_codes;
mod reference;
mod replay;
