//! Which path leads where.

use super::{
    accounts, branches,
    call::API,
    call::Call,
    collaborators, comments, contents, dependencies,
    error::{ApiError, ApiResult},
    faults, git_http, issue_labels, issue_list, issues, labels, merge, protection, pull_files, pulls, repositories,
    review_comments, review_requests, reviews,
    state::Forge,
    statuses,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, delete, get, post, put},
};
use serde_json::json;
use std::sync::Arc;

/// What the forge says its version is: that of the release whose answers it gives, marked as its own.
const VERSION: &str = "15.0.0+gitea-1.22.0";
/// The largest request body of the API; git has a limit of its own.
const MAX_BODY: usize = 8 * 1024 * 1024;

pub(super) fn router(forge: Arc<Forge>) -> Router {
    let api = Router::new().merge(accounts_routes()).merge(repository_routes()).layer(DefaultBodyLimit::max(MAX_BODY));
    Router::new()
        .merge(api)
        .route("/api/forgejo/v1/version", get(version))
        .route("/{owner}/{repo}/{*rest}", any(git_http::serve).layer(DefaultBodyLimit::disable()))
        .fallback(|| async { ApiError::not_found() })
        .layer(middleware::from_fn(to_the_end))
        .layer(middleware::from_fn_with_state(forge.clone(), faults::apply))
        .with_state(forge)
}

/// Carries a request out to its end even when the client goes away: a git that is killed in the middle leaves lock files
/// that would refuse every later change.
async fn to_the_end(request: Request, next: Next) -> Response {
    let work = tokio::spawn(next.run(request));
    work.await.unwrap_or_else(|error| ApiError::internal(format!("the request broke off: {error}")).into_response())
}

// Whole paths, not nested routers: those hide the beginning of the path, by which scopes are judged and links are built.
fn api(path: &str) -> String {
    format!("{API}{path}")
}

fn repository(path: &str) -> String {
    format!("{API}/repos/{{owner}}/{{repo}}{path}")
}

async fn version(_call: Call) -> ApiResult<Response> {
    Ok(Json(json!({ "version": VERSION })).into_response())
}

fn accounts_routes() -> Router<Arc<Forge>> {
    Router::new()
        .route(&api("/version"), get(version))
        .route(&api("/user"), get(accounts::me))
        .route(&api("/user/repos"), get(repositories::list).post(repositories::create_own))
        .route(&api("/users/{user}"), get(accounts::get_user))
        .route(&api("/users/{user}/repos"), get(repositories::list))
        .route(&api("/users/{user}/tokens"), get(accounts::list_tokens).post(accounts::create_token))
        .route(&api("/users/{user}/tokens/{token}"), delete(accounts::delete_token))
        .route(&api("/admin/users"), post(accounts::create_user))
        .route(&api("/admin/users/{user}/repos"), post(repositories::create_for_user))
        .route(&api("/orgs"), post(accounts::create_organization))
        .route(&api("/orgs/{org}"), get(accounts::get_organization))
        .route(&api("/orgs/{org}/repos"), post(repositories::create_in_organization))
        .route(&api("/-/faults"), post(faults::add).delete(faults::clear))
        .route(&api("/-/requests"), get(faults::requests).delete(faults::forget_requests))
}

fn repository_routes() -> Router<Arc<Forge>> {
    Router::new()
        .route(&repository(""), get(repositories::get).patch(repositories::edit).delete(repositories::delete))
        .route(&repository("/assignees"), get(collaborators::assignees))
        .route(&repository("/collaborators"), get(collaborators::list))
        .route(
            &repository("/collaborators/{user}"),
            get(collaborators::check).put(collaborators::put).delete(collaborators::delete),
        )
        .route(&repository("/collaborators/{user}/permission"), get(collaborators::permission))
        .route(&repository("/branches"), get(branches::list).post(branches::create))
        .route(&repository("/branches/{*branch}"), get(branches::get).delete(branches::delete))
        .route(&repository("/contents/{*path}"), get(contents::get).post(contents::create).put(contents::update))
        .route(&repository("/branch_protections"), get(protection::list).post(protection::create))
        .route(
            &repository("/branch_protections/{*name}"),
            get(protection::get).patch(protection::edit).delete(protection::delete),
        )
        .route(&repository("/statuses/{sha}"), get(statuses::list).post(statuses::create))
        .route(&repository("/commits/{sha}/status"), get(statuses::combined))
        .route(&repository("/commits/{sha}/statuses"), get(statuses::list))
        .merge(issue_routes())
        .merge(pull_routes())
}

fn issue_routes() -> Router<Arc<Forge>> {
    Router::new()
        .route(&repository("/labels"), get(labels::list).post(labels::create))
        .route(&repository("/labels/{id}"), get(labels::get).patch(labels::edit).delete(labels::delete))
        .route(&repository("/issues"), get(issue_list::list).post(issues::create))
        .route(&repository("/issues/comments"), get(comments::list_all))
        .route(&repository("/issues/comments/{id}"), get(comments::get).patch(comments::edit).delete(comments::delete))
        .route(&repository("/issues/{index}"), get(issues::get).patch(issues::edit).delete(issues::delete))
        .route(&repository("/issues/{index}/comments"), get(comments::list).post(comments::create))
        .route(
            &repository("/issues/{index}/labels"),
            put(issue_labels::replace).get(issue_labels::list).post(issue_labels::add).delete(issue_labels::clear),
        )
        .route(&repository("/issues/{index}/labels/{label}"), delete(issue_labels::remove))
        .route(
            &repository("/issues/{index}/dependencies"),
            get(dependencies::list).post(dependencies::add).delete(dependencies::remove),
        )
        .route(
            &repository("/issues/{index}/blocks"),
            get(dependencies::list_blocks).post(dependencies::add_block).delete(dependencies::remove_block),
        )
}

fn pull_routes() -> Router<Arc<Forge>> {
    Router::new()
        .route(&repository("/pulls"), get(pulls::list).post(pulls::create))
        .route(&repository("/pulls/{index}"), get(pulls::get).patch(pulls::edit))
        .route(&repository("/pulls/{index}/files"), get(pull_files::list))
        .route(&repository("/pulls/{index}/commits"), get(pull_files::commits))
        .route(&repository("/pulls/{index}/merge"), get(merge::check).post(merge::merge))
        .route(&repository("/pulls/{index}/update"), post(merge::update))
        .route(
            &repository("/pulls/{index}/requested_reviewers"),
            post(review_requests::create).delete(review_requests::delete),
        )
        .route(&repository("/pulls/comments/{id}/resolve"), post(review_comments::resolve))
        .route(&repository("/pulls/comments/{id}/unresolve"), post(review_comments::unresolve))
        .route(&repository("/pulls/{index}/reviews"), get(reviews::list).post(reviews::create))
        .route(
            &repository("/pulls/{index}/reviews/{id}"),
            get(reviews::get).post(reviews::submit).delete(reviews::delete),
        )
        .route(&repository("/pulls/{index}/reviews/{id}/comments"), get(reviews::comments))
        .route(&repository("/pulls/{index}/reviews/{id}/dismissals"), post(reviews::dismiss))
        .route(&repository("/pulls/{index}/reviews/{id}/undismissals"), post(reviews::undismiss))
}
