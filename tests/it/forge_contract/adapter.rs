//! The adapter on a forge that behaves: each call of the port does what it says.

use super::world::{World, eventually};
use rig::{
    domain::{
        ids::{BranchName, IssueNumber, PullRequestNumber},
        issue::OpenOrClosed,
        pull_request::{StatusState, Verdict},
    },
    ports::forge::{Created, Forge, ForgeError, MergeRequest, MergeStyle, NewPullRequest, NewStatus, StateFilter},
};
use serde_json::json;

contract![
    account_and_repository_are_seen,
    permissions_are_judged_by_owner_and_by_bot,
    lists_of_issues_are_whole_and_filtered,
    labels_are_exchanged_and_made,
    comments_assignees_and_closing,
    dependency_links_are_read,
    a_pull_request_from_opening_to_merging,
    refused_merges_are_refusals,
    reviews_are_read_with_remarks,
    statuses_are_whole_and_the_latest,
    branches_come_and_go,
    protection_is_found_by_name_and_by_glob,
    errors_have_their_kind,
];

async fn account_and_repository_are_seen(world: &World) {
    let repository = world.repository().await;
    let bot = repository.collaborator("bot", "write").await;
    let reader = world.account("reader").await;
    assert_eq!(repository.forge(&bot).whoami().await.unwrap(), bot.login());
    let facts = repository.forge(&bot).repository().await.unwrap();
    assert_eq!((facts.default_branch.as_str(), facts.archived, facts.can_push), ("main", false, true));
    let bare = world.empty_repository().await;
    assert_eq!((facts.empty, bare.forge(&bare.owner).repository().await.unwrap().empty), (false, true));
    assert!(!repository.forge(&reader).repository().await.unwrap().can_push);
}

async fn permissions_are_judged_by_owner_and_by_bot(world: &World) {
    let repository = world.repository().await;
    let bot = repository.collaborator("bot", "write").await;
    let reader = repository.collaborator("reader", "read").await;
    let stranger = world.account("stranger").await;
    for judge in [&repository.owner, &bot] {
        let forge = repository.forge(judge);
        for (who, may) in [(&repository.owner, true), (&bot, true), (&reader, false), (&stranger, false)] {
            assert_eq!(forge.can_write(&who.login()).await.unwrap(), may, "{} of {}", judge.name, who.name);
        }
    }
}

async fn lists_of_issues_are_whole_and_filtered(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let label = repository.label("backlog").await;
    for n in 0..53 {
        let labels = if n % 2 == 0 { vec![label] } else { vec![] };
        let body = json!({"title": format!("issue {n}"), "labels": labels});
        repository.post("/issues", body).await.expect(201);
    }
    repository.branch("change", "a", "a").await;
    repository.pull("change").await;
    forge.close_issue(IssueNumber(1)).await.unwrap();
    let count = async |state, label| forge.issues(state, label).await.unwrap().items.len();
    assert_eq!(count(StateFilter::All, None).await, 53);
    assert_eq!(count(StateFilter::Open, None).await, 52);
    assert_eq!(count(StateFilter::Closed, None).await, 1);
    assert_eq!(count(StateFilter::Open, Some("backlog")).await, 26);
    assert_eq!(count(StateFilter::Open, Some("typo")).await, 0);
}

async fn labels_are_exchanged_and_made(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let issue = IssueNumber(repository.issue("x").await);
    repository.label("other").await;
    forge.change_labels(issue, &["backlog", "other"], &[]).await.unwrap();
    for _ in 0..2 {
        let mut after = forge.change_labels(issue, &["in-progress"], &["backlog", "blocked"]).await.unwrap();
        after.sort();
        assert_eq!(after, ["in-progress", "other"]);
    }
    let read = forge.issue(issue).await.unwrap();
    assert!(read.has_label("in-progress") && !read.has_label("backlog"));
    // Each label was made once.
    assert_eq!(repository.get("/labels").await.expect(200).json.as_array().unwrap().len(), 3);
}

async fn comments_assignees_and_closing(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let issue = IssueNumber(repository.issue("x").await);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(forge.post_comment(issue.0, &format!("<!-- {n} -->\nä")).await.unwrap().id);
    }
    let comments = forge.comments(issue.0).await.unwrap();
    assert_eq!(comments.iter().map(|comment| comment.id).collect::<Vec<_>>(), ids);
    assert_eq!((comments[1].body.as_str(), &comments[1].author), ("<!-- 1 -->\nä", &repository.owner.login()));
    for _ in 0..2 {
        forge.delete_comment(ids[1]).await.unwrap();
    }
    assert_eq!(forge.comments(issue.0).await.unwrap().len(), 2);
    let bot = repository.collaborator("bot", "write").await;
    for accounts in [vec![bot.login()], vec![bot.login(), repository.owner.login()], vec![]] {
        forge.set_assignees(issue, &accounts).await.unwrap();
        assert_eq!(forge.issue(issue).await.unwrap().assignees.len(), accounts.len());
    }
    for _ in 0..2 {
        forge.close_issue(issue).await.unwrap();
        assert_eq!(forge.issue(issue).await.unwrap().state, OpenOrClosed::Closed);
    }
}

async fn dependency_links_are_read(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let (first, second) = (repository.issue("first").await, repository.issue("second").await);
    let meta = json!({"owner": repository.owner.name, "repo": repository.name, "index": first});
    repository.post(format_args!("/issues/{second}/dependencies"), meta).await.expect(201);
    let links = forge.dependency_links(IssueNumber(second)).await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!((links[0].number, links[0].state), (IssueNumber(first), OpenOrClosed::Open));
    assert_eq!(links[0].repository, format!("{}/{}", repository.owner.name, repository.name));
    assert!(forge.dependency_links(IssueNumber(first)).await.unwrap().is_empty());
    let error = forge.close_issue(IssueNumber(second)).await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { status: 412, .. }), "{error}");
}

async fn a_pull_request_from_opening_to_merging(world: &World) {
    let repository = world.repository().await;
    let bot = repository.collaborator("bot", "write").await;
    let forge = repository.forge(&bot);
    let head = repository.branch("fix/issue-1", "src/a", "hello\n").await;
    let new = NewPullRequest {
        head: BranchName::new("fix/issue-1").unwrap(),
        base: "main".to_owned(),
        title: "fix: it (#1)".to_owned(),
        body: "Fixes #1".to_owned(),
    };
    let Created::New(made) = forge.create_pull_request(&new).await.unwrap() else { panic!("it is new") };
    assert!(matches!(forge.create_pull_request(&new).await.unwrap(), Created::AlreadyThere));
    assert_eq!((&made.head, made.head_branch.as_ref(), made.same_repository), (&head, Some(&new.head), true));
    assert_eq!((made.author.clone(), made.base_branch.as_str(), made.draft), (bot.login(), "main", false));
    let listed = forge.pull_requests(StateFilter::Open).await.unwrap().items;
    assert_eq!(listed.iter().map(|pull| pull.number).collect::<Vec<_>>(), [made.number]);
    forge.set_pull_request_body(made.number, "Fixes #1\n\nAnd more.\n").await.unwrap();
    let body = forge.pull_request(made.number).await.unwrap().body;
    assert!(body.lines().eq(["Fixes #1", "", "And more."]), "{body:?}");
    assert_eq!(forge.changed_files(made.number).await.unwrap(), ["src/a"]);
    assert!(forge.diff(made.number, 1_000_000).await.unwrap().contains("+hello"));
    assert_eq!(forge.diff(made.number, 4).await.unwrap(), "diff");
    repository.mergeable(made.number.0).await;
    let request =
        MergeRequest { head: head.clone(), style: MergeStyle::Squash, title: "t".to_owned(), message: "m".to_owned() };
    forge.merge(made.number, &request).await.unwrap();
    let read = forge.pull_request(made.number).await.unwrap();
    assert!(read.merged && read.state == OpenOrClosed::Closed);
    assert_eq!(read.merge_commit, forge.branch_tip("main").await.unwrap());
    assert!(forge.pull_requests(StateFilter::Open).await.unwrap().items.is_empty());
    // Once more: a refusal, not an unknown effect and not a success.
    let error = forge.merge(made.number, &request).await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { status: 405, .. }), "{error}");
    assert!(forge.delete_branch(&new.head).await.unwrap());
    assert!(!forge.delete_branch(&new.head).await.unwrap());
    let gone = eventually("the branch is gone from the pull request", async || {
        let read = forge.pull_request(made.number).await.unwrap();
        read.head_branch.is_none().then_some(read)
    })
    .await;
    assert_eq!((gone.head, gone.merged), (head, true));
}

async fn refused_merges_are_refusals(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let old = repository.branch("change", "a", "a").await;
    let pull = repository.pull("change").await;
    let head = repository.commit("a", "b").await;
    repository.push("change", &repository.owner).await.unwrap();
    repository.head_is(pull, &head).await;
    repository.mergeable(pull).await;
    let number = PullRequestNumber(pull);
    let merge = async |head| {
        let request = MergeRequest { head, style: MergeStyle::Merge, title: String::new(), message: String::new() };
        forge.merge(number, &request).await
    };
    let error = merge(old).await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { status: 409, .. }), "{error}");
    repository.post("/branch_protections", json!({"rule_name": "main", "required_approvals": 1})).await.expect(201);
    let error = merge(head.clone()).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Refused { status: 405, message, .. } if !message.is_empty()), "{error}");
    repository.patch(format_args!("/pulls/{pull}"), json!({"state": "closed"})).await.expect(201);
    let error = merge(head).await.unwrap_err();
    assert!(matches!(error, ForgeError::NotFound { .. }), "{error}");
    assert!(!forge.pull_request(number).await.unwrap().merged);
}

async fn reviews_are_read_with_remarks(world: &World) {
    let repository = world.repository().await;
    let reviewer = repository.collaborator("reviewer", "write").await;
    let head = repository.branch("change", "a", "one\ntwo\n").await;
    let pull = repository.pull("change").await;
    let path = repository.at(format_args!("/pulls/{pull}/reviews"));
    let change = json!({"event": "REQUEST_CHANGES", "body": "see below", "commit_id": head.as_str(),
        "comments": [{"path": "a", "body": "not this", "new_position": 2}]});
    world.post(&reviewer, &path, change).await.expect(200);
    let approval = json!({"event": "APPROVED", "body": "fine", "commit_id": head.as_str()});
    world.post(&reviewer, &path, approval).await.expect(200);
    let reviews = repository.forge(&repository.owner).reviews(PullRequestNumber(pull)).await.unwrap();
    let verdicts: Vec<_> = reviews.iter().map(|review| review.verdict).collect();
    assert_eq!(verdicts, [Verdict::ChangesRequested, Verdict::Approved]);
    for review in &reviews {
        assert_eq!((&review.reviewer, review.commit.as_ref()), (&reviewer.login(), Some(&head)));
        assert!(!review.stale && !review.dismissed);
    }
    let remark = &reviews[0].comments[0];
    assert_eq!((remark.path.as_str(), remark.line, remark.body.as_str()), ("a", 2, "not this"));
    assert!(reviews[1].comments.is_empty());
}

async fn statuses_are_whole_and_the_latest(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    let commit = forge.branch_tip("main").await.unwrap().unwrap();
    assert!(forge.statuses(&commit).await.unwrap().is_empty());
    let post = async |context: String, state| {
        let status = NewStatus { state, context, description: "d".to_owned(), target_url: String::new() };
        forge.post_status(&commit, &status).await.unwrap();
    };
    for n in 0..53 {
        post(format!("context {n:02}"), StatusState::Success).await;
    }
    post("context 00".to_owned(), StatusState::Failure).await;
    let statuses = forge.statuses(&commit).await.unwrap();
    assert_eq!(statuses.len(), 53);
    let red: Vec<_> = statuses.iter().filter(|status| status.state != StatusState::Success).collect();
    assert_eq!((red.len(), red[0].context.as_str(), red[0].state), (1, "context 00", StatusState::Failure));
}

async fn branches_come_and_go(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    for name in ["plain", "fix/issue-1", "fix/a+b%20c"] {
        let head = repository.branch(name, "f", name).await;
        assert_eq!(forge.branch_tip(name).await.unwrap(), Some(head), "{name}");
        let branch = BranchName::new(name).unwrap();
        assert!(forge.delete_branch(&branch).await.unwrap(), "{name}");
        assert_eq!(forge.branch_tip(name).await.unwrap(), None, "{name}");
        assert!(!forge.delete_branch(&branch).await.unwrap(), "{name}");
    }
}

async fn protection_is_found_by_name_and_by_glob(world: &World) {
    let repository = world.repository().await;
    let forge = repository.forge(&repository.owner);
    assert_eq!(forge.protection("main").await.unwrap(), None);
    let rule = json!({"rule_name": "main", "required_approvals": 2, "enable_status_check": true,
        "status_check_contexts": ["test", "ci/*"], "block_on_outdated_branch": true});
    repository.post("/branch_protections", rule).await.expect(201);
    repository
        .post("/branch_protections", json!({"rule_name": "release/*", "required_approvals": 1}))
        .await
        .expect(201);
    let main = forge.protection("main").await.unwrap().unwrap();
    assert_eq!((main.required_approvals, main.block_on_outdated_branch), (2, true));
    assert_eq!(main.required_contexts, ["test", "ci/*"]);
    let release = forge.protection("release/1").await.unwrap().unwrap();
    assert_eq!((release.required_approvals, release.required_contexts.len()), (1, 0));
    assert_eq!(forge.protection("other").await.unwrap(), None);
    repository.branch("unprotected", "f", "x").await;
    // The rules are for administrators; a writer learns from the branch what holds for it.
    let writer = repository.collaborator("writer", "write").await;
    for account in [world.account("stranger").await, writer] {
        world.get(&account, &repository.at("/branch_protections")).await.expect(403);
        let branch = world.get(&account, &repository.at("/branches/main")).await.expect(200).json;
        assert_eq!(branch["effective_branch_protection_name"], "");
        let forge = repository.forge(&account);
        let main = forge.protection("main").await.unwrap().unwrap();
        assert_eq!((main.required_approvals, main.required_contexts), (2, vec!["test".to_owned(), "ci/*".to_owned()]));
        assert_eq!(forge.protection("unprotected").await.unwrap(), None);
        assert_eq!(forge.protection("nowhere").await.unwrap(), None);
    }
}

async fn errors_have_their_kind(world: &World) {
    let repository = world.repository().await;
    let mut account = repository.owner.clone();
    let forge = repository.forge(&account);
    assert!(matches!(forge.issue(IssueNumber(4711)).await, Err(ForgeError::NotFound { .. })));
    let new = NewPullRequest {
        head: BranchName::new("main").unwrap(),
        base: "main".to_owned(),
        title: "t".to_owned(),
        body: String::new(),
    };
    assert!(matches!(forge.create_pull_request(&new).await, Err(ForgeError::Invalid { status: 422, .. })));
    account.token = world.token(&account.name, &["read:issue"]).await;
    assert!(matches!(repository.forge(&account).post_comment(1, "x").await, Err(ForgeError::Forbidden { .. })));
    account.token = "0123456789012345678901234567890123456789".to_owned();
    assert!(matches!(repository.forge(&account).issue(IssueNumber(1)).await, Err(ForgeError::Unauthorized { .. })));
}
