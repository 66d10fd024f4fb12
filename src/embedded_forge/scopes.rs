//! Token scopes: which one a request needs, and whether a token has it. Pure.

use axum::http::Method;

/// The scopes that a token can be made with, apart from `all`.
const CATEGORIES: &[&str] =
    &["issue", "repository", "user", "organization", "admin", "misc", "notification", "package", "activitypub"];

/// Returns whether a scope exists.
pub(super) fn is_known(scope: &str) -> bool {
    matches!(scope, "all" | "public-only")
        || scope
            .split_once(':')
            .is_some_and(|(level, category)| matches!(level, "read" | "write") && CATEGORIES.contains(&category))
}

/// Returns the scopes that a request to `path` (below `/api/v1`) needs, all of them.
pub(super) fn needed(method: &Method, path: &str) -> Vec<String> {
    let level = if matches!(*method, Method::GET | Method::HEAD) { "read" } else { "write" };
    categories(path).iter().map(|category| format!("{level}:{category}")).collect()
}

/// Returns the first needed scope that a token with these scopes lacks.
pub(super) fn missing<'a>(granted: &[String], needed: &'a [String]) -> Option<&'a String> {
    needed.iter().find(|scope| !grants(granted, scope))
}

fn grants(granted: &[String], scope: &str) -> bool {
    let write = scope.replacen("read:", "write:", 1);
    granted.iter().any(|own| own == "all" || own == scope || *own == write)
}

fn categories(path: &str) -> &'static [&'static str] {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["repos", "issues", ..] | ["repos", _, _, "issues" | "labels" | "milestones", ..] => &["issue"],
        ["repos", ..] => &["repository"],
        ["user", "repos", ..] | ["users", _, "repos", ..] => &["user", "repository"],
        ["user" | "users", ..] => &["user"],
        ["orgs", _, "repos", ..] => &["organization", "repository"],
        ["orgs", ..] => &["organization"],
        ["admin", ..] | ["-", ..] => &["admin"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_follows_from_method_and_path() {
        let of = |method: Method, path| needed(&method, path).join(" ");
        assert_eq!(of(Method::GET, "/repos/a/b/issues/1/comments"), "read:issue");
        assert_eq!(of(Method::POST, "/repos/a/b/labels"), "write:issue");
        assert_eq!(of(Method::POST, "/repos/a/b/pulls/1/merge"), "write:repository");
        assert_eq!(of(Method::GET, "/user"), "read:user");
        assert_eq!(of(Method::POST, "/user/repos"), "write:user write:repository");
        assert_eq!(of(Method::GET, "/version"), "");
        assert_eq!(of(Method::POST, "/admin/users"), "write:admin");
    }

    #[test]
    fn write_grants_read_and_not_the_other_way() {
        let granted = |own: &str, scope: &str| missing(&[own.to_owned()], &[scope.to_owned()]).is_none();
        assert!(granted("write:issue", "read:issue"));
        assert!(!granted("read:issue", "write:issue"));
        assert!(!granted("write:issue", "read:repository"));
        assert!(granted("all", "write:admin"));
    }

    #[test]
    fn a_misspelt_scope_is_not_known() {
        assert!(is_known("write:issue") && is_known("all"));
        assert!(!is_known("write:issues") && !is_known("issue") && !is_known("admin:issue"));
    }
}
