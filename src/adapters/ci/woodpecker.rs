//! The verdict of a Woodpecker server (3.x): the newest pipeline of the `pull_request` event for the commit. Pipelines of
//! the `push` event for the same commit are not looked at: they run without the merge, and may be green where it is red.
//! Deliberately absent: what a pipeline means (`domain::ci::pipeline`), and any request to another host.

mod wire;

use super::log_text;
use crate::{
    adapters::forge::{
        Connections, InvalidConnection,
        http::{Api, Dialect, Target},
        retry,
    },
    domain::{
        ci::{
            CiVerdict,
            pipeline::{Pipeline, PipelineState, STEPS_SHOWN, judge},
        },
        ids::{RepositoryPath, Sha},
    },
    ports::{
        ci::{Ci, CiError},
        clock::Clock,
        forge::ForgeError,
    },
};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::sync::{Arc, OnceLock};
use wire::{WireLogLine, WirePipeline, WireRepository};

/// Errors are often plain text.
const WOODPECKER: Dialect = Dialect { path: &["api"], scheme: "Bearer", json_errors: false };
/// Pipelines on a page; the server gives no more.
const PAGE: usize = 50;
/// Pages that are searched for the commit's pipeline, newest first; an older one is as good as none.
const PAGES: usize = 6;

/// What the client of a server is made from.
pub struct WoodpeckerPlan {
    /// Base address of the server.
    pub url: String,
    pub token: SecretString,
    /// Number of the repository there; looked up by its name when it is not given.
    pub repository_id: Option<u64>,
    pub repository: RepositoryPath,
    /// A pipeline in which nothing happens for longer is lost.
    pub stale: Option<SignedDuration>,
    /// Takes secrets out of logs.
    pub redact: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// One repository on a Woodpecker server.
pub struct WoodpeckerCi {
    plan: WoodpeckerPlan,
    api: Api,
    clock: Arc<dyn Clock>,
    repository_id: OnceLock<u64>,
}

impl WoodpeckerCi {
    /// Returns the client. Errors: the URL is no address of a server, or the token is empty.
    pub fn new(plan: WoodpeckerPlan, clock: Arc<dyn Clock>) -> Result<Self, InvalidConnection> {
        let api = Api::speaking(WOODPECKER, &plan.url, plan.token.clone(), Connections::default())?;
        let repository_id = plan.repository_id.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { plan, api, clock, repository_id })
    }

    async fn read<T: DeserializeOwned>(&self, target: &Target) -> Result<T, CiError> {
        let read = || async { self.api.send(&Method::GET, target, None).await?.json() };
        retry::read(self.api.timing(), read).await.map_err(|error| self.unanswered(&error))
    }

    async fn repository(&self) -> Result<Target, CiError> {
        let id = match self.repository_id.get() {
            Some(id) => *id,
            None => {
                let RepositoryPath { owner, name } = &self.plan.repository;
                let lookup = Target::new(["repos", "lookup"]).at(owner).at(name);
                let found: WireRepository = self.read(&lookup).await?;
                if found.id == 0 {
                    return Err(self.failed("its answer names no repository; set ci.woodpecker_repo_id"));
                }
                *self.repository_id.get_or_init(|| found.id)
            }
        };
        Ok(Target::new(["repos"]).at(id))
    }

    /// Returns the pipelines of the pull request's commit, newest first.
    async fn pipelines_of(&self, head: &Sha) -> Result<Vec<WirePipeline>, CiError> {
        let repository = self.repository().await?;
        let mut found: Vec<WirePipeline> = Vec::new();
        for page in 1..=PAGES {
            let list = repository.clone().at("pipelines").query("event", "pull_request");
            let rows: Vec<Option<WirePipeline>> = self.read(&list.query("page", page).query("perPage", PAGE)).await?;
            let is_last = rows.len() < PAGE;
            // The server may not know the filter; the event is looked at again here.
            let of_head = |row: &WirePipeline| row.event == "pull_request" && row.commit == head.as_str();
            found.extend(rows.into_iter().flatten().filter(of_head));
            if is_last || !found.is_empty() {
                break;
            }
        }
        found.sort_by_key(|pipeline| std::cmp::Reverse(pipeline.number));
        found.dedup_by_key(|pipeline| pipeline.number);
        Ok(found)
    }

    async fn judge(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        let Some(newest) = self.pipelines_of(head).await?.into_iter().next() else {
            let missing = vec![format!("a pipeline of the pull request at {} on the CI server", head.short())];
            return Ok(CiVerdict::Pending { missing });
        };
        let pipeline = self.whole(&newest).await?;
        Ok(judge(&pipeline, self.clock.now(), self.plan.stale))
    }

    /// Reads a pipeline with its steps, and the ends of the logs of those that failed.
    async fn whole(&self, listed: &WirePipeline) -> Result<Pipeline, CiError> {
        let target = self.repository().await?.at("pipelines").at(listed.number);
        let wire: WirePipeline = self.read(&target).await?;
        if wire.number != listed.number || wire.commit != listed.commit {
            return Err(self.failed("its answer is about another pipeline"));
        }
        let mut pipeline = wire.into_pipeline(self.page_of(listed.number));
        for step in pipeline.steps.iter_mut().filter(|step| step.is_to_blame()).take(STEPS_SHOWN) {
            step.log_tail = self.log_tail(pipeline.number, step.id).await;
            step.error = (self.plan.redact)(&step.error);
        }
        for error in &mut pipeline.errors {
            *error = (self.plan.redact)(error);
        }
        Ok(pipeline)
    }

    /// Returns the end of a step's log; empty when there is none to be had, which changes no verdict.
    async fn log_tail(&self, pipeline: u64, step: u64) -> String {
        let lines: Vec<Option<WireLogLine>> = match self.repository().await {
            Ok(repository) => match self.read(&repository.at("logs").at(pipeline).at(step)).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::info!(pipeline, step, %error, "the step has no log that can be read");
                    return String::new();
                }
            },
            Err(_) => return String::new(),
        };
        let mut bytes = Vec::new();
        for line in lines.into_iter().flatten() {
            bytes.extend(STANDARD.decode(line.data.trim()).unwrap_or_default());
            if bytes.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
        }
        log_text::tail(&(self.plan.redact)(&log_text::plain(&bytes)))
    }

    async fn start_anew(&self, head: &Sha, breaks: u32) -> Result<(), CiError> {
        let pipelines = self.pipelines_of(head).await?;
        let Some(newest) = pipelines.first() else { return Ok(()) };
        let is_ended = PipelineState::of(&newest.status).is_ended();
        // Every restart makes a pipeline: with more of them than breaks, the last break has been answered already.
        let is_answered = pipelines.len() > usize::try_from(breaks).unwrap_or(usize::MAX);
        let stale = newest.changed_at().zip(self.plan.stale);
        let is_lost = stale.is_some_and(|(at, stale)| self.clock.now().duration_since(at) > stale);
        if is_answered || !(is_ended || is_lost) {
            return Ok(());
        }
        let target = self.repository().await?.at("pipelines").at(newest.number);
        tracing::info!(commit = %head, pipeline = newest.number, breaks, "CI is started anew");
        self.api.send(&Method::POST, &target, None).await.map(drop).map_err(|error| self.unanswered(&error))
    }

    fn page_of(&self, pipeline: u64) -> String {
        let base = self.plan.url.trim_end_matches('/');
        self.repository_id.get().map_or_else(String::new, |id| format!("{base}/repos/{id}/pipeline/{pipeline}"))
    }

    fn failed(&self, message: &str) -> CiError {
        CiError { message: format!("Woodpecker at {}: {message}", self.plan.url) }
    }

    fn unanswered(&self, error: &ForgeError) -> CiError {
        self.failed(&match error {
            ForgeError::Unauthorized { .. } => {
                "it does not accept the token; put a valid one into the variable that ci.woodpecker_token_env names"
                    .into()
            }
            ForgeError::NotFound { request } => {
                format!(
                    "it knows nothing at {request}; check ci.woodpecker_repo_id and that the repository is active there"
                )
            }
            ForgeError::Forbidden { request, message } => format!("it forbids {request}: {message}"),
            error => error.to_string().replacen("the forge", "it", 1),
        })
    }
}

#[async_trait]
impl Ci for WoodpeckerCi {
    async fn run(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        self.judge(head).await
    }

    async fn restart(&self, head: &Sha, breaks: u32) -> Result<(), CiError> {
        self.start_anew(head, breaks).await
    }

    fn runs_here(&self) -> bool {
        false
    }
}
