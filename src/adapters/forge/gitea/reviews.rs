//! Reviews with their inline comments.

use super::super::{
    answer::Answer,
    convert,
    paging::{List, Row, plain_rows},
    wire::{WireInlineComment, WireReview},
};
use super::Gitea;
use crate::{
    domain::{
        ids::PullRequestNumber,
        pull_request::{InlineComment, Review, Verdict},
    },
    ports::forge::{ForgeError, ForgeResult},
};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;

/// Reviews whose comments are fetched at a time.
const REVIEWS_AT_ONCE: usize = 6;

impl Gitea {
    pub(super) async fn list_reviews(&self, number: PullRequestNumber) -> ForgeResult<Vec<Review>> {
        let target = self.below(["pulls"]).at(number.0).at("reviews");
        // An entry that cannot be read may be the one that asks for changes.
        let rows = |answer: &Answer| Ok(plain_rows::<WireReview>(answer)?.into_iter().map(Row::not_null).collect());
        let key = |review: &WireReview| review.id;
        let wires = List { api: &self.api, target: target.clone(), rows, key, total_is_trusted: true }.all().await?;
        let mut reviews: Vec<Review> = stream::iter(wires)
            .map(|wire| async {
                let comments = self.remarks(number, &wire).await?;
                convert::review(wire, comments).map_err(|lack| ForgeError::Garbled {
                    request: target.label(&Method::GET),
                    message: lack.to_owned(),
                })
            })
            .buffered(REVIEWS_AT_ONCE)
            .try_collect()
            .await?;
        reviews.sort_by_key(|review| (review.submitted_at, review.id));
        Ok(reviews)
    }

    /// Returns the inline comments of a review; asks only where there may be some.
    async fn remarks(&self, number: PullRequestNumber, review: &WireReview) -> ForgeResult<Vec<InlineComment>> {
        if review.comments_count == Some(0) || convert::verdict(&review.state) == Verdict::None || review.id == 0 {
            return Ok(Vec::new());
        }
        let target = self.below(["pulls"]).at(number.0).at("reviews").at(review.id).at("comments");
        let wires: Vec<WireInlineComment> = self.read_whole_list(&target).await?;
        Ok(wires.into_iter().map(convert::inline_comment).collect())
    }
}
