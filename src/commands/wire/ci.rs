//! Connects a project with its CI.

use crate::{
    adapters::{
        ci::{ForgeStatusCi, ForgeStatusPlan, LocalCi, LocalCiPlan, NoCi, WoodpeckerCi, WoodpeckerPlan},
        system_clock::SystemClock,
    },
    config::{
        Root,
        settings::{CiProvider, Project},
    },
    domain::redact::Redactor,
    output::Failure,
    ports::{ci::Ci, forge::Forge, workspace::Workspace},
};
use std::sync::Arc;

pub(super) fn ci(
    root: &Root,
    project: &Project,
    redactor: &Arc<Redactor>,
    workspace: Arc<dyn Workspace>,
    forge: Arc<dyn Forge>,
) -> Result<Arc<dyn Ci>, Failure> {
    let stale = project.ci.stale.and_then(|stale| stale.try_into().ok());
    let redactor = redactor.clone();
    let redact = Arc::new(move |text: &str| redactor.redact(text).into_owned());
    Ok(match project.ci.provider {
        CiProvider::None => Arc::new(NoCi),
        CiProvider::Woodpecker => {
            let Some(woodpecker) = &project.ci.woodpecker else {
                return Err(Failure::internal(format!("project {} has no Woodpecker", project.name)));
            };
            let plan = WoodpeckerPlan {
                url: woodpecker.url.clone(),
                token: woodpecker.token.clone(),
                repository_id: woodpecker.repository_id,
                repository: project.repository.clone(),
                stale,
                redact,
            };
            let client = WoodpeckerCi::new(plan, Arc::new(SystemClock::default()));
            Arc::new(client.map_err(|error| {
                Failure::user(error.to_string().replacen("the forge", "Woodpecker", 1))
                    .context(format!("project {}", project.name))
            })?)
        }
        CiProvider::Forge => {
            let plan = ForgeStatusPlan {
                required_contexts: project.ci.required_contexts.clone(),
                primary_branch: project.primary_branch.clone(),
                contexts_file: root.ci_dir(&project.name).join("contexts.json"),
                stale,
            };
            Arc::new(ForgeStatusCi::new(plan, forge, Arc::new(SystemClock::default())))
        }
        CiProvider::Local => {
            let plan = LocalCiPlan {
                command: project.ci.command.clone(),
                timeout: project.ci.timeout,
                env_allow: project.agent.env_allow.clone(),
                log_url: project.ci.log_url.clone(),
                log_dir: root.ci_dir(&project.name),
                redact,
            };
            Arc::new(LocalCi::new(plan, workspace, forge))
        }
    })
}
