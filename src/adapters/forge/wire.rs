//! The shapes of the API, as far as rig reads them. Every field may be missing or `null`; words stay text here, so that one
//! that this version does not know refuses no answer. What a field must hold is checked in `convert`.

use serde::{Deserialize, Deserializer};

/// Takes `null` for the default, as forges written in Go send it for anything that is empty.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares structs whose fields all have a default and take `null` for it.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default, Deserialize)]
            #[serde(default)]
            pub(super) struct $name {
                $($(#[$field_doc])* #[serde(deserialize_with = "nullable")] pub(super) $field: $type,)*
            }
        )*
    };
}

shapes! {
    WireUser { login: String }
    WireRepository {
        full_name: String,
        default_branch: String,
        archived: bool,
        empty: bool,
        permissions: WirePermissions,
    }
    WirePermissions { admin: bool, push: bool }
    WireLabel { id: u64, name: String }
    WireIssue {
        number: u64,
        title: String,
        body: String,
        user: WireUser,
        labels: Vec<Option<WireLabel>>,
        assignees: Vec<Option<WireUser>>,
        state: String,
        created_at: String,
        html_url: String,
        /// Present on a pull request only.
        pull_request: Option<serde::de::IgnoredAny>,
        repository: WireRepositoryName,
    }
    /// The repository of an issue, in short.
    WireRepositoryName { full_name: String }
    WireComment { id: u64, user: WireUser, body: String, created_at: String }
    WireBranchEnd {
        #[serde(rename = "ref")]
        name: String,
        sha: String,
        repo_id: i64,
        /// `null` when the fork is gone.
        repo: Option<WireRepositoryName>,
    }
    WirePullRequest {
        number: u64,
        title: String,
        body: String,
        user: WireUser,
        state: String,
        merged: bool,
        merge_commit_sha: String,
        head: WireBranchEnd,
        base: WireBranchEnd,
        mergeable: bool,
        draft: bool,
        created_at: String,
        html_url: String,
    }
    WireFile { filename: String, previous_filename: String }
    WireReview {
        id: u64,
        user: WireUser,
        state: String,
        body: String,
        commit_id: String,
        stale: bool,
        official: bool,
        dismissed: bool,
        submitted_at: String,
        comments_count: Option<i64>,
    }
    WireInlineComment {
        path: String,
        body: String,
        position: Option<serde_json::Number>,
        /// Who has resolved the thread; null while it stands.
        resolver: Option<WireUser>,
    }
    WireCombined { statuses: Vec<Option<WireStatus>> }
    WireStatus {
        id: u64,
        /// The word's key in lists.
        status: String,
        /// The word's key in requests, taken too in case a forge repeats it.
        state: String,
        context: String,
        description: String,
        target_url: String,
        created_at: String,
        updated_at: String,
    }
    WireBranch {
        commit: WireCommit,
        protected: Option<bool>,
        required_approvals: i64,
        enable_status_check: bool,
        status_check_contexts: Vec<Option<String>>,
    }
    WireCommit { id: String }
    WireProtection {
        rule_name: String,
        /// What the rule's name was called before rules could be globs.
        branch_name: String,
        /// 0 where the forge does not order its rules.
        priority: i64,
        required_approvals: i64,
        enable_status_check: bool,
        status_check_contexts: Vec<Option<String>>,
        block_on_outdated_branch: bool,
    }
    WireCollaborator { permission: String }
}
