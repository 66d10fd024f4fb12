//! The verdict from the commit statuses that others post on the forge: which contexts are required is found here, what
//! follows from them is decided in the domain.

use super::contexts_file::ContextsFile;
use crate::{
    domain::{
        ci::{CiVerdict, KnownContexts, Settled, required_at, verdict},
        ids::Sha,
        pull_request::Status,
    },
    ports::{
        ci::{Ci, CiError},
        clock::Clock,
        forge::{Forge, ForgeError},
    },
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use std::{path::PathBuf, sync::Arc};

/// Commits whose statuses are read at a time.
const COMMITS_AT_ONCE: usize = 12;

/// What the verdict from statuses is made from.
pub struct ForgeStatusPlan {
    /// Names or globs; when empty, the forge is asked what the primary branch demands or shows.
    pub required_contexts: Vec<String>,
    pub primary_branch: String,
    /// File in which the contexts of the primary branch are remembered; made when needed.
    pub contexts_file: PathBuf,
    /// A check that is pending for longer is lost.
    pub stale: Option<SignedDuration>,
}

/// Who says which contexts must be green.
enum Demand {
    /// The settings, or the forge's rules for the primary branch.
    Rules(Vec<String>),
    /// Nobody but the primary branch, by what it shows.
    Seen(Settled),
}

/// Reads statuses; runs nothing.
pub struct ForgeStatusCi {
    forge: Arc<dyn Forge>,
    clock: Arc<dyn Clock>,
    required_contexts: Vec<String>,
    primary_branch: String,
    contexts: ContextsFile,
    stale: Option<SignedDuration>,
}

impl ForgeStatusCi {
    pub fn new(plan: ForgeStatusPlan, forge: Arc<dyn Forge>, clock: Arc<dyn Clock>) -> Self {
        let ForgeStatusPlan { required_contexts, primary_branch, contexts_file, stale } = plan;
        Self { forge, clock, required_contexts, primary_branch, contexts: ContextsFile::new(contexts_file), stale }
    }

    async fn judge(&self, head: &Sha, demand: &Demand) -> Result<CiVerdict, CiError> {
        if matches!(demand, Demand::Seen(Settled::NotYet(shown)) if shown.is_empty()) {
            return Ok(CiVerdict::no_check_known());
        }
        let (now, statuses) = (self.clock.now(), self.forge.statuses(head).await.map_err(unanswered)?);
        let statuses: Vec<Status> = statuses.into_iter().map(|status| status.unless_lost(now, self.stale)).collect();
        let (judged, settled) = match demand {
            Demand::Rules(required) => (verdict(required, &statuses), true),
            Demand::Seen(Settled::Required(known)) => (verdict(&required_at(known, &statuses), &statuses), true),
            Demand::Seen(Settled::NotYet(shown)) => (verdict(&required_at(shown, &statuses), &statuses), false),
        };
        if judged == CiVerdict::Green && !settled {
            let branch = &self.primary_branch;
            let missing = vec![format!("the end of the checks of `{branch}`: only then is it known which count")];
            return Ok(CiVerdict::Pending { missing });
        }
        Ok(judged)
    }

    async fn demand(&self) -> Result<Demand, CiError> {
        if !self.required_contexts.is_empty() {
            return Ok(Demand::Rules(self.required_contexts.clone()));
        }
        let protection = self.forge.protection(&self.primary_branch).await.map_err(unanswered)?;
        if let Some(protection) = protection.filter(|protection| !protection.required_contexts.is_empty()) {
            return Ok(Demand::Rules(protection.required_contexts));
        }
        Ok(Demand::Seen(self.shown_by_primary().await?))
    }

    /// Looks at the primary branch and remembers what it shows. Names seen are names, also those that look like a glob:
    /// the domain compares by name first.
    async fn shown_by_primary(&self) -> Result<Settled, CiError> {
        let tip = self.forge.branch_tip(&self.primary_branch).await.map_err(unanswered)?;
        let shown = match &tip {
            Some(tip) => self.forge.statuses(tip).await.map_err(unanswered)?,
            None => Vec::new(),
        };
        let now = self.clock.now();
        let (mut known, doubtful) = self
            .remember(|known| {
                if let Some(tip) = &tip {
                    known.look(tip, &shown, now);
                }
                known.to_read_again(now)
            })
            .await?;
        if !doubtful.is_empty() {
            let mut shown_since = Vec::new();
            for tip in &doubtful {
                shown_since.extend(self.forge.statuses(tip).await.map_err(unanswered)?);
            }
            let forgotten;
            (known, forgotten) = self
                .remember(|known| {
                    known.shown(&shown_since);
                    known.forget(&doubtful, now)
                })
                .await?;
            if !forgotten.is_empty() {
                tracing::info!(contexts = forgotten.join(", "), "checks that the primary branch no longer shows");
            }
        }
        Ok(known.settled(&shown))
    }

    async fn remember<T: Send>(
        &self,
        change: impl FnOnce(&mut KnownContexts) -> T + Send,
    ) -> Result<(KnownContexts, T), CiError> {
        self.contexts.change(change).await.map_err(|message| CiError { message })
    }
}

fn unanswered(error: ForgeError) -> CiError {
    CiError { message: error.to_string() }
}

#[async_trait]
impl Ci for ForgeStatusCi {
    async fn run(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        self.judge(head, &self.demand().await?).await
    }

    /// Finds out once what is required, however many commits are judged by it.
    async fn run_all(&self, heads: &[Sha]) -> Vec<Result<CiVerdict, CiError>> {
        if heads.is_empty() {
            return Vec::new();
        }
        match self.demand().await {
            Ok(demand) => {
                let judged = heads.iter().map(|head| self.judge(head, &demand)).collect::<Vec<_>>();
                stream::iter(judged).buffered(COMMITS_AT_ONCE).collect().await
            }
            Err(error) => heads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn runs_here(&self) -> bool {
        false
    }
}
