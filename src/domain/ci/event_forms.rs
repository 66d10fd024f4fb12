//! Which of the checks that were seen on the primary branch count at the head of a pull request, whose checks may have other
//! names: those of a push carry that event in their name, as those of a pull request carry theirs.
//!
//! The form of the pull request stands for the form of the push, and never the other way round: a push runs without the merge.
//! Deliberately absent: names that the settings or the forge's rules demand, which mean what they say.

use crate::domain::pull_request::Status;

/// How Forgejo's and Gitea's Actions end a name: `CI / test (push)`.
const ACTIONS_PUSH: &str = " (push)";
const ACTIONS_PULL_REQUEST: &str = " (pull_request)";
/// The event in the path that Woodpecker and Drone make a name of: `ci/woodpecker/push/test`.
const PATH_PUSH: &str = "push";
const PATH_PULL_REQUEST: &str = "pr";

enum Form {
    /// Of a push, with its name in the form for pull requests.
    Push(String),
    PullRequest,
    Other,
}

/// Returns what is required at a head that shows these statuses: each known check, by its form for pull requests where only
/// that is shown; and whatever is shown for pull requests, also what the primary branch never shows.
pub fn required_at(known: &[String], statuses: &[Status]) -> Vec<String> {
    let is_shown = |name: &str| statuses.iter().any(|status| status.context == name);
    let is_stood_for = |name: &str| !is_shown(name) && matches!(form_of(name), Form::Push(other) if is_shown(&other));
    let mut required: Vec<String> = known.iter().filter(|name| !is_stood_for(name)).cloned().collect();
    for status in statuses.iter().filter(|status| matches!(form_of(&status.context), Form::PullRequest)) {
        if !required.contains(&status.context) {
            required.push(status.context.clone());
        }
    }
    required
}

fn form_of(name: &str) -> Form {
    if let Some(job) = name.strip_suffix(ACTIONS_PUSH) {
        return Form::Push(format!("{job}{ACTIONS_PULL_REQUEST}"));
    }
    if name.ends_with(ACTIONS_PULL_REQUEST) {
        return Form::PullRequest;
    }
    // The first of these names the event; what follows may be called like one. Nothing begins with its event.
    let mut parts: Vec<&str> = name.split('/').collect();
    match parts.iter_mut().skip(1).find(|part| [PATH_PUSH, PATH_PULL_REQUEST].contains(*part)) {
        Some(part) if *part == PATH_PUSH => {
            *part = PATH_PULL_REQUEST;
            Form::Push(parts.join("/"))
        }
        Some(_) => Form::PullRequest,
        None => Form::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ci::{CiVerdict, verdict},
        pull_request::StatusState::{self, Failure, Pending, Success},
    };

    fn status(context: &str, state: StatusState) -> Status {
        let (description, target_url) = (String::new(), String::new());
        Status { context: context.into(), state, description, target_url, changed_at: None }
    }

    fn judged(known: &[&str], shown: &[(&str, StatusState)]) -> CiVerdict {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        let statuses: Vec<Status> = shown.iter().map(|(context, state)| status(context, *state)).collect();
        verdict(&required_at(&known, &statuses), &statuses)
    }

    const PUSH: &str = "ci/woodpecker/push/test";
    const PULL: &str = "ci/woodpecker/pr/test";

    #[test]
    fn a_pull_requests_check_stands_for_that_of_a_push() {
        for (push, pull_request) in [
            (PUSH, PULL),
            ("ci/woodpecker/push/push", "ci/woodpecker/pr/push"),
            ("ci/woodpecker/push/pr", "ci/woodpecker/pr/pr"),
            ("ci/woodpecker/push/test/1", "ci/woodpecker/pr/test/1"),
            ("continuous-integration/drone/push", "continuous-integration/drone/pr"),
            ("CI / test (push)", "CI / test (pull_request)"),
        ] {
            assert_eq!(judged(&[push], &[(pull_request, Success)]), CiVerdict::Green, "{push}");
            assert_eq!(judged(&[push], &[(push, Success)]), CiVerdict::Green, "{push}");
            for (state, other) in [(Failure, Success), (Success, Failure)] {
                let judged = judged(&[push], &[(push, state), (pull_request, other)]);
                assert!(matches!(judged, CiVerdict::Red { .. }), "{push}: {judged:?}");
            }
        }
    }

    #[test]
    fn what_only_pull_requests_show_counts_too() {
        for name in ["ci/woodpecker/pr/audit", "CI / audit (pull_request)"] {
            let with = |state| judged(&["lint"], &[("lint", Success), (name, state)]);
            assert_eq!(with(Success), CiVerdict::Green);
            assert_eq!(with(Pending), CiVerdict::Pending { missing: vec![name.to_owned()] });
            assert!(matches!(with(Failure), CiVerdict::Red { .. }), "{name}");
        }
        for name in ["optional", "pr/title", "CI / label (pull_request_target)", "ci/woodpecker/push/pr", "a/prose"] {
            assert_eq!(judged(&["lint"], &[("lint", Success), (name, Failure)]), CiVerdict::Green, "{name}");
        }
    }

    #[test]
    fn nothing_else_stands_for_a_check() {
        let missing = |name: &str| CiVerdict::Pending { missing: vec![name.to_owned()] };
        for (known, shown) in [(PULL, PUSH), (PUSH, "ci/woodpecker/pr/lint"), ("push", "pr"), ("test", PULL)] {
            assert_eq!(judged(&[known], &[(shown, Success)]), missing(known), "{known} {shown}");
        }
        assert_eq!(judged(&[PUSH], &[]), missing(PUSH));
    }
}
