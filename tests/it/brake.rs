//! The brake: where CI breaks for many runs and checks of a host at once, none of them is started anew, and what has not broken is asked.

use crate::{
    root_support::{GOOD, TestRoot},
    run_events,
    store_support::run_id,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rig::{
    adapters::ci_breaks::BreakFiles,
    commands::wire,
    domain::{
        ci::CiVerdict,
        ids::{EffectId, PullRequestNumber, Seq, Sha},
        issue::OpenOrClosed,
        pull_request::PullRequest,
        run::{Effect, Run},
    },
    engine::{World, checks, dispatch},
    ports::{
        ci::{Ci, CiError},
        ci_breaks::Break,
        lock::Held,
        store::CheckRow,
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Counts what it is asked for.
#[derive(Default)]
struct CountingCi {
    restarts: AtomicU32,
    asked: AtomicU32,
    breaks: AtomicBool,
}

#[async_trait]
impl Ci for CountingCi {
    async fn run(&self, _: &Sha) -> Result<CiVerdict, CiError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(match self.breaks.load(Ordering::Relaxed) {
            true => CiVerdict::Broken { why: "it was killed (exit code 137)".into() },
            false => CiVerdict::Green,
        })
    }

    async fn restart(&self, _: &Sha, _: u32) -> Result<(), CiError> {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn runs_here(&self) -> bool {
        true
    }
}

/// Nothing else checks in the tests.
#[derive(Debug)]
struct Alone;

impl Held for Alone {}

/// One root of a host.
struct OneRoot {
    root: TestRoot,
    world: World,
    ci: Arc<CountingCi>,
}

impl OneRoot {
    async fn on(host: &tempfile::TempDir) -> Self {
        let root = TestRoot::new();
        root.project("widget", GOOD).env_file("FORGE_TOKEN=secret-token-of-the-test\n", 0o600);
        root.root().ensure_state().unwrap();
        let project = rig::config::load_one(&root.root(), None).unwrap();
        let store = wire::store(&root.root()).await.unwrap();
        let mut world = wire::world(&root.root(), project, store).await.unwrap();
        let ci = Arc::new(CountingCi::default());
        world.ci = ci.clone();
        world.ci_breaks = Arc::new(BreakFiles::new(host.path().join("ci-breaks")));
        Self { root, world, ci }
    }

    fn counts(&self) -> (u32, u32) {
        (self.ci.restarts.load(Ordering::Relaxed), self.ci.asked.load(Ordering::Relaxed))
    }

    /// Carries out a run's order to get CI's verdict, after so many breaks. Returns whether CI was asked.
    async fn asks(&self, number: u32, breaks: u32) -> bool {
        let mut run: Run = run_events::begun();
        run.id = run_id(number);
        run.used.ci_breaks = breaks;
        let files = wire::run_files(&self.root.root(), &run.project, run.issue, &run.id).unwrap();
        let id = EffectId { run: run.id.clone(), seq: Seq(2), index: 0 };
        let effect = Effect::RunCi { head: run_events::sha('a'), not_before: None };
        let seen = dispatch::carry_out(&self.world, &run, files.as_ref(), &id, &effect).await.unwrap();
        seen.is_some()
    }

    /// Asks CI for a run, and it breaks.
    async fn breaks(&self, number: u32) {
        self.ci.breaks.store(true, Ordering::Relaxed);
        assert!(self.asks(number, 0).await);
        self.ci.breaks.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_all_roots_whose_ci_broke_at_once_are_held_back_and_a_run_whose_ci_did_not_is_asked() {
    let host = tempfile::tempdir().unwrap();
    let (one, other) = (OneRoot::on(&host).await, OneRoot::on(&host).await);
    one.breaks(1).await;
    other.breaks(2).await;
    assert!(one.asks(1, 1).await, "two are no outage");
    assert_eq!(one.counts(), (1, 2));
    other.breaks(3).await;
    assert!(!one.asks(1, 1).await, "it was started anew amid an outage");
    for number in 2..=3 {
        assert!(!other.asks(number, 1).await, "run {number} was started anew amid an outage");
    }
    assert_eq!((one.counts(), other.counts()), ((1, 2), (0, 2)));
    assert!(other.asks(4, 0).await, "what has not broken is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaks_of_long_ago_hold_nobody_back() {
    let host = tempfile::tempdir().unwrap();
    let root = OneRoot::on(&host).await;
    let at = Timestamp::now() - SignedDuration::from_mins(11);
    for number in 1..=5 {
        root.world.ci_breaks.note(&Break { who: run_id(number).as_str().into(), at }).unwrap();
    }
    assert!(root.asks(1, 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_read_holds_nobody_back() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("ci-breaks"), "no folder").unwrap();
    let root = OneRoot::on(&host).await;
    root.breaks(1).await;
    assert!(root.asks(1, 1).await);
}

/// A pull request that rig merges without a run, whose check broke long enough ago to be made again.
async fn broken_check(root: &OneRoot) -> PullRequest {
    let pull_request = PullRequest {
        number: PullRequestNumber(8),
        title: "chore: something small".into(),
        body: String::new(),
        author: root.world.project.forge.bot.clone(),
        state: OpenOrClosed::Open,
        merged: false,
        merge_commit: None,
        head: run_events::sha('c'),
        head_branch: Some("chore/small".parse().unwrap()),
        same_repository: true,
        base_branch: root.world.project.primary_branch.clone(),
        mergeable: true,
        draft: false,
        created_at: Timestamp::now(),
        url: String::new(),
    };
    assert!(checks::is_waiting(&root.world, &pull_request, &[]).await.unwrap(), "it was never checked");
    root.ci.breaks.store(true, Ordering::Relaxed);
    let row = checks::check(&root.world, &pull_request, &Alone).await.unwrap();
    assert!(!checks::is_waiting(&root.world, &pull_request, &[]).await.unwrap(), "a break is not tried again at once");
    let at = Timestamp::now() - SignedDuration::from_mins(6);
    root.world.store.record_check(&CheckRow { at, ..row }).await.unwrap();
    pull_request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_without_a_run_counts_and_is_held_back_like_any_run() {
    let host = tempfile::tempdir().unwrap();
    let (one, other) = (OneRoot::on(&host).await, OneRoot::on(&host).await);
    let pull_request = broken_check(&one).await;
    other.breaks(1).await;
    assert!(checks::is_waiting(&one.world, &pull_request, &[]).await.unwrap(), "two are no outage");
    other.breaks(2).await;
    assert!(!checks::is_waiting(&one.world, &pull_request, &[]).await.unwrap(), "it is checked amid an outage");
    assert!(!other.asks(1, 1).await, "the check was not counted");
}
