//! The gate: what each condition makes of each fact, and that ready means what it says, for any facts.

mod changes;

use jiff::Timestamp;
use proptest::prelude::*;
use rig::domain::{
    ci::{CiVerdict, FailedStep},
    gate::{CONDITIONS, Changes, Gate, GatePolicy, GateSnapshot, evaluate_with, gate, marker_review},
    ids::{IssueNumber, Login, PullRequestNumber, Sha},
    issue::{Comment, OpenOrClosed},
    known::Known,
    pull_request::{PullRequest, Review, Verdict},
};

const HEAD: char = 'a';
const OLD: char = 'b';

fn sha(digit: char) -> Sha {
    Sha::new(digit.to_string().repeat(40)).expect("40 hex digits")
}

fn login(name: &str) -> Login {
    Login::new(name).expect("a plain name")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a near time")
}

fn pull_request() -> PullRequest {
    PullRequest {
        number: PullRequestNumber(8),
        title: "fix: a thing (#7)".into(),
        body: "Fixes #7".into(),
        author: login("dev-bot"),
        state: OpenOrClosed::Open,
        merged: false,
        merge_commit: None,
        head: sha(HEAD),
        head_branch: None,
        same_repository: true,
        base_branch: "main".into(),
        mergeable: true,
        draft: false,
        created_at: at(0),
        url: String::new(),
    }
}

/// A review at the head, official, submitted in the order of the ids.
fn review(id: u64, reviewer: &str, verdict: Verdict) -> Review {
    Review {
        id,
        reviewer: login(reviewer),
        verdict,
        commit: Some(sha(HEAD)),
        body: String::new(),
        comments: Vec::new(),
        stale: false,
        official: true,
        dismissed: false,
        submitted_at: at(id.cast_signed()),
    }
}

fn approval(id: u64, reviewer: &str) -> Review {
    review(id, reviewer, Verdict::Approved)
}

fn request(id: u64, reviewer: &str) -> Review {
    review(id, reviewer, Verdict::ChangesRequested)
}

/// A request for another review. The forge's mark goes over to it from what its reviewer has said.
fn asked_again(id: u64, reviewer: &str) -> Review {
    Review { commit: None, ..review(id, reviewer, Verdict::None) }
}

fn earlier_head(review: Review) -> Review {
    Review { commit: Some(sha(OLD)), ..review }
}

fn dismissed(review: Review) -> Review {
    Review { dismissed: true, ..review }
}

fn unofficial(review: Review) -> Review {
    Review { official: false, ..review }
}

fn ready() -> GateSnapshot {
    GateSnapshot {
        pull_request: pull_request(),
        ci: Known::Known((sha(HEAD), CiVerdict::Green)),
        reviews: Known::Known(vec![approval(1, "ann")]),
        changes: Known::Known(changing(&["src/main.rs"])),
        accepted: Vec::new(),
        policy: GatePolicy {
            primary_branch: "main".into(),
            required_approvals: 1,
            reviewers: vec![login("ann"), login("bea")],
            must_close: Some(IssueNumber(7)),
            require_code_owners: false,
            protected_paths: Vec::new(),
            ci_files: std::collections::BTreeSet::new(),
            docs_only_paths: Vec::new(),
            bots: vec![login("review-bot")],
            bot: login("dev-bot"),
        },
    }
}

fn changing(files: &[&str]) -> Changes {
    Changes { base: None, files: files.iter().map(|file| (*file).to_owned()).collect(), code_owners: None }
}

fn codes(snapshot: &GateSnapshot) -> Vec<&'static str> {
    match gate(snapshot) {
        Gate::Ready(ready) => {
            assert_eq!(ready.head(), &snapshot.pull_request.head);
            Vec::new()
        }
        Gate::NotReady(reasons) => {
            assert!(!reasons.is_empty());
            assert!(reasons.iter().all(|reason| !reason.words().is_empty()));
            reasons.iter().map(|reason| reason.code()).collect()
        }
    }
}

type Change = fn(&mut GateSnapshot);
type Row = (&'static str, Change, &'static [&'static str]);

fn check(rows: &[Row]) {
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|(name, change, expected)| {
            let mut snapshot = ready();
            change(&mut snapshot);
            let codes = codes(&snapshot);
            (codes != *expected).then(|| format!("{name}: {codes:?} instead of {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn ci(verdict: CiVerdict) -> Known<(Sha, CiVerdict)> {
    Known::Known((sha(HEAD), verdict))
}

fn reviews(s: &mut GateSnapshot, reviews: &[Review]) {
    s.reviews = Known::Known(reviews.to_vec());
}

fn anyone_official(s: &mut GateSnapshot, list: &[Review]) {
    s.policy.reviewers.clear();
    reviews(s, list);
}

/// A pull request of somebody else, which closes nothing; the bot is a configured reviewer unless nobody is.
fn of_a_chore(s: &mut GateSnapshot, change: Change) {
    s.pull_request.author = login("dependencies");
    s.pull_request.body.clear();
    s.policy.must_close = None;
    s.policy.reviewers.push(login("dev-bot"));
    change(s);
}

#[test]
fn each_fact_of_the_pull_request_and_ci_decides_by_itself() {
    check(&[
        ("ready", |_| {}, &[]),
        ("merged", |s| s.pull_request.merged = true, &["merged"]),
        (
            "merged and closed",
            |s| {
                s.pull_request.merged = true;
                s.pull_request.state = OpenOrClosed::Closed;
            },
            &["merged"],
        ),
        ("closed", |s| s.pull_request.state = OpenOrClosed::Closed, &["closed"]),
        ("draft", |s| s.pull_request.draft = true, &["draft"]),
        ("other base", |s| s.pull_request.base_branch = "release".into(), &["other_base"]),
        ("base in other case", |s| s.pull_request.base_branch = "Main".into(), &["other_base"]),
        ("no base", |s| s.pull_request.base_branch.clear(), &["other_base"]),
        ("conflict", |s| s.pull_request.mergeable = false, &["not_mergeable"]),
        ("fork", |s| s.pull_request.same_repository = false, &[]),
        ("ci unknown", |s| s.ci = Known::unknown("timed out"), &["ci_unknown"]),
        ("ci pending", |s| s.ci = ci(CiVerdict::Pending { missing: vec!["test".into()] }), &["ci_pending"]),
        ("ci pending, nothing named", |s| s.ci = ci(CiVerdict::Pending { missing: vec![] }), &["ci_pending"]),
        ("ci broken", |s| s.ci = ci(CiVerdict::Broken { why: "no disk".into() }), &["ci_broken"]),
        ("ci red, nothing named", |s| s.ci = ci(CiVerdict::Red { steps: vec![] }), &["ci_red"]),
        ("ci green before", |s| s.ci = Known::Known((sha(OLD), CiVerdict::Green)), &["ci_at_other_head"]),
        ("ci red before", |s| s.ci = Known::Known((sha(OLD), CiVerdict::Red { steps: vec![] })), &["ci_at_other_head"]),
        ("head moved", |s| s.pull_request.head = sha('c'), &["ci_at_other_head", "approvals_missing"]),
        ("closes nothing", |s| s.pull_request.body.clear(), &["closes_missing"]),
        ("closes another", |s| s.pull_request.body = "Fixes #77".into(), &["closes_missing"]),
        ("closes in code", |s| s.pull_request.body = "`Fixes #7`".into(), &["closes_missing"]),
        ("closes in a quote", |s| s.pull_request.body = "> Fixes #7".into(), &["closes_missing"]),
        ("closes elsewhere", |s| s.pull_request.body = "Fixes a/b#7".into(), &["closes_missing"]),
        ("closes only in the title", |s| s.pull_request.body = "see title".into(), &["closes_missing"]),
        ("closes several", |s| s.pull_request.body = "Closes: #6, resolves #7".into(), &[]),
        (
            "needs to close nothing",
            |s| {
                s.pull_request.body.clear();
                s.policy.must_close = None;
            },
            &[],
        ),
        (
            "everything wrong",
            |s| {
                s.pull_request.state = OpenOrClosed::Closed;
                s.pull_request.draft = true;
                s.pull_request.base_branch = "x".into();
                s.pull_request.mergeable = false;
                s.pull_request.body.clear();
                s.ci = Known::unknown("gone");
                s.reviews = Known::unknown("gone");
            },
            &[
                "closed",
                "draft",
                "other_base",
                "ci_unknown",
                "reviews_unknown",
                "reviews_unknown",
                "closes_missing",
                "not_mergeable",
            ],
        ),
    ]);
}

#[test]
fn approvals_count_only_from_those_entitled_and_at_the_head() {
    check(&[
        ("no review", |s| reviews(s, &[]), &["approvals_missing"]),
        ("unknown", |s| s.reviews = Known::unknown("502"), &["reviews_unknown", "reviews_unknown"]),
        ("reviewer in other case", |s| reviews(s, &[approval(1, "ANN")]), &[]),
        ("stranger", |s| reviews(s, &[approval(1, "eve")]), &["approvals_missing"]),
        ("unofficial but configured", |s| reviews(s, &[unofficial(approval(1, "ann"))]), &[]),
        ("at an earlier head", |s| reviews(s, &[earlier_head(approval(1, "ann"))]), &["approvals_missing"]),
        ("stale", |s| reviews(s, &[Review { stale: true, ..approval(1, "ann") }]), &["approvals_missing"]),
        ("of no commit", |s| reviews(s, &[Review { commit: None, ..approval(1, "ann") }]), &["approvals_missing"]),
        ("dismissed", |s| reviews(s, &[dismissed(approval(1, "ann"))]), &["approvals_missing"]),
        ("comment", |s| reviews(s, &[review(1, "ann", Verdict::Comment)]), &["approvals_missing"]),
        ("not submitted", |s| reviews(s, &[review(1, "ann", Verdict::None)]), &["approvals_missing"]),
        ("comment after", |s| reviews(s, &[approval(1, "ann"), review(2, "ann", Verdict::Comment)]), &[]),
        ("request for review after", |s| reviews(s, &[approval(1, "ann"), review(2, "ann", Verdict::None)]), &[]),
        (
            "dismissed after",
            |s| reviews(s, &[approval(1, "ann"), dismissed(approval(2, "ann"))]),
            &["approvals_missing"],
        ),
        (
            "the author, though configured",
            |s| {
                s.policy.reviewers.push(login("dev-bot"));
                reviews(s, &[approval(1, "dev-bot")]);
            },
            &["approvals_missing"],
        ),
        (
            "the author in other case",
            |s| {
                s.policy.reviewers.push(login("dev-bot"));
                reviews(s, &[approval(1, "Dev-Bot")]);
            },
            &["approvals_missing"],
        ),
        ("official", |s| anyone_official(s, &[approval(1, "eve")]), &[]),
        ("unofficial", |s| anyone_official(s, &[unofficial(approval(1, "eve"))]), &["approvals_missing"]),
        (
            "official, and its reviewer asked again",
            |s| anyone_official(s, &[unofficial(approval(1, "eve")), asked_again(2, "eve")]),
            &["approvals_missing"],
        ),
        ("official author", |s| anyone_official(s, &[approval(1, "dev-bot")]), &["approvals_missing"]),
        (
            "rig itself, of a chore",
            |s| of_a_chore(s, |s| reviews(s, &[approval(1, "Dev-Bot")])),
            &["approvals_missing"],
        ),
        (
            "rig itself, official, of a chore",
            |s| of_a_chore(s, |s| anyone_official(s, &[approval(1, "dev-bot")])),
            &["approvals_missing"],
        ),
        ("another, of a chore", |s| of_a_chore(s, |s| anyone_official(s, &[approval(1, "eve")])), &[]),
        ("two needed, one there", |s| s.policy.required_approvals = 2, &["approvals_missing"]),
        (
            "two needed, one person twice",
            |s| {
                s.policy.required_approvals = 2;
                reviews(s, &[approval(1, "ann"), approval(2, "Ann")]);
            },
            &["approvals_missing"],
        ),
        (
            "two needed, two there",
            |s| {
                s.policy.required_approvals = 2;
                reviews(s, &[approval(1, "ann"), approval(2, "bea")]);
            },
            &[],
        ),
        (
            "two needed, one of them of an earlier head",
            |s| {
                s.policy.required_approvals = 2;
                reviews(s, &[approval(1, "ann"), earlier_head(approval(2, "bea"))]);
            },
            &["approvals_missing"],
        ),
        (
            "none needed",
            |s| {
                s.policy.required_approvals = 0;
                reviews(s, &[]);
            },
            &[],
        ),
        (
            "none needed, but unknown",
            |s| {
                s.policy.required_approvals = 0;
                s.reviews = Known::unknown("page 2 failed");
            },
            &["reviews_unknown", "reviews_unknown"],
        ),
    ]);
}

#[test]
fn a_request_for_changes_stands_until_its_reviewer_or_a_dismissal_ends_it() {
    check(&[
        ("by another", |s| reviews(s, &[approval(1, "ann"), request(2, "bea")]), &["changes_requested"]),
        (
            "by another, before the approval",
            |s| reviews(s, &[request(1, "bea"), approval(2, "ann")]),
            &["changes_requested"],
        ),
        (
            "by the same, after",
            |s| reviews(s, &[approval(1, "ann"), request(2, "ann")]),
            &["approvals_missing", "changes_requested"],
        ),
        ("by the same, before", |s| reviews(s, &[request(1, "ann"), approval(2, "ann")]), &[]),
        ("listed in the other order", |s| reviews(s, &[approval(2, "ann"), request(1, "ann")]), &[]),
        (
            "in the same second, before",
            |s| reviews(s, &[Review { submitted_at: at(2), ..request(1, "ann") }, approval(2, "ann")]),
            &[],
        ),
        (
            "in the same second, after",
            |s| reviews(s, &[Review { submitted_at: at(1), ..request(2, "ann") }, approval(1, "ann")]),
            &["approvals_missing", "changes_requested"],
        ),
        (
            "in the same second, by a marker comment, whose number says nothing",
            |s| {
                let marker =
                    marker_review(&comment("ann", "<!-- reviewed: HEAD -->\n**REQUEST_CHANGES**"), &[login("ann")]);
                let marker = Review { submitted_at: at(9), ..marker.unwrap() };
                reviews(s, &[marker, approval(9, "ann")]);
            },
            &["approvals_missing", "changes_requested"],
        ),
        (
            "at an earlier head",
            |s| reviews(s, &[earlier_head(request(1, "bea")), approval(2, "ann")]),
            &["changes_requested"],
        ),
        (
            "called stale",
            |s| reviews(s, &[Review { stale: true, ..request(1, "bea") }, approval(2, "ann")]),
            &["changes_requested"],
        ),
        (
            "of no commit",
            |s| reviews(s, &[Review { commit: None, ..request(1, "bea") }, approval(2, "ann")]),
            &["changes_requested"],
        ),
        ("dismissed", |s| reviews(s, &[dismissed(request(1, "bea")), approval(2, "ann")]), &[]),
        (
            "commented on since",
            |s| reviews(s, &[request(1, "bea"), review(2, "bea", Verdict::Comment), approval(3, "ann")]),
            &["changes_requested"],
        ),
        (
            "answered at an earlier head",
            |s| reviews(s, &[request(1, "bea"), earlier_head(approval(2, "bea")), approval(3, "ann")]),
            &[],
        ),
        (
            "before a dismissed approval",
            |s| reviews(s, &[request(1, "bea"), dismissed(approval(2, "bea")), approval(3, "ann")]),
            &[],
        ),
        ("by a stranger", |s| reviews(s, &[approval(1, "ann"), request(2, "eve")]), &[]),
        ("by the author", |s| reviews(s, &[approval(1, "ann"), request(2, "dev-bot")]), &[]),
        ("in other case", |s| reviews(s, &[approval(1, "ann"), request(2, "BEA")]), &["changes_requested"]),
        ("official", |s| anyone_official(s, &[approval(1, "ann"), request(2, "eve")]), &["changes_requested"]),
        ("unofficial", |s| anyone_official(s, &[approval(1, "ann"), unofficial(request(2, "eve"))]), &[]),
        (
            "unofficial, by who had approved",
            |s| anyone_official(s, &[approval(1, "ann"), unofficial(request(2, "ann"))]),
            &["approvals_missing"],
        ),
        (
            "official, then an approval that does not count",
            |s| anyone_official(s, &[request(1, "eve"), unofficial(approval(2, "eve")), approval(3, "ann")]),
            &["changes_requested"],
        ),
        (
            "official, and its reviewer asked again",
            |s| anyone_official(s, &[unofficial(request(1, "eve")), asked_again(2, "Eve"), approval(3, "ann")]),
            &["changes_requested"],
        ),
        (
            "answered by an approval, and its reviewer asked again",
            |s| {
                let answered = [request(1, "eve"), approval(2, "eve")].map(unofficial);
                anyone_official(s, &[&answered[..], &[asked_again(3, "eve"), approval(4, "ann")]].concat());
            },
            &[],
        ),
        (
            "by a stranger who was asked",
            |s| {
                let asked = unofficial(asked_again(2, "eve"));
                anyone_official(s, &[unofficial(request(1, "eve")), asked, approval(3, "ann")]);
            },
            &[],
        ),
        (
            "by a stranger, and another was asked",
            |s| anyone_official(s, &[unofficial(request(1, "eve")), asked_again(2, "bea"), approval(3, "ann")]),
            &[],
        ),
        (
            "none needed, but requested",
            |s| {
                s.policy.required_approvals = 0;
                reviews(s, &[request(1, "ann")]);
            },
            &["changes_requested"],
        ),
    ]);
}

#[test]
fn the_words_name_what_is_missing() {
    let mut snapshot = ready();
    let step = FailedStep { name: "test".into(), exit_code: Some(1), log_tail: String::new(), link: String::new() };
    snapshot.ci = ci(CiVerdict::Red { steps: vec![step] });
    reviews(&mut snapshot, &[request(1, "bea")]);
    snapshot.pull_request.body.clear();
    let Gate::NotReady(reasons) = gate(&snapshot) else { panic!("ready") };
    let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
    assert_eq!(
        words,
        [
            "CI failed: test",
            "0 of 1 required approvals at its head",
            "changes requested by bea",
            "its text does not say `Closes #7`",
        ]
    );
}

#[test]
fn every_condition_is_needed_by_some_fact() {
    let broken: [(&str, Change); 10] = [
        ("open", |s| s.pull_request.merged = true),
        ("not_draft", |s| s.pull_request.draft = true),
        ("targets_primary", |s| s.pull_request.base_branch = "x".into()),
        ("ci", |s| s.ci = Known::unknown("x")),
        ("approvals", |s| reviews(s, &[])),
        ("no_request_for_changes", |s| reviews(s, &[approval(1, "ann"), request(2, "bea")])),
        ("closes_issue", |s| s.pull_request.body.clear()),
        ("code_owners", |s| changes::owned(s, "* @cid", &["src/main.rs"])),
        ("foundations", |s| {
            s.policy.bots.push(login("ann"));
            s.changes = Known::Known(changing(&["clippy.toml"]));
        }),
        ("mergeable", |s| s.pull_request.mergeable = false),
    ];
    assert_eq!(CONDITIONS.iter().map(|c| c.name).collect::<Vec<_>>(), broken.map(|(name, _)| name));
    for (name, change) in broken {
        let mut snapshot = ready();
        change(&mut snapshot);
        let others: Vec<_> = CONDITIONS.iter().copied().filter(|condition| condition.name != name).collect();
        assert!(matches!(gate(&snapshot), Gate::NotReady(_)), "{name}");
        assert!(matches!(evaluate_with(&others, &snapshot), Gate::Ready(_)), "{name}");
    }
}

#[test]
fn the_page_of_the_gate_names_every_condition() {
    let page = include_str!("../../docs/gate.md");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, CONDITIONS.iter().map(|condition| condition.name).collect::<Vec<_>>());
}

fn comment(author: &str, body: &str) -> Comment {
    Comment { id: 5, author: login(author), body: body.replace("HEAD", sha(HEAD).as_str()), created_at: at(5) }
}

#[test]
fn marker_comments_of_reviewers_are_verdicts() {
    let reviewers = [login("ann")];
    let read = |body: &str| marker_review(&comment("Ann", body), &reviewers).map(|r| (r.verdict, r.commit));
    let head = Some(sha(HEAD));
    for (body, expected) in [
        ("<!-- reviewed: HEAD -->\n**APPROVE**", Some((Verdict::Approved, head.clone()))),
        ("Fine.\n\n**APPROVE**\n<!--reviewed:HEAD-->", Some((Verdict::Approved, head.clone()))),
        ("<!-- reviewed: HEAD -->\n**approve**", Some((Verdict::Approved, head.clone()))),
        ("<!-- reviewed: HEAD -->\n**REQUEST_CHANGES**\nno", Some((Verdict::ChangesRequested, head.clone()))),
        ("<!-- reviewed: HEAD -->\n**DISCUSS**", Some((Verdict::Comment, head.clone()))),
        (
            "<!-- reviewed: HEAD -->\n**APPROVE** or **REQUEST_CHANGES**",
            Some((Verdict::ChangesRequested, head.clone())),
        ),
        ("<!-- reviewed: HEAD -->\n**APPROVE** **DISCUSS**", Some((Verdict::Comment, head.clone()))),
        ("<!-- reviewed: HEAD -->\n<!-- reviewed: HEAD -->\n**APPROVE**", Some((Verdict::Approved, head))),
        ("<!-- reviewed: HEAD -->\n<!-- reviewed: abc -->\n**APPROVE**", Some((Verdict::Approved, None))),
        ("<!-- reviewed: abcdef1 -->\n**APPROVE**", Some((Verdict::Approved, None))),
        ("<!-- reviewed: HEAD -->", None),
        ("<!-- reviewed: HEAD -->\nAPPROVE", None),
        ("<!-- reviewed: HEAD -->\n> **APPROVE**", None),
        ("<!-- reviewed: HEAD -->\n`**APPROVE**`", None),
        ("<!-- reviewed: HEAD -->\n**DO NOT APPROVE**", None),
        ("> <!-- reviewed: HEAD -->\n\n**APPROVE**", None),
        ("**APPROVE**", None),
    ] {
        assert_eq!(read(body), expected, "{body:?}");
    }
    let by_stranger = comment("eve", "<!-- reviewed: HEAD -->\n**APPROVE**");
    assert_eq!(marker_review(&by_stranger, &reviewers), None);
    assert_eq!(marker_review(&by_stranger, &[]), None);
}

#[test]
fn a_marker_approval_passes_the_gate_only_at_the_head() {
    let mut snapshot = ready();
    let reviewers = snapshot.policy.reviewers.clone();
    let marked = |body| marker_review(&comment("ann", body), &reviewers).unwrap();
    reviews(&mut snapshot, &[marked("<!-- reviewed: HEAD -->\n**APPROVE**")]);
    assert!(codes(&snapshot).is_empty());
    reviews(&mut snapshot, &[marked("<!-- reviewed: aaaaaaa -->\n**APPROVE**")]);
    assert_eq!(codes(&snapshot), ["approvals_missing"]);
}

fn any_known<T: std::fmt::Debug + Clone + 'static>(
    fact: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Known<T>> {
    prop_oneof![9 => fact.prop_map(Known::Known), 1 => Just(Known::unknown("lost"))].boxed()
}

fn any_sha() -> BoxedStrategy<Sha> {
    prop_oneof![8 => Just(sha(HEAD)), 1 => Just(sha(OLD))].boxed()
}

fn any_verdict() -> BoxedStrategy<CiVerdict> {
    prop_oneof![
        8 => Just(CiVerdict::Green),
        1 => Just(CiVerdict::Pending { missing: vec![] }),
        1 => Just(CiVerdict::Red { steps: vec![] }),
        1 => Just(CiVerdict::Broken { why: "x".into() }),
    ]
    .boxed()
}

prop_compose! {
    fn any_review()(
        id in 0_u64..6,
        reviewer in prop::sample::select(vec!["ann", "ANN", "bea", "eve", "dev-bot", "Dev-Bot"]),
        verdict in prop::sample::select(vec![Verdict::Approved, Verdict::Approved, Verdict::Approved,
                                             Verdict::ChangesRequested, Verdict::Comment, Verdict::None]),
        commit in prop::option::weighted(0.9, any_sha()),
        stale in prop::bool::weighted(0.1),
        official in prop::bool::weighted(0.8),
        dismissed in prop::bool::weighted(0.1),
        second in 0_i64..4,
    ) -> Review {
        Review { commit, stale, official, dismissed, submitted_at: at(second), ..review(id, reviewer, verdict) }
    }
}

prop_compose! {
    fn any_snapshot()(
        ci in any_known((any_sha(), any_verdict())),
        reviews in any_known(prop::collection::vec(any_review(), 0..6)),
        flags in prop::array::uniform4(prop::bool::weighted(0.05)),
        base in prop::sample::select(vec!["main", "main", "main", "main", "other"]),
        body in prop::sample::select(vec!["Fixes #7", "closes #7", "Closes #7", "nothing", "`Fixes #7`"]),
        must_close in prop::option::of(Just(IssueNumber(7))),
        required_approvals in 0_u32..3,
        reviewers in prop::sample::subsequence(vec![login("ann"), login("bea"), login("dev-bot")], 0..=3),
    ) -> GateSnapshot {
        let mut pull_request = pull_request();
        pull_request.merged = flags[0];
        pull_request.draft = flags[1];
        pull_request.mergeable = !flags[2];
        if flags[3] { pull_request.state = OpenOrClosed::Closed; }
        pull_request.base_branch = base.into();
        pull_request.body = body.into();
        let policy = GatePolicy { required_approvals, reviewers, must_close, ..ready().policy };
        GateSnapshot { pull_request, ci, reviews, policy, ..ready() }
    }
}

/// The people whose approval at the head is beyond doubt, found by looking at each person by itself.
fn approvers(snapshot: &GateSnapshot, reviews: &[Review]) -> usize {
    let entitled = |review: &Review| match snapshot.policy.reviewers.as_slice() {
        [] => review.official,
        list => list.iter().any(|name| name.is(&review.reviewer)),
    };
    ["ann", "bea", "eve"]
        .into_iter()
        .filter(|person| {
            reviews.iter().any(|review| {
                review.reviewer.is(&login(person))
                    && review.verdict == Verdict::Approved
                    && review.commit == Some(snapshot.pull_request.head.clone())
                    && !review.dismissed
                    && !review.stale
                    && entitled(review)
                    && !reviews.iter().any(|later| {
                        later.reviewer.is(&review.reviewer)
                            && later.verdict == Verdict::ChangesRequested
                            && (later.submitted_at, later.id) >= (review.submitted_at, review.id)
                    })
            })
        })
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ready_means_green_and_approved_at_exactly_the_head(snapshot in any_snapshot()) {
        if let Gate::Ready(ready) = gate(&snapshot) {
            let pull_request = &snapshot.pull_request;
            prop_assert_eq!(ready.head(), &pull_request.head);
            prop_assert_eq!(snapshot.ci.known(), Some(&(pull_request.head.clone(), CiVerdict::Green)));
            let reviews = snapshot.reviews.known().expect("reviews are known");
            prop_assert!(approvers(&snapshot, reviews) >= snapshot.policy.required_approvals as usize);
            prop_assert!(pull_request.mergeable && !pull_request.draft && !pull_request.merged);
            prop_assert_eq!(pull_request.state, OpenOrClosed::Open);
            prop_assert_eq!(&pull_request.base_branch, "main");
        }
    }

    #[test]
    fn the_order_of_reviews_does_not_matter(snapshot in any_snapshot(), seed in any::<u64>()) {
        let Known::Known(reviews) = &snapshot.reviews else { return Ok(()) };
        let mut ids = std::collections::BTreeSet::new();
        let reviews: Vec<Review> = reviews.iter().filter(|review| ids.insert(review.id)).cloned().collect();
        let mut turned = reviews.clone();
        turned.rotate_left(usize::try_from(seed % 7).unwrap() % reviews.len().max(1));
        if seed % 2 == 0 { turned.reverse(); }
        let one = GateSnapshot { reviews: Known::Known(reviews), ..snapshot.clone() };
        let other = GateSnapshot { reviews: Known::Known(turned), ..snapshot };
        prop_assert_eq!(codes(&one), codes(&other));
    }

    #[test]
    fn an_unknown_fact_is_never_ready(snapshot in any_snapshot(), which in any::<bool>()) {
        let mut snapshot = snapshot;
        if which { snapshot.ci = Known::unknown("lost") } else { snapshot.reviews = Known::unknown("lost") }
        prop_assert!(!codes(&snapshot).is_empty());
    }
}

#[test]
fn the_generated_snapshots_are_ready_often_enough_to_mean_something() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let passed =
        (0..500).filter(|_| codes(&any_snapshot().new_tree(&mut runner).unwrap().current()).is_empty()).count();
    assert!(passed > 25, "only {passed} of 500 are ready");
}
