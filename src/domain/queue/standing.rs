//! How each candidate of a snapshot stands, looked at by itself: its place in the queue, and its dependencies.
//! Deliberately absent: free slots and everything else that candidates compete for (see `select`).

use super::{
    Candidate, Claim, DependencyGraph, IssueFact, LabelRules, NotClaimable, QueueSnapshot, Reason, Tier, Written,
    find_cycle, written_dependencies,
};
use crate::domain::{
    ids::IssueNumber,
    issue::{Issue, OpenOrClosed},
    known::Known,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, btree_map::Entry};

/// How a candidate stands with its dependencies.
pub(super) enum Standing {
    Ready,
    NeedsIssues(Vec<IssueNumber>),
    NeedsLinks,
    Waits(Reason),
}

/// The snapshot, indexed.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a QueueSnapshot,
    rules: LabelRules,
    /// `Err` for an item that contradicts itself.
    pub(super) candidates: BTreeMap<IssueNumber, Result<&'a Candidate, Reason>>,
    written: BTreeMap<IssueNumber, Written>,
    /// Of open issues only: a closed one holds nobody up, so it closes no cycle.
    graph: DependencyGraph,
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: &'a QueueSnapshot) -> Self {
        let mut candidates = BTreeMap::new();
        for candidate in &snapshot.candidates {
            match candidates.entry(candidate.number) {
                Entry::Vacant(entry) => {
                    entry.insert(checked(candidate));
                }
                // Pages that move while they are read repeat an item; a harmless repetition is the same in all facts.
                Entry::Occupied(mut entry) => {
                    if entry.get().as_ref().is_ok_and(|first| *first != candidate) {
                        *entry.get_mut() = Err(Reason::Unknown("listed twice, with different content".into()));
                    }
                }
            }
        }
        let rules = LabelRules::new(&snapshot.labels);
        let mut view = Self { snapshot, rules, candidates, written: BTreeMap::new(), graph: BTreeMap::new() };
        view.read_dependencies();
        view
    }

    fn read_dependencies(&mut self) {
        for (number, fact) in &self.snapshot.issues {
            if let Known::Known(IssueFact::Open { depends_on }) = fact {
                self.graph.entry(*number).or_default().extend(depends_on);
            }
        }
        for (number, candidate) in &self.candidates {
            let Some(issue) = candidate.as_ref().ok().and_then(|candidate| candidate.issue.known()) else { continue };
            let written = written_dependencies(&issue.body, *number);
            if issue.state == OpenOrClosed::Open {
                let linked = self.snapshot.links.get(number).and_then(Known::known).into_iter().flatten();
                let linked = linked.filter(|link| self.is_here(&link.repository)).map(|link| link.number);
                self.graph.insert(*number, written.numbers.iter().copied().chain(linked).collect());
            }
            self.written.insert(*number, written);
        }
    }

    fn is_here(&self, repository: &str) -> bool {
        repository.eq_ignore_ascii_case(&self.snapshot.repository)
    }

    /// Returns the place of a candidate in the queue, or why it has none.
    pub(super) fn place(&self, candidate: &Result<&Candidate, Reason>) -> Result<(Tier, Timestamp), Reason> {
        let candidate = candidate.as_ref().map_err(Clone::clone)?;
        let issue = fact(&candidate.issue)?;
        if *fact(&candidate.open_run)? {
            return Err(Reason::OpenRun);
        }
        let claim = fact(&candidate.claim)?;
        if let Some(refusal) = self.rules.refusal(issue, candidate.is_pull_request, claim) {
            return Err(match refusal {
                NotClaimable::PullRequest => Reason::PullRequest,
                NotClaimable::Closed => Reason::Closed,
                NotClaimable::Label(label) => Reason::NotClaimableLabel(label),
                NotClaimable::InProgressElsewhere(owner) => Reason::InProgressElsewhere(owner),
            });
        }
        let tier = self.tier(issue, claim).ok_or(Reason::NotInBacklog)?;
        Ok((tier, issue.created_at))
    }

    fn tier(&self, issue: &Issue, claim: &Claim) -> Option<Tier> {
        let names = self.rules.names();
        if *claim == Claim::ThisRoot && issue.has_label(&names.in_progress) {
            return Some(Tier::Orphan);
        }
        let tier = if issue.has_label(&names.priority) { Tier::Priority } else { Tier::Backlog };
        issue.has_label(&names.backlog).then_some(tier)
    }

    pub(super) fn standing(&self, number: IssueNumber) -> Standing {
        let Some(written) = self.written.get(&number) else {
            return Standing::Waits(Reason::Unknown("the issue could not be read".into()));
        };
        let links = self.snapshot.links.get(&number);
        let linked = links.and_then(Known::known).map(Vec::as_slice).unwrap_or_default();
        let linked_to_itself = linked.iter().any(|link| link.number == number && self.is_here(&link.repository));
        if written.self_reference || linked_to_itself {
            return Standing::Waits(Reason::SelfDependency);
        }
        let states: Vec<(IssueNumber, State)> = written.numbers.iter().map(|n| (*n, self.state(*n))).collect();
        let in_state = |wanted: &State| states.iter().filter(|(_, state)| state == wanted).map(|(n, _)| *n).collect();
        let (open, missing, needed): (Vec<_>, Vec<_>, Vec<_>) =
            (in_state(&State::Open), in_state(&State::Missing), in_state(&State::NotAsked));
        let open_links: Vec<_> = linked.iter().filter(|link| link.state == OpenOrClosed::Open).collect();
        if !(open.is_empty() && open_links.is_empty())
            && let Some(cycle) = find_cycle(&self.graph, number)
        {
            return Standing::Waits(Reason::DependencyCycle(cycle));
        }
        if !missing.is_empty() {
            return Standing::Waits(Reason::DependencyUnknown(missing));
        }
        let mut names: Vec<String> = open.iter().map(IssueNumber::to_string).collect();
        names.extend(open_links.iter().map(|link| match self.is_here(&link.repository) {
            true => link.number.to_string(),
            false => format!("{}{}", link.repository, link.number),
        }));
        if !names.is_empty() {
            names.sort();
            names.dedup();
            return Standing::Waits(Reason::DependencyOpen(names));
        }
        if let Some(why) = states.iter().find_map(|(_, state)| state.why_unknown()) {
            return Standing::Waits(Reason::Unknown(why.to_owned()));
        }
        match links {
            _ if !needed.is_empty() => Standing::NeedsIssues(needed),
            None => Standing::NeedsLinks,
            Some(Known::Unknown(why)) => Standing::Waits(Reason::Unknown(why.clone())),
            Some(Known::Known(_)) => Standing::Ready,
        }
    }

    fn state(&self, number: IssueNumber) -> State {
        match self.candidates.get(&number) {
            Some(Ok(candidate)) => return State::of_issue(&candidate.issue),
            Some(Err(reason)) => return State::Unknown(reason.words()),
            None => {}
        }
        match self.snapshot.issues.get(&number) {
            None => State::NotAsked,
            Some(Known::Unknown(why)) => State::Unknown(why.clone()),
            Some(Known::Known(IssueFact::Open { .. })) => State::Open,
            Some(Known::Known(IssueFact::Closed)) => State::Closed,
            Some(Known::Known(IssueFact::Missing)) => State::Missing,
        }
    }
}

/// What is known of a dependency.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Missing,
    NotAsked,
    Unknown(String),
}

impl State {
    fn of_issue(issue: &Known<Issue>) -> Self {
        match issue {
            Known::Known(issue) if issue.state == OpenOrClosed::Open => Self::Open,
            Known::Known(_) => Self::Closed,
            Known::Unknown(why) => Self::Unknown(why.clone()),
        }
    }

    fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::Open | Self::Closed | Self::Missing | Self::NotAsked => None,
        }
    }
}

fn checked(candidate: &Candidate) -> Result<&Candidate, Reason> {
    match &candidate.issue {
        Known::Known(issue) if issue.number != candidate.number => {
            Err(Reason::Unknown(format!("the forge answered with {} instead", issue.number)))
        }
        _ => Ok(candidate),
    }
}

/// Returns the fact, or that it is unknown as the reason.
pub(super) fn fact<T>(fact: &Known<T>) -> Result<&T, Reason> {
    match fact {
        Known::Known(fact) => Ok(fact),
        Known::Unknown(why) => Err(Reason::Unknown(why.clone())),
    }
}
