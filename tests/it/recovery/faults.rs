//! The forge misbehaves once in each run; the run ends as if it had not. `RIG_TEST_FAULTS=all` tries far more.

use super::{
    DEADLINE,
    agent::quick,
    world::{World, beside},
};
use serde_json::{Value, json};
use std::time::Instant;

/// Requests that rig makes in a whole run, without most of the looks while it waits; measured, and more than enough.
const REQUESTS: usize = 70;
/// Shares no factor with the number of cases.
const PRIME: usize = 37;

/// Runs one issue to its end with one rule of misbehaviour.
async fn merged_in_spite_of(rule: Value) {
    let world = World::new(&quick()).await;
    let url = world.forge.url();
    crate::forge_support::call(&url, "DELETE", "/-/requests", &world.admin, Value::Null).await;
    let set = crate::forge_support::call(&url, "POST", "/-/faults", &world.admin, json!([rule])).await;
    assert_eq!(set.status, 204, "{}", set.body);
    let story = async {
        let deadline = Instant::now() + DEADLINE;
        while !["merged", "blocked", "given_back", "closed"].contains(&world.stage().await.as_str()) {
            assert!(Instant::now() < deadline, "{rule}: in vain\n{}", world.story().await);
            if world.drivers().is_empty() {
                world.poll().await;
            }
            tokio::time::sleep(super::world::LOOK).await;
        }
        crate::forge_support::call(&url, "DELETE", "/-/faults", &world.admin, Value::Null).await;
        let asked = crate::forge_support::call(&url, "GET", "/-/requests", &world.admin, Value::Null).await.body;
        // How many requests there are in all depends on how fast everything is; that each of the writes comes does not.
        assert!(rule["method"].is_null() || was_taken(&rule, &asked), "{rule} spoils nothing: {asked:#}");
        assert_eq!(world.stage().await, "merged", "{rule}\n{}", world.story().await);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.count("SessionStarted").await, 1, "{rule}");
    assert_eq!(world.count("IssueClaimed").await, 1, "{rule}");
}

/// Returns whether so much was asked for that the rule had its turn.
fn was_taken(rule: &Value, asked: &Value) -> bool {
    let pattern = regex::Regex::new(rule["path"].as_str().unwrap_or_default()).unwrap();
    let method = rule["method"].as_str();
    let fitting = asked["requests"].as_array().unwrap().iter().filter(|request| {
        method.is_none_or(|method| request["method"] == method) && pattern.is_match(request["path"].as_str().unwrap())
    });
    fitting.filter_map(|request| request["count"].as_u64()).sum::<u64>() > rule["skip"].as_u64().unwrap_or(0)
}

fn ways() -> Vec<Value> {
    vec![
        json!({ "kind": "status", "status": 500 }),
        json!({ "kind": "status", "status": 502, "body": "<html>Bad Gateway</html>", "content_type": "text/html" }),
        json!({ "kind": "drop" }),
        json!({ "kind": "truncate", "bytes": 20 }),
        json!({ "kind": "garbage" }),
        json!({ "kind": "html" }),
        json!({ "kind": "lose_answer" }),
    ]
}

fn all() -> bool {
    std::env::var("RIG_TEST_FAULTS").is_ok_and(|what| what == "all")
}

fn lanes() -> usize {
    std::env::var("RIG_TEST_LANES").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// Runs worlds one after the other in a few lanes, so that two processors are busy and not drowned.
async fn in_lanes(rules: Vec<Value>) {
    use futures::StreamExt;
    futures::stream::iter(rules).for_each_concurrent(lanes(), merged_in_spite_of).await;
}

/// Every write in turn: its answer is lost after it was carried out, or it was refused and not carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_not_repeated_in_vain() {
    let writes = [
        ("POST", "/issues/1/comments$"),
        ("PATCH", "/issues/1$"),
        ("POST", "/issues/1/labels$"),
        ("DELETE", "/issues/1/labels/"),
        ("DELETE", "/issues/comments/"),
        ("POST", "/pulls$"),
        ("POST", "/pulls/2/merge$"),
        ("POST", "/statuses/"),
        ("DELETE", "/branches/"),
    ];
    let bad = ways();
    let wanted: &[usize] = if all() { &[0, 1, 2, 3, 4, 5, 6] } else { &[6] };
    let rules = writes.iter().flat_map(|(method, path)| {
        wanted.iter().map(|way| json!({ "method": method, "path": path, "action": bad[*way] })).collect::<Vec<_>>()
    });
    in_lanes(rules.collect()).await;
}

/// One request of a whole run, whichever it is, git's included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_answer_anywhere_changes_nothing() {
    let bad = ways();
    let rules: Vec<Value> = match all() {
        true => {
            let each: Vec<Value> =
                (0..REQUESTS).flat_map(|skip| bad.iter().map(move |way| (skip, way))).map(rule_of).collect();
            // In an order that finds something early.
            (0..each.len()).map(|index| each[index * PRIME % each.len()].clone()).collect()
        }
        false => (1..REQUESTS).step_by(11).zip(bad.iter().cycle()).map(rule_of).collect(),
    };
    in_lanes(rules).await;
}

/// Whatever comes after so many requests is spoiled.
fn rule_of((skip, way): (usize, &Value)) -> Value {
    json!({ "skip": skip, "action": way })
}

/// The forge is away for a while, at different moments; git still answers, so that the agent's own pushes succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_out() {
    let outage = |skip: u32| json!({ "path": "^/api/v1/", "skip": skip, "count": 12, "action": { "kind": "status", "status": 503 } });
    in_lanes([8, 20, 32, 44].map(outage).to_vec()).await;
}
