//! The shapes of Woodpecker's API (3.17), as far as rig reads them. Every field may be missing or `null`; times are seconds
//! since 1970.

use crate::domain::ci::pipeline::{Pipeline, PipelineState, PipelineStep};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// Takes `null` for the default.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireRepository {
    #[serde(deserialize_with = "nullable")]
    pub(super) id: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WirePipeline {
    #[serde(deserialize_with = "nullable")]
    pub(super) number: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) event: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) commit: String,
    #[serde(deserialize_with = "nullable")]
    errors: Vec<WireError>,
    #[serde(deserialize_with = "nullable")]
    workflows: Vec<WireWorkflow>,
    #[serde(deserialize_with = "nullable", alias = "created_at")]
    created: i64,
    #[serde(deserialize_with = "nullable", alias = "updated_at")]
    updated: i64,
    #[serde(deserialize_with = "nullable", alias = "started_at")]
    started: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireError {
    #[serde(deserialize_with = "nullable")]
    message: String,
    #[serde(deserialize_with = "nullable")]
    is_warning: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireWorkflow {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    state: String,
    #[serde(deserialize_with = "nullable")]
    error: String,
    #[serde(deserialize_with = "nullable")]
    children: Vec<WireStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireStep {
    #[serde(deserialize_with = "nullable")]
    id: u64,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    state: String,
    exit_code: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    error: String,
    /// `clone`, `service`, `plugin`, `commands` or `cache`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    kind: String,
}

/// One line of a log, or one piece of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireLogLine {
    /// Base64.
    #[serde(deserialize_with = "nullable")]
    pub(super) data: String,
}

impl WirePipeline {
    /// Returns when anything last happened to it.
    pub(super) fn changed_at(&self) -> Option<Timestamp> {
        let latest = self.updated.max(self.started).max(self.created);
        (latest > 0).then(|| Timestamp::from_second(latest).ok()).flatten()
    }

    pub(super) fn into_pipeline(self, link: String) -> Pipeline {
        let changed_at = self.changed_at();
        let errors = self.errors.into_iter().filter(|error| !error.is_warning).map(|error| error.message).collect();
        Pipeline {
            number: self.number,
            state: PipelineState::of(&self.status),
            errors,
            steps: self.workflows.into_iter().flat_map(WireWorkflow::into_steps).collect(),
            changed_at,
            link,
        }
    }
}

impl WireWorkflow {
    /// Returns its steps. A workflow that failed before any step of its own did is told as a step.
    fn into_steps(self) -> Vec<PipelineStep> {
        let state = PipelineState::of(&self.state);
        let workflow = self.name;
        let mut steps: Vec<PipelineStep> = self.children.into_iter().map(|step| step.into_step(&workflow)).collect();
        if !self.error.is_empty() && !steps.iter().any(PipelineStep::is_to_blame) {
            let (is_clone, exit_code, log_tail) = (false, None, String::new());
            steps.push(PipelineStep { id: 0, name: workflow, is_clone, state, exit_code, error: self.error, log_tail });
        }
        steps
    }
}

impl WireStep {
    fn into_step(self, workflow: &str) -> PipelineStep {
        let state = PipelineState::of(&self.state);
        PipelineStep {
            id: self.id,
            name: format!("{workflow} / {}", self.name),
            is_clone: self.kind == "clone" || self.name == "clone",
            exit_code: self.exit_code.filter(|_| state.is_ended()),
            state,
            error: self.error,
            log_tail: String::new(),
        }
    }
}
