//! Whose verdicts count, and which verdict of each reviewer stands.
//!
//! A reviewer counts who is configured or, where nobody is, whose review the forge calls official; never the author, nor
//! rig's own account, whose token an agent may have. The latest verdict of a reviewer stands; comments are no verdicts; a
//! dismissed verdict stands for nothing and does not bring back an older one. An approval counts only for exactly the head.
//! A request for changes stands also when the head has moved on, or its reviewer was asked again: that does not answer it,
//! only its reviewer (by a newer verdict) or a dismissal does.
//! Forges tell the time to the second: of two reviews of one moment the one with the higher id is the later, and of a review
//! and a marker comment, whose ids say nothing of each other, the request for changes.

use super::GatePolicy;
use crate::domain::{
    ids::{Login, Sha},
    issue::Comment,
    prose::prose,
    pull_request::{PullRequest, Review, Verdict},
};
use regex::Regex;
use std::{collections::BTreeMap, sync::LazyLock};

/// Set in the id of a review that a marker comment states: comments and reviews are numbered apart.
const MARKER_BIT: u64 = 1 << 62;

static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?im)^[ \t]*<!--\s*reviewed:\s*([0-9a-f]*)\s*-->").expect("the pattern is a literal")
});
static MARKED_VERDICT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\*\*\s*(APPROVE|REQUEST_CHANGES|DISCUSS)\s*\*\*").expect("the pattern is a literal")
});

/// Returns who approves the head, each once.
pub(super) fn approving_at_head(pull_request: &PullRequest, reviews: &[Review], policy: &GatePolicy) -> Vec<Login> {
    // A reviewer's later word takes an approval back even where the forge has ceased to count that reviewer.
    latest(reviews, |review| may_judge(&review.reviewer, pull_request, policy))
        .into_iter()
        .filter(|review| approves_head(review, pull_request) && counts(review, review.official, pull_request, policy))
        .map(|review| review.reviewer.clone())
        .collect()
}

/// Returns everyone whose latest verdict approves the head, whether or not their word counts as an approval that is
/// required: an owner of a file need not be a reviewer.
pub(super) fn everyone_approving_at_head(
    pull_request: &PullRequest,
    reviews: &[Review],
    policy: &GatePolicy,
) -> Vec<Login> {
    latest(reviews, |review| may_judge(&review.reviewer, pull_request, policy))
        .into_iter()
        .filter(|review| approves_head(review, pull_request))
        .map(|review| review.reviewer.clone())
        .collect()
}

fn approves_head(review: &Review, pull_request: &PullRequest) -> bool {
    review.verdict == Verdict::Approved
        && !review.dismissed
        && !review.stale
        && review.commit.as_ref() == Some(&pull_request.head)
}

/// Returns whose request for changes stands, each once.
pub(super) fn requesting_changes(pull_request: &PullRequest, reviews: &[Review], policy: &GatePolicy) -> Vec<Login> {
    latest(reviews, |review| counts(review, is_officially_by(review, reviews), pull_request, policy))
        .into_iter()
        .filter(|review| review.verdict == Verdict::ChangesRequested && !review.dismissed)
        .map(|review| review.reviewer.clone())
        .collect()
}

/// Returns whether a verdict is by somebody whom the forge calls official: by its own mark, or by that of a request for
/// another review. Gitea's and Forgejo's `AddReviewRequest` takes the mark from all that an official reviewer has said, and
/// gives it to the request.
pub fn is_officially_by(review: &Review, reviews: &[Review]) -> bool {
    let asks_again = |row: &Review| row.verdict == Verdict::None && row.official && row.reviewer.is(&review.reviewer);
    review.official || reviews.iter().any(asks_again)
}

fn counts(review: &Review, official: bool, pull_request: &PullRequest, policy: &GatePolicy) -> bool {
    let entitled = match policy.reviewers.as_slice() {
        [] => official,
        reviewers => reviewers.iter().any(|reviewer| reviewer.is(&review.reviewer)),
    };
    entitled && may_judge(&review.reviewer, pull_request, policy)
}

fn may_judge(reviewer: &Login, pull_request: &PullRequest, policy: &GatePolicy) -> bool {
    !reviewer.is(&pull_request.author) && !reviewer.is(&policy.bot)
}

/// Returns the latest verdict of each reviewer among the reviews that are considered, by name of the reviewer.
fn latest(reviews: &[Review], considered: impl Fn(&Review) -> bool) -> Vec<&Review> {
    let order = |review: &Review| (review.submitted_at, review.id, review.verdict == Verdict::ChangesRequested);
    let mut latest: BTreeMap<String, Latest<'_>> = BTreeMap::new();
    for review in reviews.iter().filter(|review| is_verdict(review.verdict) && considered(review)) {
        let of_reviewer = latest.entry(review.reviewer.as_str().to_ascii_lowercase()).or_default();
        let standing = if is_marker(review) { &mut of_reviewer.marker } else { &mut of_reviewer.formal };
        if standing.is_none_or(|standing| order(review) >= order(standing)) {
            *standing = Some(review);
        }
    }
    latest.into_values().filter_map(Latest::later).collect()
}

/// The latest review of one reviewer of each kind; their ids are counted apart.
#[derive(Default)]
struct Latest<'a> {
    formal: Option<&'a Review>,
    marker: Option<&'a Review>,
}

impl<'a> Latest<'a> {
    fn later(self) -> Option<&'a Review> {
        let order = |review: &&Review| (review.submitted_at, review.verdict == Verdict::ChangesRequested);
        [self.formal, self.marker].into_iter().flatten().max_by_key(order)
    }
}

fn is_verdict(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Approved | Verdict::ChangesRequested => true,
        Verdict::Comment | Verdict::None => false,
    }
}

fn is_marker(review: &Review) -> bool {
    review.id & MARKER_BIT != 0
}

/// Returns the verdict that a comment of a configured reviewer states by its marker, as a review: `<!-- reviewed: SHA -->`
/// at the start of a line, and `**APPROVE**`, `**REQUEST_CHANGES**` or `**DISCUSS**` (a comment) in the text itself, not in
/// a quote or code. Of several verdicts the most careful one is taken; without one full, unambiguous commit id the review
/// is about no commit, so that it cannot approve.
pub fn marker_review(comment: &Comment, reviewers: &[Login]) -> Option<Review> {
    if !reviewers.iter().any(|reviewer| reviewer.is(&comment.author)) {
        return None;
    }
    let mut commits: Vec<Option<Sha>> =
        MARKER.captures_iter(&comment.body).map(|captures| Sha::new(captures[1].to_ascii_lowercase()).ok()).collect();
    commits.sort();
    commits.dedup();
    let verdict = marked_verdict(&prose(&comment.body))?;
    let commit = match commits.as_slice() {
        [] => return None,
        [commit] => commit.clone(),
        _ => None,
    };
    Some(Review {
        id: comment.id | MARKER_BIT,
        reviewer: comment.author.clone(),
        verdict,
        commit,
        body: comment.body.clone(),
        comments: Vec::new(),
        stale: false,
        official: false,
        dismissed: false,
        submitted_at: comment.created_at,
    })
}

fn marked_verdict(prose: &str) -> Option<Verdict> {
    let words: Vec<String> =
        MARKED_VERDICT.captures_iter(prose).map(|captures| captures[1].to_ascii_uppercase()).collect();
    let says = |word: &str| words.iter().any(|said| said == word);
    if says("REQUEST_CHANGES") {
        Some(Verdict::ChangesRequested)
    } else if says("DISCUSS") {
        Some(Verdict::Comment)
    } else {
        says("APPROVE").then_some(Verdict::Approved)
    }
}
