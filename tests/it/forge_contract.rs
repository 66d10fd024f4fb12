//! What a client may depend on in a Gitea or Forgejo, and that the adapter gets it right, checked on a running server of which
//! only the URL and an administrator's token are known: every user, token and repository is made through the public API.
//!
//! The suite runs on the embedded forge always, and on the server that `RIG_TEST_FORGE_URL` and
//! `RIG_TEST_FORGE_ADMIN_TOKEN` name as well when they are set. No check knows which one it talks to; where real forges differ,
//! it takes what either does.

#![expect(clippy::unwrap_used, reason = "a check fails by panicking")]

/// Makes tests of checks: each on the embedded forge and on the external one.
macro_rules! contract {
    ($($check:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $check() {
                let server = crate::forge_contract::servers::embedded().await;
                super::$check(&server.world).await;
            })*
        }

        mod external {
            $(#[tokio::test]
            async fn $check() {
                if let Some(world) = crate::forge_contract::servers::external() {
                    super::$check(&world).await;
                }
            })*
        }
    };
}

mod access;
mod adapter;
mod branches;
mod dependencies;
mod issues;
mod labels;
mod merging;
mod pulls;
mod reviews;
mod servers;
mod statuses;
mod world;
