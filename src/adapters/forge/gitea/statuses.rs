//! Commit statuses.

use super::super::{
    convert,
    paging::{List, Row},
    wire::{WireCombined, WireStatus},
};
use super::Gitea;
use crate::{
    domain::{ids::Sha, pull_request::Status},
    ports::forge::{ForgeResult, NewStatus},
};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;

impl Gitea {
    /// Reads the combined status for its list alone: its `state` covers one page only.
    pub(super) async fn list_statuses(&self, commit: &Sha) -> ForgeResult<Vec<Status>> {
        let list = List {
            api: &self.api,
            target: self.below(["commits"]).at(commit).at("status"),
            rows: |answer| {
                let statuses = answer.json::<Option<WireCombined>>()?.unwrap_or_default().statuses;
                Ok(statuses.into_iter().map(|status| status.map_or(Row::Null, Row::Entry)).collect())
            },
            key: |status: &WireStatus| (status.id, status.context.clone()),
            // Some forges count the page here, not the list.
            total_is_trusted: false,
        };
        let mut latest: BTreeMap<String, WireStatus> = BTreeMap::new();
        for status in list.all().await? {
            match latest.get(&status.context) {
                Some(known) if known.id >= status.id => {}
                _ => {
                    latest.insert(status.context.clone(), status);
                }
            }
        }
        Ok(latest.into_values().map(convert::status).collect())
    }

    pub(super) async fn write_status(&self, commit: &Sha, status: &NewStatus) -> ForgeResult<()> {
        let body = json!({
            "state": convert::status_word(status.state),
            "context": status.context,
            "description": status.description,
            "target_url": status.target_url,
        });
        self.write(Method::POST, &self.below(["statuses"]).at(commit), Some(&body)).await.map(drop)
    }
}
