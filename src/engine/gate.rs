//! Gathers what the gate judges: the pull request, CI at its head, its reviews. Judging is the domain's.

use super::World;
use crate::{
    domain::{
        ci::CiVerdict,
        gate::{GatePolicy, GateSnapshot, marker_review},
        ids::{IssueNumber, Sha},
        known::Known,
        pull_request::{PullRequest, Review},
    },
    ports::forge::ForgeResult,
};

/// Reads the reviews of a pull request: the forge's own, and marker comments where the project counts them.
pub async fn reviews(world: &World, pull_request: &PullRequest) -> ForgeResult<Vec<Review>> {
    let mut reviews = world.forge.reviews(pull_request.number).await?;
    if world.project.review.marker_comments {
        let comments = world.forge.comments(pull_request.number.0).await?;
        let counted = comments.iter().filter_map(|comment| marker_review(comment, &world.project.review.reviewers));
        reviews.extend(counted);
        reviews.sort_by_key(|review| (review.submitted_at, review.id));
    }
    Ok(reviews)
}

/// Returns CI's verdict at a commit: the journal's where rig runs CI itself, else what the forge says now.
pub async fn ci_verdict(world: &World, head: &Sha, journaled_green: Option<&Sha>) -> Known<(Sha, CiVerdict)> {
    if world.ci.runs_here() {
        return match journaled_green {
            Some(green) if green == head => Known::Known((head.clone(), CiVerdict::Green)),
            _ => Known::unknown(format!("rig has not seen CI pass at {}", head.short())),
        };
    }
    match world.ci.run(head).await {
        Ok(verdict) => Known::Known((head.clone(), verdict)),
        Err(error) => Known::unknown(error.to_string()),
    }
}

/// Puts together what the gate judges.
pub fn snapshot(
    world: &World,
    pull_request: PullRequest,
    ci: Known<(Sha, CiVerdict)>,
    reviews: Known<Vec<Review>>,
    issue: Option<IssueNumber>,
) -> GateSnapshot {
    GateSnapshot {
        pull_request,
        ci,
        reviews,
        policy: GatePolicy {
            primary_branch: world.project.primary_branch.clone(),
            required_approvals: world.project.merge.required_approvals,
            reviewers: world.project.review.reviewers.clone(),
            must_close: issue.filter(|_| world.project.merge.require_closes),
        },
    }
}
