//! Everything of the outside that the engine works with for one project, as ports.

use crate::{
    config::{root::Root, settings::Project},
    domain::{redact::Redactor, run::Policy},
    ports::{
        ci::Ci, clock::Clock, forge::Forge, launch::Machine, lock::Locks, session::Sessions, store::Store,
        workspace::Workspace,
    },
};
use std::sync::Arc;

/// One project's outside. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub project: Arc<Project>,
    pub root: Root,
    /// Tells this root's claims from those of others; made once per root.
    pub root_id: String,
    pub forge: Arc<dyn Forge>,
    pub ci: Arc<dyn Ci>,
    pub sessions: Arc<dyn Sessions>,
    pub workspace: Arc<dyn Workspace>,
    pub locks: Arc<dyn Locks>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub machine: Arc<dyn Machine>,
    pub redactor: Arc<Redactor>,
}

impl World {
    /// Returns the rules that a run of this project goes by.
    pub fn policy(&self) -> Policy {
        let project = &self.project;
        Policy {
            ci_fixes: project.limits.ci_fixes,
            review_rounds: project.limits.review_rounds,
            respawns: project.limits.respawns,
            nudges: project.limits.nudges,
            rebases: project.limits.rebases,
            agent_timeout_secs: project.agent.timeout.as_secs(),
            ci_timeout_secs: project.ci.timeout.as_secs(),
            review_timeout_secs: project.review.timeout.as_secs(),
            escalate_reminder_secs: project.limits.escalate_reminder.as_secs(),
            escalate_second_secs: project.limits.escalate_second.as_secs(),
            escalate_timeout_secs: project.limits.escalate_timeout.as_secs(),
            delete_branch: project.merge.delete_branch,
        }
    }
}
