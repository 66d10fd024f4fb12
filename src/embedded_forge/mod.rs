//! The embedded forge: a small forge that speaks the Gitea API over HTTP, on SQLite and bare git repositories, for a first run,
//! for people without a forge, and for tests. It stands apart: nothing of rig's domain, ports or engine is known here, and it
//! is reached through HTTP alone. Deliberately absent: a web interface, webhooks, forks, teams, milestones, SSH.

mod accounts;
mod auth;
mod branches;
mod call;
mod closing;
mod collaborators;
mod comments;
mod contents;
mod dependencies;
mod error;
mod faults;
mod git;
mod git_http;
mod git_push;
mod issue_labels;
mod issue_list;
mod issues;
mod labels;
mod merge;
mod merge_git;
mod mergeability;
mod paging;
mod protection;
mod provision;
mod pull_files;
mod pull_sync;
mod pulls;
mod repositories;
mod review_comments;
mod review_requests;
mod reviews;
mod routes;
mod schema;
mod scopes;
mod server;
mod state;
mod statuses;
mod store;

pub use server::{ForgeServerError, Options, Running, start};
