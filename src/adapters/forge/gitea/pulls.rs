//! Pull requests: reading, opening, merging.

use super::super::{
    answer::Answer,
    convert,
    http::Target,
    paging::plain_rows,
    retry,
    wire::{WireFile, WirePullRequest},
};
use super::{Gitea, issues::matches, single, state_word};
use crate::{
    domain::{ids::PullRequestNumber, pull_request::PullRequest},
    ports::forge::{
        Created, ForgeError, ForgeResult, Listed, MergeRequest, MergeStyle, NewPullRequest, StateFilter, Unreadable,
    },
};
use reqwest::Method;
use serde_json::json;

impl Gitea {
    fn pull_target(&self, number: PullRequestNumber) -> Target {
        self.below(["pulls"]).at(number.0)
    }

    pub(super) async fn list_pull_requests(&self, state: StateFilter) -> ForgeResult<Listed<PullRequest>> {
        let target = self.below(["pulls"]).query("state", state_word(state));
        let rows = |answer: &Answer| {
            let rows = plain_rows::<WirePullRequest>(answer)?.into_iter();
            Ok(rows.map(|row| row.checked(|pull| pull.number != 0, "it has no number").not_null()).collect())
        };
        let Listed { items: wires, mut unreadable } = self.readable(target, |pull| pull.number, rows).await?;
        let mut items = Vec::with_capacity(wires.len());
        for wire in wires {
            let number = Some(wire.number);
            match convert::pull_request(wire) {
                Ok(pull) => items.push(pull),
                // One whose git data is broken, for which forges also say `null`; it must not hide the others.
                Err(lack) => unreadable.push(Unreadable { number, why: lack.to_owned() }),
            }
        }
        items.retain(|pull| matches(state, pull.state));
        Ok(Listed { items, unreadable })
    }

    pub(super) async fn read_pull_request(&self, number: PullRequestNumber) -> ForgeResult<PullRequest> {
        self.read_as(&self.pull_target(number), |answer| {
            let pull = single(answer, convert::pull_request)?;
            if pull.number == number { Ok(pull) } else { Err(answer.garbled(format!("it is about {}", pull.number))) }
        })
        .await
    }

    pub(super) async fn list_files(&self, number: PullRequestNumber) -> ForgeResult<Vec<String>> {
        let files = self.list(self.pull_target(number).at("files"), |file: &WireFile| file.filename.clone()).await?;
        let mut paths: Vec<String> = files
            .into_iter()
            .flat_map(|file| [file.filename, file.previous_filename])
            .filter(|p| !p.is_empty())
            .collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    pub(super) async fn read_diff(&self, number: PullRequestNumber, limit: usize) -> ForgeResult<String> {
        let target = self.below(["pulls"]).at(format_args!("{}.diff", number.0));
        retry::read(self.api.timing(), || self.api.text(&target, limit)).await
    }

    pub(super) async fn write_pull_request(&self, new: &NewPullRequest) -> ForgeResult<Created> {
        let body = json!({ "head": new.head.as_str(), "base": new.base, "title": new.title, "body": new.body });
        match self.write(Method::POST, &self.below(["pulls"]), Some(&body)).await {
            Ok(answer) => single(&answer, convert::pull_request).map(|pull| Created::New(Box::new(pull))),
            Err(ForgeError::Refused { status: 409, .. }) => Ok(Created::AlreadyThere),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write_body(&self, number: PullRequestNumber, body: &str) -> ForgeResult<()> {
        let answer = self.write(Method::PATCH, &self.pull_target(number), Some(&json!({ "body": body }))).await?;
        let written = single(&answer, convert::pull_request)?;
        // Forges may keep other line ends.
        let is_there = written.number == number && written.body.lines().eq(body.lines());
        if is_there { Ok(()) } else { Err(answer.garbled("the text is not the one that was written")) }
    }

    /// Merges exactly the commit that was judged. The branch stays: it goes only after the merge was read back.
    pub(super) async fn write_merge(&self, number: PullRequestNumber, request: &MergeRequest) -> ForgeResult<()> {
        let body = json!({
            "Do": style_word(request.style),
            "MergeTitleField": request.title,
            "MergeMessageField": request.message,
            "head_commit_id": request.head.as_str(),
            "delete_branch_after_merge": false,
        });
        let answer = self.write(Method::POST, &self.pull_target(number).at("merge"), Some(&body)).await?;
        // Other successes are promises (201: merged when the checks succeed), not merges.
        if answer.status == 200 { Ok(()) } else { Err(answer.garbled(format!("status {}", answer.status))) }
    }
}

fn style_word(style: MergeStyle) -> &'static str {
    match style {
        MergeStyle::Merge => "merge",
        MergeStyle::Rebase => "rebase",
        MergeStyle::RebaseMerge => "rebase-merge",
        MergeStyle::Squash => "squash",
        MergeStyle::FastForwardOnly => "fast-forward-only",
    }
}
