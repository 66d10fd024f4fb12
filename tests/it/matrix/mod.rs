//! People in a room of a real homeserver: what they are told, and what becomes of what they say.

mod commands;
mod deaths;
mod encrypted;
mod figures;
mod outages;
mod plain;
mod replies;
mod world;
