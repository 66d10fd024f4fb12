//! The integration tests: one binary, one file per story or contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod architecture;
mod brake;
mod chat_words;
mod config;
mod delivery;
mod locks;
#[cfg(feature = "matrix")]
mod matrix;
mod outbox;
mod redaction;
mod status;
mod store_contract;
mod store_processes;
mod store_sqlite;

#[path = "../support/store.rs"]
mod store_support;

#[cfg(feature = "matrix")]
#[path = "../support/synapse.rs"]
mod synapse_support;

#[path = "../support/git_world.rs"]
mod git_world;
#[path = "../support/status_board.rs"]
mod status_board;

#[path = "../support/ports.rs"]
mod ports;

mod local_ci;
mod merge_answers;
mod woodpecker;
mod workspace;

mod forge_adapter;

mod forge_contract;
mod gate;
mod guard;
mod queue;
#[path = "../support/root.rs"]
mod root_support;

#[path = "../support/terminal.rs"]
mod terminal;

mod phase;
mod session;

#[path = "../support/forge.rs"]
mod forge_support;

mod embedded_forge;

mod docs;

#[path = "../support/by_hand.rs"]
mod by_hand_support;
mod stories;
#[path = "../support/woodpecker.rs"]
mod woodpecker_support;

mod agent_contract;
mod real_claude;
mod rebase;
mod recovery;
#[path = "../support/run_events.rs"]
mod run_events;
mod run_machine;
#[path = "../support/run_rules.rs"]
mod run_rules;
mod run_walks;
#[path = "../support/scripted_api.rs"]
mod scripted_api;
mod state_machine_doc;
mod tick_faults;
mod tick_limits;
mod why;
