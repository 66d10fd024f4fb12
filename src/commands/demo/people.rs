//! The people of the demo, over the forge's API as they would use its pages: the owner files issues, the reviewer reviews.

use super::sample::{REPOSITORY, Sample};
use crate::output::Failure;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Pause between two looks of the reviewer.
const LOOK_PAUSE: Duration = Duration::from_millis(150);

/// When reviews were posted; what rig needs to notice them is measured from there.
pub(super) type Posted = Arc<Mutex<Vec<Instant>>>;

/// The reviewer.
pub(super) struct People {
    api: Api,
    /// Asks for one change in the pull request of the issue with priority.
    is_strict: bool,
}

/// The forge's API as one account.
struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    fn new(url: &str, token: &str) -> Self {
        Self { client: Client::new(), base: format!("{url}/api/v1/repos/{REPOSITORY}"), token: token.to_owned() }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.base))
            .header("Authorization", format!("token {}", self.token));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let failed = |error: reqwest::Error| Failure::internal(format!("{method} {path}: {}", error.without_url()));
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        answer.json().await.map_err(failed)
    }
}

/// Files the issues with their labels, in order.
pub(super) async fn file_issues(url: &str, token: &str, issues: &[(&str, &str, &[&str])]) -> Result<(), Failure> {
    let api = Api::new(url, token);
    for label in ["backlog", "priority"] {
        api.call(Method::POST, "/labels", Some(json!({ "name": label, "color": "#0a84ff" }))).await?;
    }
    let labels = api.call(Method::GET, "/labels", None).await?;
    let id = |name: &str| {
        labels.as_array().into_iter().flatten().find(|label| label["name"] == name).map(|label| label["id"].clone())
    };
    for (title, body, names) in issues {
        let ids: Vec<Value> = names.iter().filter_map(|name| id(name)).collect();
        api.call(Method::POST, "/issues", Some(json!({ "title": title, "body": body, "labels": ids }))).await?;
    }
    Ok(())
}

impl People {
    pub(super) fn new(url: &str, sample: &Sample, is_strict: bool) -> Self {
        Self { api: Api::new(url, &sample.reviewer_token), is_strict }
    }

    /// Reviews every pull request whose CI is green, until the demo ends.
    pub(super) async fn review(&self, posted: Posted) -> Result<(), Failure> {
        let mut reviewed: BTreeSet<String> = BTreeSet::new();
        let mut asked_once = !self.is_strict;
        loop {
            let open = self.api.call(Method::GET, "/pulls?state=open&limit=50", None).await?;
            for pull in open.as_array().into_iter().flatten() {
                let head = pull["head"]["sha"].as_str().unwrap_or_default().to_owned();
                if reviewed.contains(&head) || !self.is_green(&head).await? {
                    continue;
                }
                let asks = !asked_once && pull["title"].as_str().is_some_and(|title| title.contains("goodbye"));
                asked_once |= asks;
                self.post(pull["number"].as_u64().unwrap_or_default(), &head, asks).await?;
                reviewed.insert(head);
                if let Ok(mut posted) = posted.lock() {
                    posted.push(Instant::now());
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn is_green(&self, head: &str) -> Result<bool, Failure> {
        Ok(self.api.call(Method::GET, &format!("/commits/{head}/status"), None).await?["state"] == "success")
    }

    async fn post(&self, number: u64, head: &str, asks_for_change: bool) -> Result<(), Failure> {
        let review = if asks_for_change {
            json!({
                "event": "REQUEST_CHANGES", "commit_id": head, "body": "Good, but nobody will find the option.",
                "comments": [{ "path": "greet.sh", "body": "Please describe `--bye` in the README.", "new_position": 2 }],
            })
        } else {
            json!({ "event": "APPROVED", "commit_id": head, "body": "Looks good." })
        };
        self.api.call(Method::POST, &format!("/pulls/{number}/reviews"), Some(review)).await.map(|_| ())
    }
}
