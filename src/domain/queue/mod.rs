//! Which issue is worked on next, and for every other candidate why not.
//!
//! `dependencies` reads what people wrote, `claimable` says what may be taken at all, `snapshot` holds the facts, `standing`
//! looks at each candidate, `select` gives the free slots away, `reason` says why. Deliberately absent: fetching (the caller brings facts, unknown ones included) and claiming.

pub mod claimable;
pub mod dependencies;
pub mod reason;
pub mod select;
pub mod snapshot;
mod standing;

pub use claimable::{LabelNames, LabelRules, NotClaimable};
pub use dependencies::{Written, written_dependencies};
pub use reason::{Decision, Reason, Tier};
pub use select::{Asks, Selection, select};
pub use snapshot::{Candidate, Claim, IssueFact, QueueSnapshot};

use super::ids::IssueNumber;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What each open issue waits for.
pub type DependencyGraph = BTreeMap<IssueNumber, BTreeSet<IssueNumber>>;

/// Returns the shortest cycle through `start`, beginning with it and not repeating it at the end; of several, the one with
/// the lowest numbers first. Only cycles that `start` lies on count: who merely waits for one waits for open issues.
pub fn find_cycle(graph: &DependencyGraph, start: IssueNumber) -> Option<Vec<IssueNumber>> {
    let mut came_from: BTreeMap<IssueNumber, IssueNumber> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(issue) = queue.pop_front() {
        for next in graph.get(&issue).into_iter().flatten() {
            if *next == start {
                return Some(path(&came_from, start, issue));
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, issue);
                queue.push_back(*next);
            }
        }
    }
    None
}

/// Returns the way from `start` to `end` by the steps taken.
fn path(came_from: &BTreeMap<IssueNumber, IssueNumber>, start: IssueNumber, end: IssueNumber) -> Vec<IssueNumber> {
    let mut path = vec![end];
    let mut at = end;
    while at != start {
        let Some(before) = came_from.get(&at) else { break };
        at = *before;
        path.push(at);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(u64, u64)]) -> DependencyGraph {
        let mut graph = DependencyGraph::new();
        for (from, to) in edges {
            graph.entry(IssueNumber(*from)).or_default().insert(IssueNumber(*to));
        }
        graph
    }

    fn cycle(edges: &[(u64, u64)], start: u64) -> Option<Vec<u64>> {
        find_cycle(&graph(edges), IssueNumber(start)).map(|cycle| cycle.into_iter().map(|number| number.0).collect())
    }

    #[test]
    fn a_cycle_is_found_from_each_of_its_issues_and_from_no_other() {
        let edges = [(1, 2), (2, 3), (3, 1), (4, 1), (3, 5)];
        assert_eq!(cycle(&edges, 1), Some(vec![1, 2, 3]));
        assert_eq!(cycle(&edges, 2), Some(vec![2, 3, 1]));
        assert_eq!(cycle(&edges, 3), Some(vec![3, 1, 2]));
        assert_eq!(cycle(&edges, 4), None);
        assert_eq!(cycle(&edges, 5), None);
    }

    #[test]
    fn the_shortest_of_several_cycles_is_named() {
        assert_eq!(cycle(&[(1, 2), (2, 3), (3, 1), (1, 4), (4, 1)], 1), Some(vec![1, 4]));
        assert_eq!(cycle(&[(1, 1)], 1), Some(vec![1]));
        assert_eq!(cycle(&[(1, 2), (1, 3), (2, 4), (3, 4)], 1), None);
    }
}
