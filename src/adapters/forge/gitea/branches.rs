//! Branches and the rules that protect them.

use super::super::{
    http::Target,
    wire::{WireBranch, WireProtection},
};
use super::Gitea;
use crate::{
    domain::{
        ids::{BranchName, Sha},
        pull_request::Protection,
    },
    ports::forge::{ForgeError, ForgeResult},
};
use globset::GlobBuilder;
use reqwest::Method;

impl Gitea {
    /// The slashes of a branch's name stay slashes in the path: forges take both forms, proxies on the way only this one.
    fn branch_target(&self, branch: &str) -> Target {
        branch.split('/').fold(self.below(["branches"]), Target::at)
    }

    pub(super) async fn read_branch(&self, branch: &str) -> ForgeResult<Option<Sha>> {
        let tip = self
            .read_as(&self.branch_target(branch), |answer| {
                let wire: WireBranch = answer.json()?;
                Sha::new(wire.commit.id).map_err(|_| answer.garbled("the branch has no commit"))
            })
            .await;
        match tip {
            Ok(tip) => Ok(Some(tip)),
            Err(ForgeError::NotFound { .. }) => self.confirm_repository().await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn remove_branch(&self, branch: &BranchName) -> ForgeResult<bool> {
        match self.write(Method::DELETE, &self.branch_target(branch.as_str()), None).await {
            Ok(_) => Ok(true),
            Err(ForgeError::NotFound { .. }) => self.confirm_repository().await.map(|()| false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn read_protection(&self, branch: &str) -> ForgeResult<Option<Protection>> {
        match self.read_whole_list(&self.below(["branch_protections"])).await {
            Ok(rules) => Ok(matching(rules, branch).map(protection)),
            // The rules are for administrators; what holds for a branch is told to everyone who may read it.
            Err(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. }) => self.protection_by_branch(branch).await,
            Err(error) => Err(error),
        }
    }

    /// Reads from the branch itself what protects it. A branch that is not there has no protection yet; an answer that does
    /// not say is no answer.
    async fn protection_by_branch(&self, branch: &str) -> ForgeResult<Option<Protection>> {
        let target = self.branch_target(branch);
        let found = self
            .read_as(&target, |answer| {
                let wire: WireBranch = answer.json()?;
                match wire.protected {
                    Some(true) => Ok(Some(protection_of(wire))),
                    Some(false) => Ok(None),
                    None => Err(answer.garbled(
                        "it does not say whether the branch is protected, and the rules are shown to administrators only; set \
                         required_contexts in [ci], or let the bot see them",
                    )),
                }
            })
            .await;
        match found {
            Err(ForgeError::NotFound { .. }) => self.confirm_repository().await.map(|()| None),
            found => found,
        }
    }
}

fn rule_name(rule: &WireProtection) -> &str {
    if rule.rule_name.is_empty() { &rule.branch_name } else { &rule.rule_name }
}

/// Returns the rule that counts: one that names the branch, else the first by the forge's order whose glob matches.
fn matching(mut rules: Vec<WireProtection>, branch: &str) -> Option<WireProtection> {
    rules.sort_by_key(|rule| (!rule_name(rule).eq_ignore_ascii_case(branch), rule.priority));
    rules.into_iter().find(|rule| {
        let name = rule_name(rule);
        name.eq_ignore_ascii_case(branch)
            || GlobBuilder::new(name)
                .literal_separator(true)
                .build()
                .is_ok_and(|glob| glob.compile_matcher().is_match(branch))
    })
}

fn protection(rule: WireProtection) -> Protection {
    Protection {
        required_approvals: approvals(rule.required_approvals),
        required_contexts: contexts(rule.enable_status_check, rule.status_check_contexts),
        block_on_outdated_branch: rule.block_on_outdated_branch,
    }
}

/// A branch does not say whether it takes what is behind; the answer to the merge does.
fn protection_of(branch: WireBranch) -> Protection {
    Protection {
        required_approvals: approvals(branch.required_approvals),
        required_contexts: contexts(branch.enable_status_check, branch.status_check_contexts),
        block_on_outdated_branch: false,
    }
}

fn approvals(required: i64) -> u32 {
    required.clamp(0, i64::from(u32::MAX)) as u32
}

fn contexts(enabled: bool, contexts: Vec<Option<String>>) -> Vec<String> {
    if enabled { contexts.into_iter().flatten().collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, priority: i64) -> WireProtection {
        WireProtection { rule_name: name.to_owned(), priority, ..WireProtection::default() }
    }

    fn found(names: &[(&str, i64)], branch: &str) -> Option<String> {
        matching(names.iter().map(|(name, priority)| rule(name, *priority)).collect(), branch)
            .map(|rule| rule.rule_name)
    }

    #[test]
    fn the_rule_that_names_the_branch_goes_before_globs() {
        let rules = [("release/*", 1), ("*", 2), ("main", 3)];
        assert_eq!(found(&rules, "main").as_deref(), Some("main"));
        assert_eq!(found(&rules, "Main").as_deref(), Some("main"));
        assert_eq!(found(&rules, "release/1").as_deref(), Some("release/*"));
        assert_eq!(found(&rules, "release/1/2"), None);
        assert_eq!(found(&[("[", 0)], "main"), None);
    }
}
