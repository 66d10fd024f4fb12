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
        let target = self.below(["branch_protections"]);
        let rules = match self.read_whole_list(&target).await {
            Ok(rules) => rules,
            Err(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(matching(rules, branch).map(protection))
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
    let contexts = rule.status_check_contexts.into_iter().flatten();
    Protection {
        required_approvals: rule.required_approvals.clamp(0, i64::from(u32::MAX)) as u32,
        required_contexts: if rule.enable_status_check { contexts.collect() } else { Vec::new() },
        block_on_outdated_branch: rule.block_on_outdated_branch,
    }
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
