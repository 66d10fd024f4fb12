//! Labels of issues: by id, because names are not unique; made when missing; read back, because forges drop what they do not
//! know without a word.

use super::super::{http::Target, wire::WireLabel};
use super::Gitea;
use crate::{
    domain::ids::IssueNumber,
    ports::forge::{ForgeError, ForgeResult},
};
use reqwest::Method;
use serde_json::json;

/// Colour of a label that rig makes; people choose a better one.
const NEW_LABEL_COLOR: &str = "#8a8f98";

impl Gitea {
    /// Adds first and removes then, so that a death in between leaves an issue with one label too many, never with none.
    /// Labels that are as wanted already are not written.
    pub(super) async fn exchange_labels(
        &self,
        number: IssueNumber,
        add: &[&str],
        remove: &[&str],
    ) -> ForgeResult<Vec<String>> {
        let target = self.below(["issues"]).at(number.0).at("labels");
        let before: Vec<WireLabel> = self.read_whole_list(&target).await?;
        let missing: Vec<&str> = add.iter().copied().filter(|name| find(&before, name).is_none()).collect();
        let superfluous: Vec<u64> = before
            .iter()
            .filter(|label| remove.iter().any(|name| same(&label.name, name)))
            .map(|label| label.id)
            .collect();
        if missing.is_empty() && superfluous.is_empty() {
            return Ok(names(before));
        }
        if !missing.is_empty() {
            let ids = self.label_ids(&missing).await?;
            self.write(Method::POST, &target, Some(&json!({ "labels": ids }))).await?;
        }
        for id in superfluous {
            match self.write(Method::DELETE, &target.clone().at(id), None).await {
                // Somebody was faster; what counts is what is read back.
                Ok(_) | Err(ForgeError::NotFound { .. } | ForgeError::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let after: Vec<WireLabel> = self.read_whole_list(&target).await?;
        let dropped = add.iter().find(|name| find(&after, name).is_none());
        let kept = remove.iter().find(|name| find(&after, name).is_some());
        let garbled = |message: String| ForgeError::Garbled { request: target.label(&Method::POST), message };
        match (dropped, kept) {
            (Some(name), _) => Err(garbled(format!("the label `{name}` is not there after it was added"))),
            (_, Some(name)) => Err(garbled(format!("the label `{name}` is still there after it was removed"))),
            (None, None) => Ok(names(after)),
        }
    }

    /// Returns an id for each name, making the labels that neither the repository nor its organisation has.
    async fn label_ids(&self, wanted: &[&str]) -> ForgeResult<Vec<u64>> {
        let mut known = self.repository_labels().await?;
        if wanted.iter().any(|name| find(&known, name).is_none()) {
            known.extend(self.organisation_labels().await);
        }
        for name in wanted {
            if find(&known, name).is_none() {
                known = self.make_label(name).await?;
            }
        }
        wanted
            .iter()
            .map(|name| {
                find(&known, name).ok_or_else(|| ForgeError::Garbled {
                    request: self.below(["labels"]).label(&Method::POST),
                    message: format!("the label `{name}` is not there after it was made"),
                })
            })
            .collect()
    }

    /// Makes a label and returns all labels, read again: when two make one name at once, both then take the older.
    async fn make_label(&self, name: &str) -> ForgeResult<Vec<WireLabel>> {
        let body = json!({ "name": name, "color": NEW_LABEL_COLOR, "description": "" });
        match self.write(Method::POST, &self.below(["labels"]), Some(&body)).await {
            Ok(_) | Err(ForgeError::Refused { status: 409, .. } | ForgeError::Invalid { status: 422, .. }) => {}
            Err(error) => return Err(error),
        }
        let mut known = self.repository_labels().await?;
        known.extend(self.organisation_labels().await);
        Ok(known)
    }

    async fn repository_labels(&self) -> ForgeResult<Vec<WireLabel>> {
        self.list(self.below(["labels"]), |label: &WireLabel| label.id).await
    }

    /// Returns the labels of the organisation that owns the repository; none where the owner is a person or the token may
    /// not look, since then a label of the repository does as well.
    async fn organisation_labels(&self) -> Vec<WireLabel> {
        let target = Target::new(["orgs", &self.repository.owner, "labels"]);
        self.list(target, |label: &WireLabel| label.id).await.unwrap_or_default()
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Returns the id of the oldest label of this spelling, else of the oldest that differs only in case.
fn find(labels: &[WireLabel], name: &str) -> Option<u64> {
    let exact = labels.iter().filter(|label| label.name == name).map(|label| label.id).min();
    exact.or_else(|| labels.iter().filter(|label| same(&label.name, name)).map(|label| label.id).min())
}

fn names(labels: Vec<WireLabel>) -> Vec<String> {
    labels.into_iter().map(|label| label.name).collect()
}
