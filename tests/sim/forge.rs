//! A forge that keeps its state and answers as forges do, and the truth about CI. It judges nothing for rig: whoever
//! merges what must not be merged succeeds, and the oracle sees it.

use jiff::Timestamp;
use rig::domain::{
    ci::{CiVerdict, FailedStep},
    gate::{CONDITIONS, Changes, Gate, GatePolicy, GateSnapshot, evaluate_with},
    ids::{BranchName, IssueNumber, Login, PullRequestNumber, Sha},
    issue::{Comment, Issue, OpenOrClosed},
    known::Known,
    pull_request::{PullRequest, Review, Verdict},
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const BOT: &str = "rig-bot";
pub(crate) const REVIEWERS: [&str; 2] = ["ann", "bob"];
pub(crate) const STATE_LABELS: [&str; 4] = ["backlog", "in-progress", "blocked", "underspecified"];

pub(crate) fn login(name: &str) -> Login {
    Login::new(name).unwrap()
}

/// The branch of an issue, in the agent's worktree and on the forge.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub local: Sha,
    pub remote: Option<Sha>,
    pub ahead: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Forge {
    pub issues: BTreeMap<u64, Issue>,
    pub comments: BTreeMap<u64, Vec<Comment>>,
    pub pull_requests: BTreeMap<u64, PullRequest>,
    pub reviews: BTreeMap<u64, Vec<Review>>,
    /// By the name of the branch.
    pub branches: BTreeMap<String, Branch>,
    pub ci: BTreeMap<Sha, CiTruth>,
    /// Who closed an issue.
    pub closed_by: BTreeMap<u64, String>,
    /// Moment of the last time that a pull request was ready to be merged at a head, as long as it is not any more.
    pub was_ready: BTreeMap<u64, (Sha, u64)>,
    /// Pull requests that lack commits of the primary branch and may not be merged without.
    pub outdated: BTreeSet<u64>,
    /// What rig has made of a head.
    pub rebased: BTreeMap<Sha, Sha>,
    pub next_id: u64,
    next_sha: u64,
}

/// What CI says of a commit, from the first time that it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CiTruth {
    /// Times that it still answers "not yet"; `u32::MAX` is for ever.
    pub pending: u32,
    /// Times that its machinery breaks before it judges.
    pub breaks: u32,
    pub green: bool,
}

impl Forge {
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn sha(&mut self) -> Sha {
        self.next_sha += 1;
        Sha::new(format!("{:010x}{:030x}", self.next_sha.wrapping_mul(0x9e37_79b9) & 0xff_ffff_ffff, self.next_sha))
            .unwrap()
    }

    pub(crate) fn add_issue(&mut self, number: u64, body: String, at: Timestamp) {
        let issue = Issue {
            number: IssueNumber(number),
            title: format!("issue {number}"),
            body,
            labels: vec!["backlog".into()],
            state: OpenOrClosed::Open,
            is_pull_request: false,
            author: login("eve"),
            assignees: Vec::new(),
            created_at: at,
            url: String::new(),
        };
        self.issues.insert(number, issue);
        self.comments.insert(number, Vec::new());
    }

    pub(crate) fn post_comment(&mut self, number: u64, author: &str, body: String, at: Timestamp) -> u64 {
        let id = self.id();
        let comment = Comment { id, author: login(author), body, created_at: at };
        self.comments.entry(number).or_default().push(comment);
        id
    }

    pub(crate) fn add_label(&mut self, number: u64, label: &str) {
        if let Some(issue) = self.issues.get_mut(&number)
            && !issue.has_label(label)
        {
            issue.labels.push(label.to_owned());
        }
    }

    pub(crate) fn remove_labels(&mut self, number: u64, labels: &[&str]) {
        if let Some(issue) = self.issues.get_mut(&number) {
            issue.labels.retain(|label| !labels.contains(&label.as_str()));
        }
    }

    pub(crate) fn state_labels(&self, number: u64) -> Vec<String> {
        let labels = self.issues.get(&number).map(|issue| issue.labels.clone()).unwrap_or_default();
        labels.into_iter().filter(|label| STATE_LABELS.contains(&label.as_str())).collect()
    }

    /// Opens a pull request, unless the branch has an open one or is not there.
    pub(crate) fn open_pull_request(
        &mut self,
        branch: &BranchName,
        body: String,
        at: Timestamp,
    ) -> Result<u64, &'static str> {
        if self.open_of_branch(branch).is_some() {
            return Err("there is one");
        }
        let Some(head) = self.branches.get(branch.as_str()).and_then(|branch| branch.remote.clone()) else {
            return Err("no such branch");
        };
        let number = 100 + self.id();
        let pull_request = PullRequest {
            number: PullRequestNumber(number),
            title: String::new(),
            body,
            author: login(BOT),
            state: OpenOrClosed::Open,
            merged: false,
            merge_commit: None,
            head,
            head_branch: Some(branch.clone()),
            same_repository: true,
            base_branch: "main".into(),
            mergeable: true,
            draft: false,
            created_at: at,
            url: String::new(),
        };
        self.pull_requests.insert(number, pull_request);
        Ok(number)
    }

    pub(crate) fn open_of_branch(&self, branch: &BranchName) -> Option<&PullRequest> {
        self.pull_requests
            .values()
            .find(|found| found.state == OpenOrClosed::Open && found.head_branch.as_ref() == Some(branch))
    }

    pub(crate) fn merged_of_branch(&self, branch: &BranchName) -> Option<&PullRequest> {
        self.pull_requests.values().rfind(|found| found.merged && found.head_branch.as_ref() == Some(branch))
    }

    /// Moves a branch on the forge; its open pull request follows, and its reviews become stale.
    pub(crate) fn push(&mut self, branch: &str, sha: &Sha, now: u64) {
        let before: Vec<u64> = self.open_numbers();
        for number in &before {
            self.note_readiness(*number, now);
        }
        if let Some(branch) = self.branches.get_mut(branch) {
            branch.remote = Some(sha.clone());
        }
        for number in before {
            let Some(found) = self.pull_requests.get_mut(&number) else { continue };
            if found.head_branch.as_ref().is_some_and(|name| name.as_str() == branch) && found.head != *sha {
                found.head = sha.clone();
                found.mergeable = true;
                self.outdated.remove(&number);
                for review in self.reviews.entry(number).or_default() {
                    review.stale = true;
                }
            }
        }
    }

    pub(crate) fn open_numbers(&self) -> Vec<u64> {
        self.pull_requests.iter().filter(|(_, found)| found.state == OpenOrClosed::Open).map(|(n, _)| *n).collect()
    }

    pub(crate) fn review(
        &mut self,
        number: u64,
        (reviewer, verdict): (&str, Verdict),
        commit: Sha,
        text: String,
        (now, at): (u64, Timestamp),
    ) {
        self.note_readiness(number, now);
        let Some(found) = self.pull_requests.get(&number) else { return };
        let stale = found.head != commit;
        let id = self.id();
        let review = Review {
            id,
            reviewer: login(reviewer),
            verdict,
            commit: Some(commit),
            body: text,
            comments: Vec::new(),
            stale,
            official: REVIEWERS.contains(&reviewer),
            dismissed: false,
            submitted_at: at,
        };
        self.reviews.entry(number).or_default().push(review);
    }

    /// Remembers that a pull request is ready now; called before anything changes that could make it unready.
    pub(crate) fn note_readiness(&mut self, number: u64, now: u64) {
        if let Some(head) = self.ready_at(number) {
            self.was_ready.insert(number, (head, now));
        }
    }

    /// Returns the head when the pull request is in truth green and validly approved there.
    pub(crate) fn ready_at(&self, number: u64) -> Option<Sha> {
        let found = self.pull_requests.get(&number)?;
        let green = self.ci.get(&found.head).is_some_and(|ci| ci.green && ci.pending == 0 && ci.breaks == 0);
        if !green {
            return None;
        }
        let ci = Known::Known((found.head.clone(), CiVerdict::Green));
        let names = ["approvals", "no_request_for_changes", "ci", "open"];
        let conditions: Vec<_> = CONDITIONS.iter().filter(|one| names.contains(&one.name)).copied().collect();
        match evaluate_with(&conditions, &self.gate_snapshot(found, ci, None)) {
            Gate::Ready(ready) => Some(ready.head().clone()),
            Gate::NotReady(_) => None,
        }
    }

    pub(crate) fn gate_snapshot(
        &self,
        found: &PullRequest,
        ci: Known<(Sha, CiVerdict)>,
        issue: Option<IssueNumber>,
    ) -> GateSnapshot {
        GateSnapshot {
            pull_request: found.clone(),
            ci,
            reviews: Known::Known(self.reviews.get(&found.number.0).cloned().unwrap_or_default()),
            changes: Known::Known(Changes::default()),
            accepted: Vec::new(),
            policy: GatePolicy {
                primary_branch: "main".into(),
                required_approvals: 1,
                reviewers: REVIEWERS.map(login).to_vec(),
                must_close: issue,
                require_code_owners: false,
                protected_paths: Vec::new(),
                ci_files: std::collections::BTreeSet::new(),
                docs_only_paths: Vec::new(),
                bots: Vec::new(),
                bot: login("dev-bot"),
            },
        }
    }

    /// Merges when the head is the one that was named (or whatever the head is, for a forge that does not ask).
    pub(crate) fn merge(&mut self, number: u64, named: Option<&Sha>) -> Result<(), &'static str> {
        let commit = self.sha();
        let Some(found) = self.pull_requests.get_mut(&number) else { return Err("no such pull request") };
        if found.merged {
            return Err("already merged");
        }
        if found.state == OpenOrClosed::Closed {
            return Err("closed");
        }
        if named.is_some_and(|named| *named != found.head) {
            return Err("head out of date");
        }
        if !found.mergeable {
            return Err("conflict");
        }
        if self.outdated.contains(&number) {
            return Err("behind the base branch");
        }
        found.merged = true;
        found.state = OpenOrClosed::Closed;
        found.merge_commit = Some(commit);
        // As forges do with "Fixes #N" in the text.
        let issue = Self::issue_of(found);
        self.close_issue(issue, "the forge");
        Ok(())
    }

    pub(crate) fn close_issue(&mut self, number: u64, who: &str) {
        if let Some(issue) = self.issues.get_mut(&number)
            && issue.state == OpenOrClosed::Open
        {
            issue.state = OpenOrClosed::Closed;
            self.closed_by.insert(number, who.to_owned());
        }
    }

    /// Asks CI about a commit: the answer as rig's CI port gives it.
    pub(crate) fn ask_ci(&mut self, head: &Sha) -> CiVerdict {
        let Some(truth) = self.ci.get_mut(head) else { return CiVerdict::Pending { missing: vec!["ci".into()] } };
        if truth.pending > 0 {
            truth.pending = if truth.pending == u32::MAX { u32::MAX } else { truth.pending - 1 };
            return CiVerdict::Pending { missing: vec!["ci".into()] };
        }
        if truth.breaks > 0 {
            truth.breaks -= 1;
            return CiVerdict::Broken { why: "clone failed".into() };
        }
        match truth.green {
            true => CiVerdict::Green,
            false => CiVerdict::Red {
                steps: vec![FailedStep {
                    name: "test".into(),
                    exit_code: Some(1),
                    log_tail: String::new(),
                    link: String::new(),
                }],
            },
        }
    }

    /// Returns the issue that a branch of rig's naming is for.
    pub(crate) fn issue_of(found: &PullRequest) -> u64 {
        let name = found.head_branch.as_ref().map(BranchName::as_str).unwrap_or_default();
        let number = name.strip_prefix("fix/issue-").and_then(|rest| rest.split('-').next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}
