//! The verdict of CI on one commit, and how it follows from the commit statuses that a forge shows.

pub mod brake;
mod event_forms;
pub mod failure;
mod known_contexts;
pub mod pipeline;
pub mod recheck;

pub use event_forms::required_at;
pub use known_contexts::{KnownContexts, Settled};

use super::pull_request::{Status, StatusState};
use globset::GlobBuilder;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStep {
    pub name: String,
    pub exit_code: Option<i32>,
    /// End of the log, bounded, without control sequences, redacted; empty when no log is to be had.
    pub log_tail: String,
    /// Page or file for people; empty when there is none.
    pub link: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiVerdict {
    /// Not all required checks have answered; what is missing, in words.
    Pending {
        missing: Vec<String>,
    },
    Green,
    /// The code is at fault.
    Red {
        steps: Vec<FailedStep>,
    },
    /// The machinery is at fault: tried again later, costs no fix attempt.
    Broken {
        why: String,
    },
    /// Only a person can let it go on; nobody's code is at fault.
    Held {
        why: String,
    },
}

/// What is missing where no check is known at all. A sentence for people and, as the verdict is stored, its own mark.
const NO_CHECK_KNOWN: &str =
    "no required check is known: none is configured, the branch demands none, and none was ever seen";

/// Time for the first check of a project to show itself; then a person is asked.
const FIRST_CHECK: SignedDuration = SignedDuration::from_mins(10);
/// What a person is told then, and can do about it.
const NO_CHECK_YET: &str = "no check is known to wait for: none was ever seen on the primary branch, its protection demands none, and \
                            the project file names none (`required_contexts` in [ci]; `provider = \"none\"` where there is no CI)";

impl CiVerdict {
    /// Returns the verdict where nobody has said what must be green: pending until somebody does.
    pub fn no_check_known() -> Self {
        Self::Pending { missing: vec![NO_CHECK_KNOWN.to_owned()] }
    }

    /// Returns whether waiting is in vain until a person says which checks count. Nobody's code is at fault then.
    pub fn is_no_check_known(&self) -> bool {
        matches!(self, Self::Pending { missing } if *missing == [NO_CHECK_KNOWN])
    }

    /// Returns what the verdict means after so long a wait: where no check is known by then, it is for a person to say which
    /// ones count. Nothing is lost by that: once a check is known the verdict is another.
    pub fn after(self, waited: SignedDuration) -> Self {
        match self.is_no_check_known() && waited >= FIRST_CHECK {
            true => Self::Held { why: NO_CHECK_YET.to_owned() },
            false => self,
        }
    }
}

/// Judges a commit by its statuses: every required context (a name or a glob) must be there and green. One that is missing
/// counts as pending, a failure decides at once. An error is the machinery's: it decides where there is no failure, also
/// beside pending ones, which may wait for ever for what has broken. Without any required context nothing is ever green.
///
/// Green are success and skipped. A warning is neither green nor red: forges rank it below success, and a branch that
/// requires the context does not open to it.
pub fn verdict(required: &[String], statuses: &[Status]) -> CiVerdict {
    if required.is_empty() {
        return CiVerdict::no_check_known();
    }
    let (mut missing, mut red, mut broken) = (Vec::new(), Vec::<&Status>::new(), Vec::<&Status>::new());
    for wanted in required {
        let matches = matcher(wanted);
        let found: Vec<&Status> = statuses.iter().filter(|status| matches(&status.context)).collect();
        if found.is_empty() {
            missing.push(wanted.clone());
        }
        for status in found {
            match status.state {
                StatusState::Success | StatusState::Skipped => {}
                StatusState::Failure if is_machinerys_fault(status) => broken.push(status),
                StatusState::Failure => red.push(status),
                StatusState::Error => broken.push(status),
                StatusState::Pending => missing.push(status.context.clone()),
                StatusState::Warning => missing.push(format!("{} (ended with a warning)", status.context)),
                StatusState::Other => missing.push(format!("{} (in a state that rig does not know)", status.context)),
            }
        }
    }
    if !red.is_empty() {
        return CiVerdict::Red { steps: each_once(red).into_iter().map(failed_step).collect() };
    }
    if !broken.is_empty() {
        let why: Vec<String> = each_once(broken).into_iter().map(broken_check).collect();
        return CiVerdict::Broken { why: why.join("; ") };
    }
    missing.sort();
    missing.dedup();
    if missing.is_empty() { CiVerdict::Green } else { CiVerdict::Pending { missing } }
}

/// Returns what tells whether a context is the wanted one: by its very name, or as a glob in which `*` covers slashes too.
fn matcher(wanted: &str) -> impl Fn(&str) -> bool + use<'_> {
    let glob = GlobBuilder::new(wanted).literal_separator(false).build().map(|glob| glob.compile_matcher()).ok();
    move |context| context == wanted || glob.as_ref().is_some_and(|glob| glob.is_match(context))
}

fn each_once(mut statuses: Vec<&Status>) -> Vec<&Status> {
    statuses.sort_by(|a, b| a.context.cmp(&b.context));
    statuses.dedup_by(|a, b| a.context == b.context);
    statuses
}

/// Judged by what the forge shows of it, which is all there is.
fn is_machinerys_fault(status: &Status) -> bool {
    let said = failure::Failed { is_clone: false, exit_code: None, said: &status.description, log_tail: "" };
    failure::machinerys_fault(said).is_some()
}

fn broken_check(status: &Status) -> String {
    let mut why = format!("`{}` ended with an error of CI itself", status.context);
    match status.description.trim() {
        "" => {}
        said => why.push_str(&format!(": {said}")),
    }
    if !status.target_url.is_empty() {
        why.push_str(&format!(" (see {})", status.target_url));
    }
    why
}

fn failed_step(status: &Status) -> FailedStep {
    let name = match status.description.trim() {
        "" => status.context.clone(),
        said => format!("{} ({said})", status.context),
    };
    FailedStep { name, exit_code: None, log_tail: String::new(), link: status.target_url.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(context: &str, state: StatusState) -> Status {
        Status {
            context: context.into(),
            state,
            description: String::new(),
            target_url: "http://ci/1".into(),
            changed_at: None,
        }
    }

    fn judged(required: &[&str], statuses: &[(&str, StatusState)]) -> CiVerdict {
        let required: Vec<String> = required.iter().map(|name| (*name).to_owned()).collect();
        let statuses: Vec<Status> = statuses.iter().map(|(context, state)| status(context, *state)).collect();
        verdict(&required, &statuses)
    }

    fn pending(missing: &[&str]) -> CiVerdict {
        CiVerdict::Pending { missing: missing.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn green_is_only_what_is_required_complete_and_successful() {
        use StatusState::{Error, Failure, Other, Pending, Skipped, Success, Warning};
        for (required, statuses, expected) in [
            (&["a"][..], &[("a", Success)][..], CiVerdict::Green),
            (&["a"], &[("a", Skipped)], CiVerdict::Green),
            (&["a"], &[("a", Success), ("optional", Failure)], CiVerdict::Green),
            (&["a"], &[("a", Success), ("optional", Pending)], CiVerdict::Green),
            (&["ci/*"], &[("ci/x/y", Success), ("ci/z", Success)], CiVerdict::Green),
            (&["build [push]"], &[("build [push]", Success)], CiVerdict::Green),
            (&["a[", "b"], &[("a[", Success), ("b", Success)], CiVerdict::Green),
            (&["a"], &[], pending(&["a"])),
            (&["a", "b"], &[("b", Success)], pending(&["a"])),
            (&["a"], &[("A", Success)], pending(&["a"])),
            (&["a"], &[("a", Pending)], pending(&["a"])),
            (&["a", "*"], &[("a", Pending)], pending(&["a"])),
            (&["ci/*"], &[("ci/x", Success), ("ci/y", Pending)], pending(&["ci/y"])),
            (&["a"], &[("a", Warning)], pending(&["a (ended with a warning)"])),
            (&["a"], &[("a", Other)], pending(&["a (in a state that rig does not know)"])),
        ] {
            assert_eq!(judged(required, statuses), expected, "{required:?} {statuses:?}");
        }
        for (required, statuses) in [
            (&["a"][..], &[("a", Failure)][..]),
            (&["a", "b"], &[("a", Failure), ("b", Error)]),
            (&["a", "b"], &[("a", Failure), ("b", Pending)]),
            (&["a", "b"], &[("a", Failure)]),
            (&["a", "*"], &[("a", Failure)]),
        ] {
            let judged = judged(required, statuses);
            let CiVerdict::Red { steps } = judged else { panic!("{required:?} {statuses:?}: {judged:?}") };
            assert_eq!((steps.len(), steps[0].name.as_str(), steps[0].link.as_str()), (1, "a", "http://ci/1"));
        }
    }

    #[test]
    fn an_error_is_the_machinerys_fault() {
        use StatusState::{Error, Failure, Pending, Success};
        for (required, statuses) in [
            (&["a"][..], &[("a", Error)][..]),
            (&["a", "b"], &[("a", Error), ("b", Success)]),
            (&["a", "b"], &[("a", Error), ("b", Pending)]),
            (&["a", "b"], &[("a", Error)]),
            (&["a", "*"], &[("a", Error), ("optional", Success)]),
            (&["a"], &[("a", Error), ("optional", Failure)]),
        ] {
            let judged = judged(required, statuses);
            let CiVerdict::Broken { why } = judged else { panic!("{required:?} {statuses:?}: {judged:?}") };
            assert_eq!(why, "`a` ended with an error of CI itself (see http://ci/1)");
        }
        assert_eq!(judged(&["a"], &[("a", Success), ("optional", Error)]), CiVerdict::Green);
    }

    #[test]
    fn where_no_check_is_known_a_person_is_asked_after_ten_minutes() {
        let (early, late) = (FIRST_CHECK - SignedDuration::from_secs(1), FIRST_CHECK);
        assert!(CiVerdict::no_check_known().after(early).is_no_check_known());
        let CiVerdict::Held { why } = CiVerdict::no_check_known().after(late) else { panic!("not held") };
        assert!(why.contains("required_contexts"), "{why}");
        for other in [CiVerdict::Green, pending(&["a"]), CiVerdict::Broken { why: "x".into() }] {
            assert_eq!(other.clone().after(late), other);
        }
    }

    #[test]
    fn nothing_required_is_never_green() {
        for statuses in [&[][..], &[("a", StatusState::Success)]] {
            let judged = judged(&[], statuses);
            assert!(matches!(&judged, CiVerdict::Pending { .. }) && judged.is_no_check_known(), "{judged:?}");
            let stored = serde_json::to_string(&judged).unwrap();
            assert!(serde_json::from_str::<CiVerdict>(&stored).unwrap().is_no_check_known(), "{stored}");
        }
        let one_missing = judged(&["a"], &[]);
        assert!(!one_missing.is_no_check_known() && !CiVerdict::Green.is_no_check_known());
    }
}
