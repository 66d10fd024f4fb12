//! A pipeline of a CI server, and what it says of the commit that it ran for. Modelled on Woodpecker's.

use super::{CiVerdict, FailedStep, failure};
use failure::{Failed, machinerys_fault};
use jiff::{SignedDuration, Timestamp};

/// Failed steps that are shown to an agent; what fails in fifty places fails for one reason.
pub const STEPS_SHOWN: usize = 5;

/// State of a pipeline, a workflow or a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineState {
    Created,
    Pending,
    Running,
    Success,
    Failure,
    Killed,
    Canceled,
    Skipped,
    Error,
    /// Waits for a person's approval before it runs.
    Blocked,
    /// A person has refused to let it run.
    Declined,
    /// A word that this version does not know: never green.
    Other,
}

impl PipelineState {
    /// Reads the word that the server has for it.
    pub fn of(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "pending" => Self::Pending,
            "running" | "started" => Self::Running,
            "success" => Self::Success,
            "failure" => Self::Failure,
            "killed" => Self::Killed,
            "canceled" => Self::Canceled,
            "skipped" => Self::Skipped,
            "error" => Self::Error,
            "blocked" => Self::Blocked,
            "declined" => Self::Declined,
            _ => Self::Other,
        }
    }

    /// Returns whether it has come to its end.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Success
            | Self::Failure
            | Self::Killed
            | Self::Canceled
            | Self::Skipped
            | Self::Error
            | Self::Declined => true,
            Self::Created | Self::Pending | Self::Running | Self::Blocked | Self::Other => false,
        }
    }

    fn failed(self) -> bool {
        matches!(self, Self::Failure | Self::Error | Self::Killed)
    }
}

/// One step of a pipeline, with the end of its log where it failed and the log was to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineStep {
    pub id: u64,
    /// Workflow and step, such as `test / lint`.
    pub name: String,
    pub is_clone: bool,
    pub state: PipelineState,
    pub exit_code: Option<i32>,
    /// What the server says of its failure.
    pub error: String,
    pub log_tail: String,
}

impl PipelineStep {
    /// Returns whether its log tells why the pipeline failed.
    pub fn is_to_blame(&self) -> bool {
        self.state.failed()
    }
}

/// The newest pipeline of the pull request's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub number: u64,
    pub state: PipelineState,
    /// Errors of its own definition; warnings are left out.
    pub errors: Vec<String>,
    pub steps: Vec<PipelineStep>,
    /// When anything last happened to it, as the server tells it.
    pub changed_at: Option<Timestamp>,
    /// Page for people.
    pub link: String,
}

/// Judges a commit by its newest pipeline. `stale`: a pipeline that has not ended and in which nothing has happened for this
/// long is lost.
pub fn judge(pipeline: &Pipeline, now: Timestamp, stale: Option<SignedDuration>) -> CiVerdict {
    let name = format!("pipeline {}", pipeline.number);
    let broken = |why: String| CiVerdict::Broken { why: format!("{name}: {why}{}", see(&pipeline.link)) };
    match pipeline.state {
        PipelineState::Success => CiVerdict::Green,
        PipelineState::Blocked => {
            let why = format!("{name} waits for a person's approval on the CI server{}", see(&pipeline.link));
            CiVerdict::Held { why }
        }
        PipelineState::Declined => {
            CiVerdict::Held { why: format!("a person has declined {name} on the CI server{}", see(&pipeline.link)) }
        }
        PipelineState::Created | PipelineState::Pending | PipelineState::Running | PipelineState::Other => {
            let lost = stale.zip(pipeline.changed_at).filter(|(stale, at)| now.duration_since(*at) > *stale);
            match lost {
                Some((stale, _)) => broken(format!("nothing has happened for {} minutes", stale.as_secs() / 60)),
                None => CiVerdict::Pending { missing: vec![name] },
            }
        }
        PipelineState::Canceled => broken("it was cancelled".into()),
        // Every workflow was filtered out: nothing has looked at the code.
        PipelineState::Skipped => CiVerdict::Held { why: format!("{name} ran nothing{}", see(&pipeline.link)) },
        PipelineState::Failure | PipelineState::Error | PipelineState::Killed => failed(pipeline, broken),
    }
}

fn failed(pipeline: &Pipeline, broken: impl Fn(String) -> CiVerdict) -> CiVerdict {
    if !pipeline.errors.is_empty() {
        let step = FailedStep {
            name: "the definition of the pipeline".into(),
            exit_code: None,
            log_tail: pipeline.errors.join("\n"),
            link: pipeline.link.clone(),
        };
        return CiVerdict::Red { steps: vec![step] };
    }
    let blamed: Vec<&PipelineStep> = pipeline.steps.iter().filter(|step| step.is_to_blame()).collect();
    let code: Vec<&PipelineStep> = blamed.iter().copied().filter(|step| fault(step).is_none()).collect();
    if code.is_empty() {
        return broken(blamed.iter().find_map(|step| fault(step)).unwrap_or_else(|| match pipeline.state {
            PipelineState::Killed => "it was killed".into(),
            _ => "it failed, and no step of it did".into(),
        }));
    }
    let shown = |step: &&PipelineStep| FailedStep {
        name: match step.error.trim() {
            "" => step.name.clone(),
            said => format!("{} ({said})", step.name),
        },
        exit_code: step.exit_code,
        log_tail: step.log_tail.clone(),
        link: pipeline.link.clone(),
    };
    CiVerdict::Red { steps: code.iter().take(STEPS_SHOWN).map(shown).collect() }
}

/// Returns why a failed step is the machinery's fault. One that was killed with the others is not the first to blame.
fn fault(step: &PipelineStep) -> Option<String> {
    if step.state == PipelineState::Killed {
        return Some(format!("{} was killed", step.name));
    }
    let failed =
        Failed { is_clone: step.is_clone, exit_code: step.exit_code, said: &step.error, log_tail: &step.log_tail };
    machinerys_fault(failed).map(|why| format!("{}: {why}", step.name))
}

fn see(link: &str) -> String {
    if link.is_empty() { String::new() } else { format!(" (see {link})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, state: PipelineState, exit_code: i32) -> PipelineStep {
        PipelineStep {
            id: 1,
            name: name.into(),
            is_clone: name == "clone",
            state,
            exit_code: Some(exit_code),
            error: String::new(),
            log_tail: String::new(),
        }
    }

    fn pipeline(state: PipelineState, steps: Vec<PipelineStep>) -> Pipeline {
        let (errors, link) = (Vec::new(), "http://ci/9".to_owned());
        Pipeline { number: 9, state, errors, steps, changed_at: Some(Timestamp::UNIX_EPOCH), link }
    }

    fn judged(pipeline: &Pipeline) -> CiVerdict {
        let now = Timestamp::from_second(3_600).expect("a near time");
        judge(pipeline, now, Some(SignedDuration::from_mins(90)))
    }

    fn name_of(verdict: &CiVerdict) -> &'static str {
        match verdict {
            CiVerdict::Pending { .. } => "pending",
            CiVerdict::Green => "green",
            CiVerdict::Red { .. } => "red",
            CiVerdict::Broken { .. } => "broken",
            CiVerdict::Held { .. } => "held",
        }
    }

    #[test]
    fn each_state_has_its_meaning_and_only_success_is_green() {
        use PipelineState::*;
        for (state, expected) in [
            (Created, "pending"),
            (Pending, "pending"),
            (Running, "pending"),
            (Other, "pending"),
            (Success, "green"),
            (Failure, "broken"),
            (Error, "broken"),
            (Killed, "broken"),
            (Canceled, "broken"),
            (Skipped, "held"),
            (Blocked, "held"),
            (Declined, "held"),
        ] {
            assert_eq!(name_of(&judged(&pipeline(state, vec![]))), expected, "{state:?}");
        }
    }

    #[test]
    fn a_failure_is_the_codes_when_any_failed_step_is() {
        use PipelineState::{Failure, Killed, Success};
        for (steps, expected) in [
            (vec![step("clone", Failure, 128)], "broken"),
            (vec![step("clone", Success, 0), step("test", Failure, 1)], "red"),
            (vec![step("test", Failure, 137)], "broken"),
            (vec![step("test", Failure, 137), step("lint", Failure, 1)], "red"),
            (vec![step("test", Killed, 1)], "broken"),
            (vec![step("test", Failure, 1), step("lint", Killed, 1)], "red"),
        ] {
            let verdict = judged(&pipeline(Failure, steps.clone()));
            assert_eq!(name_of(&verdict), expected, "{steps:?}");
            if let CiVerdict::Red { steps } = verdict {
                assert_eq!(steps.len(), 1, "only the code's own");
                assert_eq!((steps[0].exit_code, steps[0].link.as_str()), (Some(1), "http://ci/9"));
            }
        }
    }

    #[test]
    fn errors_of_the_definition_are_the_codes_fault() {
        let mut wrong = pipeline(PipelineState::Error, vec![]);
        wrong.errors = vec!["steps.test: missing image".into()];
        let CiVerdict::Red { steps } = judged(&wrong) else { panic!("not red") };
        assert_eq!(steps[0].log_tail, "steps.test: missing image");
    }

    #[test]
    fn a_pipeline_in_which_nothing_happens_for_too_long_is_lost() {
        let running = pipeline(PipelineState::Running, vec![]);
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).expect("a near time");
        let stale = Some(SignedDuration::from_mins(90));
        assert_eq!(name_of(&judge(&running, at(90), stale)), "pending");
        assert_eq!(name_of(&judge(&running, at(91), stale)), "broken");
        assert_eq!(name_of(&judge(&running, at(100_000), None)), "pending");
        let unknown = Pipeline { changed_at: None, ..running };
        assert_eq!(name_of(&judge(&unknown, at(100_000), stale)), "pending");
    }
}
