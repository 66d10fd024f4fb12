//! The one predicate that says whether rig may take an issue at all, whatever the queue looks like.
//! Used by the tick for every candidate and by a driver before it starts.

use super::Claim;
use crate::domain::issue::{Issue, OpenOrClosed};
use globset::{GlobBuilder, GlobMatcher};
use std::sync::LazyLock;

/// Labels that mark an issue as the work of another role, on every project.
const OTHER_ROLES: [&str; 5] = ["formula", "action", "vision", "bug-report", "prediction/*"];
static OTHER_ROLE_PATTERNS: LazyLock<Vec<Pattern>> =
    LazyLock::new(|| OTHER_ROLES.iter().copied().map(Pattern::new).collect());

/// The names of the labels that rig uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelNames {
    pub backlog: String,
    pub priority: String,
    pub in_progress: String,
    pub blocked: String,
    pub underspecified: String,
    /// Globs of further labels that make an issue not claimable.
    pub skip: Vec<String>,
}

/// Why rig may not take an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotClaimable {
    PullRequest,
    Closed,
    /// It carries this label.
    Label(String),
    /// Somebody else works on it, as far as is known this one.
    InProgressElsewhere(Option<String>),
}

/// Label names, made ready for comparing many issues.
#[derive(Debug, Clone)]
pub struct LabelRules {
    names: LabelNames,
    skip: Vec<Pattern>,
}

#[derive(Debug, Clone)]
enum Pattern {
    Glob(GlobMatcher),
    /// Text that is no glob stands for itself, so that a slip of the pen never lets an issue through.
    Exactly(String),
}

impl LabelRules {
    /// Returns the rules for these names; labels are compared without regard to case, as forges do.
    pub fn new(names: &LabelNames) -> Self {
        let own = [&names.blocked, &names.underspecified].into_iter().map(|name| Pattern::Exactly(name.clone()));
        let skip = names.skip.iter().map(|name| Pattern::new(name));
        Self { names: names.clone(), skip: own.chain(skip).collect() }
    }

    /// Returns why rig may not take the issue; `None` when it may.
    pub fn refusal(&self, issue: &Issue, is_pull_request: bool, claim: &Claim) -> Option<NotClaimable> {
        if is_pull_request {
            return Some(NotClaimable::PullRequest);
        }
        if issue.state == OpenOrClosed::Closed {
            return Some(NotClaimable::Closed);
        }
        let mut labels: Vec<&String> = issue.labels.iter().collect();
        labels.sort();
        let patterns = || OTHER_ROLE_PATTERNS.iter().chain(&self.skip);
        if let Some(label) = labels.into_iter().find(|label| patterns().any(|pattern| pattern.is_match(label))) {
            return Some(NotClaimable::Label(label.clone()));
        }
        match claim {
            Claim::ThisRoot => None,
            Claim::Other(owner) => Some(NotClaimable::InProgressElsewhere(Some(owner.clone()))),
            Claim::Nobody if issue.has_label(&self.names.in_progress) => Some(NotClaimable::InProgressElsewhere(None)),
            Claim::Nobody => None,
        }
    }

    /// Returns the names that the rules are made of.
    pub fn names(&self) -> &LabelNames {
        &self.names
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Self::Exactly(text.to_owned());
        }
        GlobBuilder::new(text)
            .case_insensitive(true)
            .build()
            .map_or_else(|_| Self::Exactly(text.to_owned()), |glob| Self::Glob(glob.compile_matcher()))
    }

    fn is_match(&self, label: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(label),
            Self::Exactly(name) => name.eq_ignore_ascii_case(label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{IssueNumber, Login};

    fn refusal(labels: &[&str], claim: Claim) -> Option<NotClaimable> {
        let names = LabelNames {
            backlog: "backlog".into(),
            priority: "priority".into(),
            in_progress: "in-progress".into(),
            blocked: "blocked".into(),
            underspecified: "underspecified".into(),
            skip: vec!["wont*".into(), "[odd".into()],
        };
        LabelRules::new(&names).refusal(&issue(labels), false, &claim)
    }

    fn issue(labels: &[&str]) -> Issue {
        Issue {
            number: IssueNumber(1),
            title: String::new(),
            body: String::new(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            state: OpenOrClosed::Open,
            is_pull_request: false,
            author: Login::new("ann").unwrap(),
            assignees: Vec::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            url: String::new(),
        }
    }

    #[test]
    fn work_of_other_roles_and_states_is_refused_by_label() {
        for label in [
            "formula",
            "action",
            "vision",
            "bug-report",
            "Bug-Report",
            "prediction/2027",
            "prediction/a/b",
            "blocked",
            "BLOCKED",
            "underspecified",
            "wontfix",
            "WONT do",
            "[odd",
        ] {
            assert_eq!(refusal(&["backlog", label], Claim::Nobody), Some(NotClaimable::Label(label.into())), "{label}");
        }
        for label in ["backlog", "priority", "actions", "prediction", "formulae", "kind/bug", ""] {
            assert_eq!(refusal(&["backlog", label], Claim::Nobody), None, "{label}");
        }
    }

    #[test]
    fn only_the_owner_takes_what_is_in_progress() {
        let other = Claim::Other("root 01".into());
        assert_eq!(refusal(&["in-progress"], Claim::ThisRoot), None);
        assert_eq!(refusal(&["in-progress"], Claim::Nobody), Some(NotClaimable::InProgressElsewhere(None)));
        for labels in [&["in-progress"][..], &["backlog"]] {
            let expected = Some(NotClaimable::InProgressElsewhere(Some("root 01".into())));
            assert_eq!(refusal(labels, other.clone()), expected);
        }
        assert_eq!(refusal(&["in-progress", "blocked"], Claim::ThisRoot), Some(NotClaimable::Label("blocked".into())));
    }

    #[test]
    fn pull_requests_and_closed_issues_are_refused() {
        let rules = LabelRules::new(&LabelNames {
            backlog: "b".into(),
            priority: "p".into(),
            in_progress: "i".into(),
            blocked: "x".into(),
            underspecified: "u".into(),
            skip: Vec::new(),
        });
        let open = issue(&["b"]);
        let closed = Issue { state: OpenOrClosed::Closed, ..open.clone() };
        assert_eq!(rules.refusal(&open, true, &Claim::ThisRoot), Some(NotClaimable::PullRequest));
        assert_eq!(rules.refusal(&closed, false, &Claim::ThisRoot), Some(NotClaimable::Closed));
    }
}
