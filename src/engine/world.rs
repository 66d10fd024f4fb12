//! Everything of the outside that the engine works with for one project, as ports.

use crate::{
    config::{root::Root, settings::Project},
    domain::{chat::Channel, redact::Redactor, repository::RepositoryKey, run::Policy},
    ports::{
        allowance::Allowance,
        chat::Sender,
        ci::Ci,
        ci_breaks::CiBreaks,
        clock::Clock,
        forge::Forge,
        launch::Machine,
        lock::Locks,
        outbox::Outbox,
        session::Sessions,
        store::{RunRow, Store, StoreResult},
        usage::UsageMeter,
        workspace::Workspace,
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// Channels, each with what sends to it.
pub type Senders = Vec<(Channel, Arc<dyn Sender>)>;

/// One project's outside. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub project: Arc<Project>,
    pub root: Root,
    /// Tells this root's claims from those of others; made once per root.
    pub root_id: String,
    pub forge: Arc<dyn Forge>,
    pub ci: Arc<dyn Ci>,
    /// What CI broke for lately on this host.
    pub ci_breaks: Arc<dyn CiBreaks>,
    /// Files of the repository that `ci.command` names.
    pub ci_files: BTreeSet<String>,
    pub sessions: Arc<dyn Sessions>,
    pub workspace: Arc<dyn Workspace>,
    pub locks: Arc<dyn Locks>,
    pub store: Arc<dyn Store>,
    pub outbox: Arc<dyn Outbox>,
    /// The channels that every process serves by itself; a chat has its bridge.
    pub senders: Senders,
    pub usage: Arc<dyn UsageMeter>,
    pub clock: Arc<dyn Clock>,
    pub machine: Arc<dyn Machine>,
    pub redactor: Arc<Redactor>,
    /// What may still be asked of the forge.
    pub allowance: Arc<Allowance>,
}

impl World {
    /// Returns the repository in its one spelling: what open runs and slots are counted by.
    pub fn repository(&self) -> RepositoryKey {
        self.project.key()
    }

    /// Returns the open runs that count for this project: its own, and those of its repository that other projects lead.
    pub async fn open_runs(&self) -> StoreResult<Vec<RunRow>> {
        self.store.open_runs_of(&self.project.name, &self.repository()).await
    }

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
            when_behind: project.merge.when_behind,
            audit: true,
        }
    }
}
