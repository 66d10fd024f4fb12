//! The forge adapter against servers that misbehave on purpose: what it makes of every kind of bad answer, and that it shows
//! its token to nobody. How it gets on with a forge that behaves is the contract suite's part.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail tests")]

mod answers;
mod paging;
mod transport;
mod writes;

use rig::{
    adapters::forge::{Connections, Gitea, Timing},
    domain::ids::{IssueNumber, PullRequestNumber, RepositoryPath, Sha},
};
use secrecy::SecretString;
use std::time::Duration;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const TOKEN: &str = "7c0ffee7c0ffee7c0ffee";
const HEAD: &str = "0123456789012345678901234567890123456789";
const REPOSITORY: &str = "/api/v1/repos/acme/widget";
const ISSUE: IssueNumber = IssueNumber(1);
const PULL: PullRequestNumber = PullRequestNumber(3);

/// Time limits that make a test of waiting short.
fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(5),
        request: Duration::from_secs(5),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
        slow: Duration::from_secs(60),
    }
}

fn forge_with(url: &str, timing: Timing) -> Gitea {
    let repository: RepositoryPath = "acme/widget".parse().expect("a repository's path");
    Gitea::with_connections(url, repository, SecretString::from(TOKEN), Connections::new(timing)).expect("a usable URL")
}

fn forge(server: &MockServer) -> Gitea {
    forge_with(&server.uri(), timing())
}

fn head() -> Sha {
    Sha::new(HEAD).expect("a commit id")
}

/// Answers one method and path (below the repository's) in one way.
async fn answer(server: &MockServer, method: &str, path: &str, response: ResponseTemplate) {
    Mock::given(matchers::method(method))
        .and(matchers::path(format!("{REPOSITORY}{path}")))
        .respond_with(response)
        .mount(server)
        .await;
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.expect("requests are recorded").len()
}
