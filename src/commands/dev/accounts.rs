//! Whether the accounts of a project are those that its file names: checked before anything is written as somebody.

use super::forge_failure;
use crate::{commands::wire, domain::ids::Login, engine::World, output::Failure};
use std::time::Duration;

/// Time in which a forge says whose the token is, or a driver goes on without knowing.
const WHOAMI_TIME: Duration = Duration::from_secs(15);

/// Who goes on with a run waits for its forge, whatever is wrong there; with a token of another account it would write as
/// somebody else.
pub(super) async fn check_bot(world: &World) -> Result<(), Failure> {
    match tokio::time::timeout(WHOAMI_TIME, world.forge.whoami()).await {
        Ok(Ok(who)) if !who.is(&world.project.forge.bot) => Err(wrong_account(world, &who, "the token")),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "whose the token is cannot be asked now");
            Ok(())
        }
        Err(_) => {
            tracing::warn!("whose the token is cannot be asked now: the forge does not answer");
            Ok(())
        }
    }
}

fn wrong_account(world: &World, who: &Login, what: &str) -> Failure {
    let project = &world.project;
    Failure::user(format!(
        "project {}: {what} belongs to `{who}`, not to the configured bot `{}`",
        project.name, project.forge.bot
    ))
    .hint("check [forge] bot and the variable that [forge] token_env names")
}

/// The token must be the bot's, the reviewer's must be somebody else's, and the repository there, with a commit, and the bot's to push to.
pub(super) async fn check_accounts(world: &World) -> Result<(), Failure> {
    let project = &world.project;
    let (who, repository) = tokio::join!(world.forge.whoami(), world.forge.repository());
    let who = who.map_err(forge_failure)?;
    if !who.is(&project.forge.bot) {
        return Err(wrong_account(world, &who, "the token"));
    }
    let repository = repository.map_err(forge_failure)?;
    if repository.archived || !repository.can_push {
        let why = if repository.archived { "is archived" } else { "does not let the bot push" };
        return Err(Failure::user(format!("project {}: the repository {} {why}", project.name, project.repository))
            .hint(format!("give `{}` write access on the forge, or set enabled = false", project.forge.bot)));
    }
    if repository.empty {
        return Err(Failure::user(format!("project {}: the repository {} is empty", project.name, project.repository))
            .hint(format!("push a first commit to its branch `{}`", project.primary_branch)));
    }
    if let Some(token) = &project.forge.review_token {
        let reviewer = wire::reviewer_forge(project, token.clone())?.whoami().await.map_err(forge_failure)?;
        if reviewer.is(&project.forge.bot) {
            return Err(Failure::user(format!("project {}: the review token is the bot's own", project.name)).hint(
                "an agent never approves its own work: give [forge] review_token_env the token of another account",
            ));
        }
    }
    Ok(())
}
