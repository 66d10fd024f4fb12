//! What rig's own gate asks of a person, and the person's word: that a change of what the gate rests on may pass.

use super::{
    Effect, Ignored, Stage,
    step::{Mover, Taken},
};
use crate::domain::{gate::Acceptance, ids::Sha};
use serde::Serialize;

/// A change that waits for a person's word to rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonWanted {
    pub head: Sha,
    /// What is changed that the gate rests on.
    pub files: Vec<String>,
    /// Key of the notice that asked; on the issue it is that of the comment.
    pub asked: String,
}

/// Files that the question names; the gate names them all.
const FILES_NAMED: usize = 5;

impl PersonWanted {
    /// Returns whether a person who names the commit so means this one: by its beginning, of at least seven digits.
    pub fn is_at(&self, named: &str) -> bool {
        named.len() >= 7 && self.head.as_str().starts_with(&named.to_ascii_lowercase())
    }
}

impl Mover {
    /// Asks once for each commit.
    pub(super) fn person_wanted(&mut self, head: &Sha, files: &[String]) -> Taken {
        let Some(pull_request) = self.run.pull_request else { return Err(Ignored::NotNow) };
        self.only_in(matches!(self.run.stage, Stage::AwaitingReview { .. } | Stage::Escalated { .. }))?;
        if self.run.head.as_ref() != Some(head) {
            return Err(Ignored::StaleHead);
        }
        if self.run.person_wanted.as_ref().is_some_and(|wanted| wanted.head == *head) {
            return Err(Ignored::Duplicate);
        }
        let more = files.len().saturating_sub(FILES_NAMED);
        let mut named = files.iter().take(FILES_NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            named.push_str(&format!(", {more} more"));
        }
        let (issue, short) = (self.run.issue.0, head.short());
        let asked = self.order(Effect::Notify {
            text: format!(
                "pull request {pull_request} changes what the gate rests on ({named}) at {short}: a person must accept it, by \
                 a comment here that addresses rig's account and says `approve {short}`, by `rig approve {issue}`, or by an \
                 approving review; a further push stops it"
            ),
            urgent: true,
            on_issue: true,
        });
        self.run.person_wanted =
            Some(PersonWanted { head: head.clone(), files: files.to_vec(), asked: asked.to_string() });
        Ok(())
    }

    /// A word for another commit than the one that is asked about accepts nothing, and who said it is told so.
    pub(super) fn human_accepted(&mut self, id: &str, who: &str, head: &Sha) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_replies.insert(id.to_owned()) {
            return Err(Ignored::Duplicate);
        }
        let is_asked = self.run.person_wanted.as_ref().is_some_and(|wanted| wanted.head == *head);
        if !is_asked || self.run.head.as_ref() != Some(head) {
            let short = head.short();
            self.tell_who_accepts(format!("{who} said approve, but nothing of rig's own waits for that at {short}"));
            return Ok(());
        }
        if self.run.accepted.iter().any(|known| known.head == *head) {
            return Ok(());
        }
        self.run.accepted.push(Acceptance { who: who.to_owned(), head: head.clone() });
        self.run.merge_not_before = None;
        self.tell_who_accepts(format!("{who} accepted the change of what the gate rests on at {}", head.short()));
        Ok(())
    }

    /// A word that came without being asked for.
    pub(super) fn acceptance_refused(&mut self, id: &str, who: &str) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_replies.insert(id.to_owned()) {
            return Err(Ignored::Duplicate);
        }
        self.tell_who_accepts(format!(
            "{who} said approve, but no gate of rig's own waits for that; a pull request is approved by a review on the forge"
        ));
        Ok(())
    }

    fn tell_who_accepts(&mut self, text: String) {
        self.order(Effect::Notify { text, urgent: false, on_issue: true });
    }
}
