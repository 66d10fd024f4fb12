//! What the store tells about one issue or pull request: the decisions of ticks, since when each stands, and the run.

use crate::{
    domain::{
        code::Code,
        ids::{IssueNumber, ProjectName},
    },
    ports::store::{DecisionRow, RunRow, Store, StoreResult},
};
use jiff::Timestamp;

/// Decisions of one subject that are looked back over: months of a subject that changes daily.
const LOOK_BACK: u32 = 200;
/// Runs among which the one that leads a pull request is looked for.
const RUNS: u32 = 1_000;

/// What is known of one number.
#[derive(Debug, Default)]
pub struct Known {
    /// The newest first.
    pub decisions: Vec<DecisionRow>,
    /// The newest run of the issue, or the run that leads the pull request.
    pub run: Option<RunRow>,
}

impl Known {
    /// Returns since when the newest decision stands. Its words may have changed meanwhile, its code has not.
    pub fn since(&self) -> Option<Timestamp> {
        let newest = self.decisions.first()?;
        // Every tick that tries a merge says so before it says what came of it.
        let passing = |decision: &&DecisionRow| decision.code == Code::Merging.name() && newest.code != decision.code;
        let lasting = self.decisions.iter().filter(|decision| !passing(decision));
        let same = lasting.take_while(|decision| decision.code == newest.code);
        same.last().map(|decision| decision.at)
    }

    /// Returns whether the number is that of a pull request, as far as is known.
    pub fn is_pull_request(&self, number: u64) -> bool {
        let decided = self.decisions.first().is_some_and(|decision| decision.subject_kind == "pull_request");
        decided || self.run.as_ref().is_some_and(|run| run.issue.0 != number)
    }
}

/// Reads what is known of a number of a project.
pub async fn known(store: &dyn Store, project: &ProjectName, number: u64) -> StoreResult<Known> {
    let decisions = store.decisions(project, Some(number), LOOK_BACK).await?;
    let run = match store.latest_run(project, IssueNumber(number)).await? {
        Some(run) => Some(run),
        None => leading(store, project, number).await?,
    };
    Ok(Known { decisions, run })
}

/// Returns the newest run whose pull request has this number.
async fn leading(store: &dyn Store, project: &ProjectName, number: u64) -> StoreResult<Option<RunRow>> {
    let runs = store.recent_runs(Some(project), RUNS).await?;
    Ok(runs.into_iter().find(|run| run.pull_request.is_some_and(|pull_request| pull_request.0 == number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(code: &str, at: i64) -> DecisionRow {
        DecisionRow {
            project: "widget".parse().unwrap(),
            subject_kind: "issue".to_owned(),
            subject: 1,
            code: code.to_owned(),
            words: format!("words of {at}"),
            at: Timestamp::from_second(at).unwrap(),
        }
    }

    #[test]
    fn a_decision_stands_since_its_code_first_came_and_not_since_its_words_changed() {
        let codes = [("not_reached", 50), ("not_reached", 40), ("dependency_open", 30), ("not_reached", 20)];
        let decisions = codes.map(|(code, at)| decision(code, at)).to_vec();
        assert_eq!(Known { decisions, run: None }.since(), Timestamp::from_second(40).ok());
        assert_eq!(Known::default().since(), None);
        let codes = [("merge_refused", 50), ("merging", 45), ("merge_refused", 40), ("merging", 35), ("not_ready", 30)];
        let decisions = codes.map(|(code, at)| decision(code, at)).to_vec();
        assert_eq!(Known { decisions, run: None }.since(), Timestamp::from_second(40).ok(), "each tick tries again");
    }
}
