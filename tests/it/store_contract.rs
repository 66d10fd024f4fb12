//! What every store must do, whatever it is built on: each assertion knows only the port. A second store joins by one more
//! `contract!` with a function that makes an empty one.

use crate::store_support::{append_one, at, decision, event, notice, plain, project, row, run_id};
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::{
        chat::{Channel, Letter, letter::Links},
        ci::CiVerdict,
        ids::{IssueNumber, PullRequestNumber, Seq, Sha},
        repository::RepositoryKey,
    },
    ports::{
        outbox::{Body, Outgoing},
        store::{Append, CheckRow, DriverRow, MirrorRow, Notice, RunRow, Store, StoreError},
    },
};
use std::{sync::Arc, time::Duration};

/// Declares each assertion as a test on a fresh store.
macro_rules! contract {
    ($fresh:path: $($name:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (store, _kept) = $fresh().await;
            checks::$name(store).await;
        })+
    };
}

async fn sqlite() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("state/rig.db"), "host-1").await.unwrap();
    (Arc::new(store), folder)
}

contract!(sqlite:
    what_is_appended_is_read_back,
    an_append_with_a_stale_number_names_the_actual_one,
    of_appends_at_once_with_one_number_one_wins,
    a_refused_append_leaves_nothing,
    an_issue_has_one_open_run,
    projects_of_one_repository_share_its_issues_and_slots,
    a_run_without_a_repository_is_given_one_and_counts_for_its_project_before,
    an_issue_may_be_run_again_after_its_run_ended,
    slots_are_never_exceeded_by_claims_at_once,
    a_run_without_a_slot_takes_none,
    a_run_is_no_competitor_of_itself,
    an_input_is_stored_once_and_taken_once,
    an_input_of_another_run_is_not_taken,
    a_dropped_input_waits_no_more_and_the_end_of_a_run_forgets_its_inputs,
    events_of_one_kind_come_in_order_and_since_a_time,
    a_notice_is_queued_once_and_sent_once,
    what_is_settled_before_it_is_sent_asks_nobody,
    what_was_told_of_ended_runs_is_forgotten_after_a_time_and_nothing_else,
    decisions_keep_changes_only,
    decisions_older_than_thirty_days_go,
    the_last_decision_of_a_subject_stands,
    notices_of_one_project_wait_for_no_other,
    the_journal_is_read_in_order_by_position,
    runs_are_listed_by_age_and_project,
    mirrors_are_replaced,
    a_verdict_is_kept_for_its_repository_commit_and_command_and_very_old_ones_go,
    drivers_beat_and_go,
    a_run_of_another_row_is_refused,
    numbers_that_no_journal_reaches_are_refused,
    a_reader_sees_no_half_of_an_append,
);

mod checks {
    use super::*;

    pub(super) async fn what_is_appended_is_read_back(store: Arc<dyn Store>) {
        let mut row = row(1, 7);
        row.pull_request = Some(PullRequestNumber(3));
        row.head = Some(Sha::new("a".repeat(40)).unwrap());
        row.title = "quotes ' \" and \u{1F600}\nlines".to_owned();
        let events = [event(1), event(2)];
        assert_eq!(store.append(plain(&row, 0, &events)).await.unwrap(), Seq(2));

        let read = store.events(&row.run, Seq(0)).await.unwrap();
        assert_eq!(read.len(), 2);
        for (recorded, (event, seq)) in read.iter().zip(events.iter().zip(1..)) {
            assert_eq!(recorded.seq, Seq(seq));
            assert_eq!(recorded.run, row.run);
            assert_eq!(recorded.host, "host-1");
            assert_eq!(
                (recorded.at, &recorded.kind, recorded.version, &recorded.body),
                (event.at, &event.kind, event.version, &event.body)
            );
        }
        assert_eq!(store.events(&row.run, Seq(1)).await.unwrap(), read[1..]);
        assert_eq!(store.events(&run_id(2), Seq(0)).await.unwrap(), []);
        row.seq = Seq(2);
        assert_eq!(store.open_runs(None).await.unwrap(), [row]);
    }

    pub(super) async fn an_append_with_a_stale_number_names_the_actual_one(store: Arc<dyn Store>) {
        let row = row(1, 7);
        append_one(&*store, &row, 0).await.unwrap();
        append_one(&*store, &row, 1).await.unwrap();
        for stale in [0, 1, 3] {
            match append_one(&*store, &row, stale).await {
                Err(StoreError::Conflict { run, expected, actual }) => {
                    assert_eq!((run, expected, actual), (row.run.clone(), Seq(stale), Seq(2)));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(append_one(&*store, &row, 2).await.unwrap(), Seq(3));
    }

    pub(super) async fn of_appends_at_once_with_one_number_one_wins(store: Arc<dyn Store>) {
        let row = row(1, 7);
        let tasks = (0..16).map(|_| {
            let (store, row) = (store.clone(), row.clone());
            tokio::spawn(async move { append_one(&*store, &row, 0).await })
        });
        let outcomes: Vec<_> =
            futures::future::join_all(tasks).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(
            outcomes
                .iter()
                .filter(|outcome| outcome.is_err())
                .all(|outcome| matches!(outcome, Err(StoreError::Conflict { actual: Seq(1), .. })))
        );
        assert_eq!(store.events(&row.run, Seq(0)).await.unwrap().len(), 1);
    }

    pub(super) async fn a_refused_append_leaves_nothing(store: Arc<dyn Store>) {
        let mut row = row(1, 7);
        append_one(&*store, &row, 0).await.unwrap();
        let input = store.put_input(&row.run, "k", "stop", &serde_json::json!({})).await.unwrap();
        row.stage = "merging".to_owned();
        let append = Append {
            run: &row.run,
            expected: Seq(1),
            events: &[event(2)],
            row: &row,
            notices: &[notice(1, 2, "hello")],
            outgoing: &[],
            settled_since: None,
            // The second does not exist, so that the append fails at its very end.
            taken_inputs: &[input, input + 1],
            slot_limit: None,
        };
        assert!(matches!(store.append(append.clone()).await, Err(StoreError::Failed { .. })));
        assert_eq!(store.events(&row.run, Seq(0)).await.unwrap().len(), 1);
        assert_eq!(store.open_runs(None).await.unwrap()[0].stage, "working");
        assert_eq!(store.unsent_notices(None, 10).await.unwrap(), []);
        assert_eq!(store.waiting_inputs(&row.run).await.unwrap().len(), 1);

        let whole = Append { taken_inputs: &[input], ..append };
        assert_eq!(store.append(whole).await.unwrap(), Seq(2));
        assert_eq!(store.open_runs(None).await.unwrap()[0].stage, "merging");
        assert_eq!(store.unsent_notices(None, 10).await.unwrap().len(), 1);
        assert_eq!(store.waiting_inputs(&row.run).await.unwrap(), []);
    }

    pub(super) async fn an_issue_has_one_open_run(store: Arc<dyn Store>) {
        append_one(&*store, &row(1, 7), 0).await.unwrap();
        match append_one(&*store, &row(2, 7), 0).await {
            Err(StoreError::AlreadyOpen { project: name, issue, run }) => {
                assert_eq!((name, issue, run), (project("widget"), IssueNumber(7), run_id(1)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.events(&run_id(2), Seq(0)).await.unwrap(), []);
        let mut elsewhere = row(3, 7);
        elsewhere.project = project("gadget");
        elsewhere.repository = RepositoryKey::stored("https://git.example.org/acme/gadget");
        append_one(&*store, &elsewhere, 0).await.expect("another repository has its own issue 7");
    }

    pub(super) async fn projects_of_one_repository_share_its_issues_and_slots(store: Arc<dyn Store>) {
        append_one(&*store, &row(1, 7), 0).await.unwrap();
        let other = |run, issue| RunRow { project: project("widget-two"), ..row(run, issue) };
        let twice = append_one(&*store, &other(2, 7), 0).await;
        assert!(matches!(&twice, Err(StoreError::AlreadyOpen { run, .. }) if *run == run_id(1)), "{twice:?}");
        let (second, third, events) = (other(3, 8), other(4, 9), [event(1)]);
        store.append(Append { slot_limit: Some(2), ..plain(&second, 0, &events) }).await.unwrap();
        let full = store.append(Append { slot_limit: Some(2), ..plain(&third, 0, &events) }).await;
        assert!(matches!(full, Err(StoreError::NoSlot { open: 2, limit: 2, .. })), "{full:?}");
        let seen = store.open_runs_of(&project("widget"), &second.repository).await.unwrap();
        assert_eq!(seen.iter().map(|row| row.run.clone()).collect::<Vec<_>>(), [run_id(1), run_id(3)]);
        let apart = RepositoryKey::stored("https://git.example.org/acme/gadget");
        assert_eq!(store.open_runs_of(&project("gadget"), &apart).await.unwrap(), []);
    }

    pub(super) async fn a_run_without_a_repository_is_given_one_and_counts_for_its_project_before(
        store: Arc<dyn Store>,
    ) {
        let mut old = row(1, 7);
        old.repository = RepositoryKey::default();
        append_one(&*store, &old, 0).await.unwrap();
        let again = append_one(&*store, &row(2, 7), 0).await;
        assert!(matches!(again, Err(StoreError::AlreadyOpen { .. })), "{again:?}");
        let other = RunRow { project: project("widget-two"), ..row(3, 7) };
        let key = other.repository.clone();
        store.name_repository(&project("gadget"), &RepositoryKey::stored("elsewhere")).await.unwrap();
        assert!(store.open_runs(None).await.unwrap()[0].repository.is_unknown(), "it is not gadget's");
        store.name_repository(&old.project, &key).await.unwrap();
        assert_eq!(store.open_runs(None).await.unwrap()[0].repository, key);
        let again = append_one(&*store, &other, 0).await;
        assert!(matches!(again, Err(StoreError::AlreadyOpen { .. })), "{again:?}");
        store.name_repository(&old.project, &RepositoryKey::stored("elsewhere")).await.unwrap();
        assert_eq!(store.open_runs(None).await.unwrap()[0].repository, key, "what is written down stays");
    }

    pub(super) async fn an_issue_may_be_run_again_after_its_run_ended(store: Arc<dyn Store>) {
        let mut first = row(1, 7);
        append_one(&*store, &first, 0).await.unwrap();
        first.open = false;
        append_one(&*store, &first, 1).await.unwrap();
        append_one(&*store, &row(2, 7), 0).await.unwrap();
        assert_eq!(store.latest_run(&project("widget"), IssueNumber(7)).await.unwrap().unwrap().run, run_id(2));
        append_one(&*store, &first, 2).await.expect("an ended run may still note something");
        first.open = true;
        let again = append_one(&*store, &first, 3).await;
        assert!(matches!(again, Err(StoreError::AlreadyOpen { .. })), "{again:?}");
    }

    pub(super) async fn slots_are_never_exceeded_by_claims_at_once(store: Arc<dyn Store>) {
        let claims = (1..=12).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let row = row(number, u64::from(number));
                store.append(Append { slot_limit: Some(3), ..plain(&row, 0, &[event(1)]) }).await
            })
        });
        let outcomes: Vec<_> =
            futures::future::join_all(claims).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        assert!(
            outcomes
                .iter()
                .filter(|outcome| outcome.is_err())
                .all(|outcome| matches!(outcome, Err(StoreError::NoSlot { open: 3, limit: 3, .. })))
        );
        assert_eq!(store.open_runs(Some(&project("widget"))).await.unwrap().len(), 3);
    }

    pub(super) async fn a_run_without_a_slot_takes_none(store: Arc<dyn Store>) {
        let mut waiting = row(1, 1);
        waiting.holds_slot = false;
        let mut ended = row(2, 2);
        ended.open = false;
        append_one(&*store, &waiting, 0).await.unwrap();
        append_one(&*store, &ended, 0).await.unwrap();
        let (third, fourth) = (row(3, 3), row(4, 4));
        let events = [event(1)];
        store.append(Append { slot_limit: Some(1), ..plain(&third, 0, &events) }).await.unwrap();
        let full = store.append(Append { slot_limit: Some(1), ..plain(&fourth, 0, &events) }).await;
        assert!(matches!(full, Err(StoreError::NoSlot { open: 1, limit: 1, .. })), "{full:?}");
        waiting.holds_slot = true;
        append_one(&*store, &waiting, 1).await.expect("an answered run may exceed the limit");
    }

    pub(super) async fn a_run_is_no_competitor_of_itself(store: Arc<dyn Store>) {
        let row = row(1, 1);
        append_one(&*store, &row, 0).await.unwrap();
        let events = [event(2)];
        let again = store.append(Append { slot_limit: Some(1), ..plain(&row, 1, &events) }).await;
        assert_eq!(again.unwrap(), Seq(2));
    }

    pub(super) async fn an_input_is_stored_once_and_taken_once(store: Arc<dyn Store>) {
        let row = row(1, 1);
        append_one(&*store, &row, 0).await.unwrap();
        let body = serde_json::json!({ "text": "go on" });
        let id = store.put_input(&row.run, "reply-1", "reply", &body).await.unwrap();
        let repeated = store.put_input(&row.run, "reply-1", "reply", &serde_json::json!("other")).await.unwrap();
        let second = store.put_input(&row.run, "reply-2", "stop", &serde_json::json!(null)).await.unwrap();
        assert_eq!(id, repeated);
        let waiting = store.waiting_inputs(&row.run).await.unwrap();
        assert_eq!(waiting.iter().map(|input| input.id).collect::<Vec<_>>(), [id, second]);
        assert_eq!((&*waiting[0].kind, &waiting[0].body), ("reply", &body));

        let events = [event(2)];
        let ids = [id];
        store.append(Append { taken_inputs: &ids, ..plain(&row, 1, &events) }).await.unwrap();
        let twice = store.append(Append { taken_inputs: &ids, ..plain(&row, 2, &events) }).await;
        assert!(matches!(twice, Err(StoreError::Failed { .. })), "{twice:?}");
        assert_eq!(store.put_input(&row.run, "reply-1", "reply", &body).await.unwrap(), id);
        let waiting = store.waiting_inputs(&row.run).await.unwrap();
        assert_eq!(waiting.iter().map(|input| input.id).collect::<Vec<_>>(), [second]);
    }

    pub(super) async fn a_dropped_input_waits_no_more_and_the_end_of_a_run_forgets_its_inputs(store: Arc<dyn Store>) {
        let mut row = row(1, 1);
        append_one(&*store, &row, 0).await.unwrap();
        let put = async |key: &str| store.put_input(&row_id(), key, "reply", &serde_json::json!({})).await;
        let (first, second) = (put("a").await.unwrap(), put("b").await.unwrap());
        for _ in 0..2 {
            store.drop_inputs(&row.run, &[first]).await.unwrap();
        }
        let waiting = store.waiting_inputs(&row.run).await.unwrap();
        assert_eq!(waiting.iter().map(|input| input.id).collect::<Vec<_>>(), [second]);
        assert_eq!(put("a").await.unwrap(), first, "its key is known still");
        assert_eq!(store.waiting_inputs(&row.run).await.unwrap().len(), 1);
        row.open = false;
        append_one(&*store, &row, 1).await.unwrap();
        assert_eq!(store.waiting_inputs(&row.run).await.unwrap(), []);
        let late = put("c").await;
        assert!(matches!(&late, Err(StoreError::RunEnded { run }) if *run == row.run), "{late:?}");
    }

    fn row_id() -> rig::domain::ids::RunId {
        run_id(1)
    }

    pub(super) async fn events_of_one_kind_come_in_order_and_since_a_time(store: Arc<dyn Store>) {
        append_one(&*store, &row(1, 1), 0).await.unwrap();
        append_one(&*store, &row(2, 2), 0).await.unwrap();
        let kind = event(1).kind;
        let all = store.events_of_kind(&kind, None).await.unwrap();
        assert_eq!(all.iter().map(|event| event.run.clone()).collect::<Vec<_>>(), [run_id(1), run_id(2)]);
        let later = event(1).at.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        assert_eq!(store.events_of_kind(&kind, Some(event(1).at)).await.unwrap().len(), 2);
        assert_eq!(store.events_of_kind(&kind, Some(later)).await.unwrap(), []);
        assert_eq!(store.events_of_kind("NoSuchKind", None).await.unwrap(), []);
    }

    pub(super) async fn an_input_of_another_run_is_not_taken(store: Arc<dyn Store>) {
        let (mine, other) = (row(1, 1), row(2, 2));
        append_one(&*store, &mine, 0).await.unwrap();
        let id = store.put_input(&other.run, "k", "stop", &serde_json::json!({})).await.unwrap();
        let events = [event(2)];
        let theft = store.append(Append { taken_inputs: &[id], ..plain(&mine, 1, &events) }).await;
        assert!(matches!(theft, Err(StoreError::Failed { .. })), "{theft:?}");
        assert_eq!(store.waiting_inputs(&other.run).await.unwrap().len(), 1);
        assert_eq!(store.waiting_inputs(&mine.run).await.unwrap(), []);
    }

    pub(super) async fn a_notice_is_queued_once_and_sent_once(store: Arc<dyn Store>) {
        let row = row(1, 1);
        let notices = [notice(1, 2, "second"), notice(1, 1, "first by number, second in the queue")];
        let events = [event(1)];
        store.append(Append { notices: &notices, ..plain(&row, 0, &events) }).await.unwrap();
        let repeat = [notice(1, 2, "a repeat with other words")];
        store.append(Append { notices: &repeat, ..plain(&row, 1, &events) }).await.unwrap();
        assert_eq!(store.unsent_notices(None, 10).await.unwrap(), notices);
        assert_eq!(store.unsent_notices(None, 1).await.unwrap(), notices[..1]);

        store.mark_notice_sent(&notices[0].id).await.unwrap();
        store.mark_notice_sent(&notices[0].id).await.unwrap();
        assert_eq!(store.unsent_notices(None, 10).await.unwrap(), notices[1..]);
        store.append(Append { notices: &repeat, ..plain(&row, 2, &events) }).await.unwrap();
        assert_eq!(store.unsent_notices(None, 10).await.unwrap(), notices[1..], "a sent notice is not queued again");
    }

    pub(super) async fn what_is_settled_before_it_is_sent_asks_nobody(store: Arc<dyn Store>) {
        let (row, other) = (row(1, 1), row(2, 2));
        let ask = |run: u32, number: u32, urgent: bool, seconds: i64| {
            let mentions: &[String] = if urgent { &["@ann:hs".to_owned()] } else { &[] };
            let letter = Letter::news("which port?", &Links::default(), mentions);
            let body = Body::Threaded { letter, opening: Letter::default() };
            let queued =
                Notice { urgent, on_issue: urgent, at: at(seconds), ..notice(run, u64::from(number), "which port?") };
            let message = Outgoing {
                id: format!("{run}-{number}"),
                channel: Channel::Matrix,
                project: project("widget"),
                issue: Some(IssueNumber(1)),
                run: Some(run_id(run)),
                body,
                at: at(seconds),
            };
            (queued, message)
        };
        let asked = [ask(1, 1, true, 10), ask(1, 2, false, 20), ask(1, 3, true, 20), ask(1, 4, true, 30)];
        let notices: Vec<Notice> = asked.iter().map(|(notice, _)| notice.clone()).collect();
        let outgoing: Vec<Outgoing> = asked.iter().map(|(_, message)| message.clone()).collect();
        store.append(Append { notices: &notices, outgoing: &outgoing, ..plain(&row, 0, &[event(1)]) }).await.unwrap();
        let (theirs, to_them) = ask(2, 1, true, 20);
        let (theirs, to_them) = ([theirs], [to_them]);
        store.append(Append { notices: &theirs, outgoing: &to_them, ..plain(&other, 0, &[event(1)]) }).await.unwrap();
        store.mark_notice_sent(&notices[3].id).await.unwrap();

        let (new, newest) = ask(1, 5, true, 40);
        let (new, newest) = ([new], [newest]);
        let events = [event(2)];
        let append =
            Append { notices: &new, outgoing: &newest, settled_since: Some(at(20)), ..plain(&row, 1, &events) };
        store.append(append).await.unwrap();
        let still: Vec<(bool, bool)> = store
            .unsent_notices(None, 10)
            .await
            .unwrap()
            .iter()
            .map(|notice| (notice.urgent, notice.on_issue))
            .collect();
        let (asks, says) = ((true, true), (false, false));
        assert_eq!(still, [asks, says, says, asks, asks], "before it, news, settled, of another run, after it");
        let due = store.due(Channel::Matrix, None, at(100), 10).await.unwrap();
        let mentions: Vec<(String, bool)> = due
            .into_iter()
            .map(|waiting| match waiting.message.body {
                Body::Threaded { letter, .. } => (waiting.message.id, !letter.mentions.is_empty()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("1-1", true), ("1-2", false), ("1-3", false), ("1-4", false), ("2-1", true), ("1-5", true)];
        assert_eq!(mentions, expected.map(|(id, asks)| (id.to_owned(), asks)));
    }

    pub(super) async fn what_was_told_of_ended_runs_is_forgotten_after_a_time_and_nothing_else(store: Arc<dyn Store>) {
        let message = |run: u32, number: u32| Outgoing {
            id: format!("{run}-{number}"),
            channel: Channel::Command,
            project: project("widget"),
            issue: Some(IssueNumber(u64::from(run))),
            run: Some(run_id(run)),
            body: Body::News { news: serde_json::json!({}) },
            at: at(1),
        };
        // One that is open, one that ended long ago with something unsent, and one that ended just now.
        let now = jiff::Timestamp::now();
        for (run, open, changed_at) in [(1, true, at(0)), (2, false, at(0)), (3, false, now)] {
            let row = RunRow { open, changed_at, ..row(run, u64::from(run)) };
            let (notices, outgoing) =
                ([notice(run, 1, "told"), notice(run, 2, "untold")], [message(run, 1), message(run, 2)]);
            let events = [event(1)];
            let append = Append { notices: &notices, outgoing: &outgoing, ..plain(&row, 0, &events) };
            store.append(append).await.unwrap();
            store.mark_notice_sent(&notices[0].id).await.unwrap();
        }
        for waiting in store.due(Channel::Command, None, at(100), 10).await.unwrap() {
            if waiting.message.id.ends_with("-1") {
                store.mark_sent(waiting.position, "").await.unwrap();
            }
        }
        let is_told = |id: &'static str| {
            let store = store.clone();
            async move { store.message_state(Channel::Command, id).await.unwrap().map(|state| state.is_sent) }
        };
        assert!(store.told_long_ago(at(100)).await.unwrap().is_empty(), "all of it was sent just now");
        let later = now + jiff::SignedDuration::from_hours(1);
        let old = store.told_long_ago(later).await.unwrap();
        assert_eq!(old.runs.iter().map(|run| &run.run).collect::<Vec<_>>(), [&run_id(2), &run_id(3)]);
        assert!(old.messages);
        store.forget_told(&[run_id(2)], later).await.unwrap();
        let left = store.told_long_ago(later).await.unwrap();
        assert_eq!(left.runs.iter().map(|run| &run.run).collect::<Vec<_>>(), [&run_id(3)]);
        assert!(!left.messages);
        assert_eq!([is_told("1-1").await, is_told("2-1").await, is_told("2-2").await], [Some(true), None, Some(false)]);
        assert_eq!(store.unsent_notices(None, 10).await.unwrap().len(), 3);
        assert_eq!(store.events(&run_id(2), Seq(0)).await.unwrap().len(), 1, "the journal stays");
    }

    pub(super) async fn decisions_keep_changes_only(store: Arc<dyn Store>) {
        let name = project("widget");
        let mut pull_request = decision(1, "waits", 1);
        pull_request.subject_kind = "pull_request".to_owned();
        let first = [decision(1, "blocked", 1), decision(2, "launch", 1), pull_request.clone()];
        store.record_decisions(&first).await.unwrap();
        let again: Vec<_> = first
            .iter()
            .cloned()
            .map(|mut repeated| {
                repeated.at = at(2);
                repeated
            })
            .collect();
        store.record_decisions(&again).await.unwrap();
        assert_eq!(store.decisions(&name, None, 10).await.unwrap().len(), 3);

        store.record_decisions(&[decision(1, "launch", 3)]).await.unwrap();
        store.record_decisions(&[decision(1, "blocked", 4)]).await.unwrap();
        let mut reworded = decision(1, "blocked", 5);
        reworded.words = "because of #9".to_owned();
        store.record_decisions(std::slice::from_ref(&reworded)).await.unwrap();
        let of_one = store.decisions(&name, Some(1), 10).await.unwrap();
        let codes: Vec<_> = of_one.iter().map(|row| (row.code.as_str(), row.at)).collect();
        assert_eq!(
            codes,
            [("blocked", at(5)), ("blocked", at(4)), ("launch", at(3)), ("waits", at(1)), ("blocked", at(1))]
        );
        assert_eq!(of_one[0], reworded);
        assert_eq!(of_one[3], pull_request);
        assert_eq!(store.decisions(&name, Some(1), 1).await.unwrap(), [reworded]);
        assert_eq!(store.decisions(&project("gadget"), None, 10).await.unwrap(), []);
    }

    pub(super) async fn decisions_older_than_thirty_days_go(store: Arc<dyn Store>) {
        const DAY: i64 = 24 * 3600;
        store.record_decisions(&[decision(1, "old", 0), decision(2, "edge", DAY)]).await.unwrap();
        store.record_decisions(&[decision(3, "new", 31 * DAY)]).await.unwrap();
        let kept = store.decisions(&project("widget"), None, 10).await.unwrap();
        assert_eq!(kept.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["new", "edge"]);
        store.record_decisions(&[]).await.unwrap();
    }

    pub(super) async fn the_last_decision_of_a_subject_stands(store: Arc<dyn Store>) {
        let mut pull_request = decision(1, "merging", 1);
        pull_request.subject_kind = "pull_request".to_owned();
        let all = [decision(1, "merging", 1), pull_request, decision(2, "merging", 1), decision(3, "launch", 1)];
        store.record_decisions(&all).await.unwrap();
        store.record_decisions(&[decision(1, "launch", 2)]).await.unwrap();
        let name = project("widget");
        assert_eq!(store.standing_decisions(&name, "merging").await.unwrap(), all[1..3]);
        assert_eq!(store.standing_decisions(&project("gadget"), "merging").await.unwrap(), []);
    }

    pub(super) async fn notices_of_one_project_wait_for_no_other(store: Arc<dyn Store>) {
        let mut stuck: Vec<_> = (1..=5).map(|seq| notice(1, seq, "of a project that is gone")).collect();
        stuck.iter_mut().for_each(|notice| notice.project = project("gone"));
        let own = notice(1, 9, "later");
        for notice in stuck.iter().chain([&own]) {
            store.put_notice(notice).await.unwrap();
        }
        assert_eq!(store.unsent_notices(Some(&project("widget")), 3).await.unwrap(), [own]);
        assert_eq!(store.unsent_notices(None, 3).await.unwrap(), stuck[..3]);
    }

    pub(super) async fn the_journal_is_read_in_order_by_position(store: Arc<dyn Store>) {
        let (first, second) = (row(1, 1), row(2, 2));
        append_one(&*store, &first, 0).await.unwrap();
        append_one(&*store, &second, 0).await.unwrap();
        append_one(&*store, &first, 1).await.unwrap();
        let all = store.journal(0, 10).await.unwrap();
        let order: Vec<_> = all.iter().map(|event| (event.run.clone(), event.seq.0)).collect();
        assert_eq!(order, [(run_id(1), 1), (run_id(2), 1), (run_id(1), 2)]);
        assert!(all.is_sorted_by_key(|event| event.position));
        assert_eq!(store.journal(0, 2).await.unwrap(), all[..2]);
        assert_eq!(store.journal(all[1].position, 10).await.unwrap(), all[2..]);
        assert_eq!(store.journal(all[2].position, 10).await.unwrap(), []);
    }

    pub(super) async fn runs_are_listed_by_age_and_project(store: Arc<dyn Store>) {
        let (mut first, second, mut third) = (row(1, 1), row(2, 2), row(3, 3));
        third.project = project("gadget");
        for row in [&second, &first, &third] {
            append_one(&*store, row, 0).await.unwrap();
        }
        first.open = false;
        append_one(&*store, &first, 1).await.unwrap();
        let runs = |rows: Vec<rig::ports::store::RunRow>| rows.into_iter().map(|row| row.run).collect::<Vec<_>>();
        assert_eq!(runs(store.open_runs(None).await.unwrap()), [run_id(2), run_id(3)]);
        assert_eq!(runs(store.open_runs(Some(&project("gadget"))).await.unwrap()), [run_id(3)]);
        assert_eq!(runs(store.recent_runs(None, 2).await.unwrap()), [run_id(3), run_id(2)]);
        let of_widget = store.recent_runs(Some(&project("widget")), 10).await.unwrap();
        assert_eq!(runs(of_widget), [run_id(2), run_id(1)]);
        assert_eq!(store.latest_run(&project("widget"), IssueNumber(3)).await.unwrap(), None);
    }

    pub(super) async fn a_verdict_is_kept_for_its_repository_commit_and_command_and_very_old_ones_go(
        store: Arc<dyn Store>,
    ) {
        let (widget, other) = (RepositoryKey::stored("http://f/a/widget"), RepositoryKey::stored("http://f/a/other"));
        let head = |letter: &str| Sha::new(letter.repeat(40)).unwrap();
        let check = |letter: &str, command: &str, verdict: CiVerdict, second: i64| CheckRow {
            repository: widget.clone(),
            head: head(letter),
            command: command.to_owned(),
            project: project("widget"),
            pull_request: PullRequestNumber(7),
            breaks: u32::from(verdict != CiVerdict::Green),
            verdict,
            at: at(second),
        };
        let broken = check("a", "make", CiVerdict::Broken { why: "killed".into() }, 1);
        store.record_check(&broken).await.unwrap();
        assert_eq!(store.check(&widget, &head("a"), "make").await.unwrap(), Some(broken));
        let (green, newer) = (check("a", "make", CiVerdict::Green, 2), check("b", "make", CiVerdict::Green, 3));
        store.record_check(&green).await.unwrap();
        store.record_check(&newer).await.unwrap();
        assert_eq!(store.check(&widget, &head("a"), "make").await.unwrap(), Some(green.clone()));
        for (repository, letter, command) in [(&other, "a", "make"), (&widget, "c", "make"), (&widget, "a", "true")] {
            assert_eq!(store.check(repository, &head(letter), command).await.unwrap(), None, "{letter} {command}");
        }
        let of =
            async |number, limit| store.checks_of(&project("widget"), PullRequestNumber(number), limit).await.unwrap();
        assert_eq!(of(7, 9).await, [newer.clone(), green]);
        assert_eq!((of(7, 1).await, of(8, 9).await), (vec![newer], Vec::new()));
        store.record_check(&check("d", "make", CiVerdict::Green, 100 * 24 * 3_600)).await.unwrap();
        assert_eq!(store.check(&widget, &head("a"), "make").await.unwrap(), None);
    }

    pub(super) async fn mirrors_are_replaced(store: Arc<dyn Store>) {
        let mirror = |name: &str, error: &str| MirrorRow {
            project: project("widget"),
            mirror: name.to_owned(),
            sha: None,
            error: error.to_owned(),
            told: !error.is_empty(),
            at: at(0),
        };
        store.set_mirror(&mirror("b", "refused")).await.unwrap();
        store.set_mirror(&mirror("a", "")).await.unwrap();
        let mut reached = mirror("b", "");
        reached.sha = Some(Sha::new("b".repeat(40)).unwrap());
        store.set_mirror(&reached).await.unwrap();
        assert_eq!(store.mirrors(&project("widget")).await.unwrap(), [mirror("a", ""), reached]);
        assert_eq!(store.mirrors(&project("gadget")).await.unwrap(), []);
    }

    pub(super) async fn drivers_beat_and_go(store: Arc<dyn Store>) {
        let driver = |number, seconds| DriverRow {
            run: run_id(number),
            pid: 4_000_000_000,
            process_start: 1 << 40,
            boot_id: "boot".to_owned(),
            beat_at: at(seconds),
        };
        store.beat(&driver(1, 0)).await.unwrap();
        store.beat(&driver(2, 0)).await.unwrap();
        store.beat(&driver(1, 30)).await.unwrap();
        assert_eq!(store.drivers().await.unwrap(), [driver(1, 30), driver(2, 0)]);
        store.remove_driver(&run_id(1)).await.unwrap();
        store.remove_driver(&run_id(1)).await.unwrap();
        assert_eq!(store.drivers().await.unwrap(), [driver(2, 0)]);
    }

    pub(super) async fn a_run_of_another_row_is_refused(store: Arc<dyn Store>) {
        let (row, other) = (row(1, 1), run_id(2));
        let events = [event(1)];
        let mixed = store.append(Append { run: &other, ..plain(&row, 0, &events) }).await;
        assert!(matches!(mixed, Err(StoreError::Failed { .. })), "{mixed:?}");
        assert_eq!(store.journal(0, 10).await.unwrap(), []);
    }

    pub(super) async fn numbers_that_no_journal_reaches_are_refused(store: Arc<dyn Store>) {
        let row = row(1, 1);
        for number in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            assert!(store.append(plain(&row, number, &[event(1)])).await.is_err(), "{number}");
            let read = store.events(&row.run, Seq(number)).await;
            assert!(read.is_err() || read.is_ok_and(|events| events.is_empty()), "{number}");
        }
    }

    pub(super) async fn a_reader_sees_no_half_of_an_append(store: Arc<dyn Store>) {
        const APPENDS: u64 = 60;
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                let row = row(1, 1);
                for number in 0..APPENDS {
                    let events = [event(2 * number + 1), event(2 * number + 2)];
                    store.append(plain(&row, 2 * number, &events)).await.unwrap();
                }
            })
        };
        let watch = async {
            let mut seen = 0;
            while seen < 2 * APPENDS {
                let events = store.events(&run_id(1), Seq(0)).await.unwrap().len() as u64;
                assert!(events.is_multiple_of(2) && events >= seen, "{events} after {seen}");
                seen = events;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), watch).await.expect("the writer writes everything");
        writer.await.unwrap();
    }
}
