//! The queue: which issue starts next, for facts of every kind; and the grammar of dependencies on any text.

use jiff::Timestamp;
use proptest::prelude::*;
use rig::domain::{
    ids::{IssueNumber, Login, PullRequestNumber},
    issue::{DependencyLink, Issue, OpenOrClosed},
    known::Known,
    queue::{
        Asks, Candidate, Claim, IssueFact, LabelNames, QueueSnapshot, Reason, Selection, Tier, select,
        written_dependencies,
    },
};
use std::collections::{BTreeMap, BTreeSet};

const HERE: &str = "acme/widget";

type Change = fn(&mut QueueSnapshot);

fn snapshot(candidates: Vec<Candidate>) -> QueueSnapshot {
    QueueSnapshot {
        repository: HERE.into(),
        labels: LabelNames {
            backlog: "backlog".into(),
            priority: "priority".into(),
            in_progress: "in-progress".into(),
            blocked: "blocked".into(),
            underspecified: "underspecified".into(),
            skip: vec![],
        },
        switched_on: Known::Known(true),
        usage_limit: None,
        free_memory_mb: Known::Known(8_000),
        min_free_memory_mb: 2_000,
        max_agents: 1,
        slots_taken: Known::Known(0),
        waiting_pull_requests: Known::Known(vec![]),
        candidates,
        issues: BTreeMap::new(),
        links: BTreeMap::new(),
    }
}

fn candidate(number: u64, labels: &[&str], body: &str) -> Candidate {
    let issue = Issue {
        number: IssueNumber(number),
        title: format!("issue {number}"),
        body: body.into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        state: OpenOrClosed::Open,
        is_pull_request: false,
        author: Login::new("ann").expect("a plain name"),
        assignees: vec![],
        created_at: Timestamp::from_second(number.cast_signed()).expect("a small number"),
        url: String::new(),
    };
    Candidate {
        number: IssueNumber(number),
        issue: Known::Known(issue),
        is_pull_request: false,
        claim: Known::Known(Claim::Nobody),
        open_run: Known::Known(false),
    }
}

fn backlog(number: u64, body: &str) -> Candidate {
    candidate(number, &["backlog"], body)
}

fn orphan(number: u64) -> Candidate {
    Candidate { claim: Known::Known(Claim::ThisRoot), ..candidate(number, &["in-progress"], "") }
}

fn edit(candidate: &mut Candidate) -> &mut Issue {
    match &mut candidate.issue {
        Known::Known(issue) => issue,
        Known::Unknown(why) => panic!("{why}"),
    }
}

fn link(repository: &str, number: u64, state: OpenOrClosed) -> DependencyLink {
    DependencyLink { number: IssueNumber(number), repository: repository.into(), state }
}

/// What the forge answers when it is asked.
#[derive(Debug, Clone, Default)]
struct World {
    issues: BTreeMap<IssueNumber, Known<IssueFact>>,
    links: BTreeMap<IssueNumber, Known<Vec<DependencyLink>>>,
}

/// Does what a tick does: selects, fetches what is asked for, and selects again until nothing is asked any more. Returns
/// the last selection, the facts it was made from, and how many facts were fetched.
fn settle(mut snapshot: QueueSnapshot, world: &World) -> (Selection, QueueSnapshot, usize) {
    let mut fetched = 0;
    let mut selected_before = BTreeSet::new();
    for _ in 0..100 {
        let selection = select(&snapshot);
        let selected: BTreeSet<_> = selection.selected().collect();
        assert!(selected.is_superset(&selected_before), "a selected issue was dropped again");
        selected_before = selected;
        if selection.asks.is_empty() {
            return (selection, snapshot, fetched);
        }
        for number in selection.asks.issues {
            let fact = world.issues.get(&number).cloned().unwrap_or(Known::Known(IssueFact::Missing));
            assert!(snapshot.issues.insert(number, fact).is_none(), "asked twice for {number}");
            fetched += 1;
        }
        for number in selection.asks.links {
            let fact = world.links.get(&number).cloned().unwrap_or(Known::Known(vec![]));
            assert!(snapshot.links.insert(number, fact).is_none(), "asked twice for the links of {number}");
            fetched += 1;
        }
    }
    panic!("the selection never stops asking");
}

fn decide(snapshot: QueueSnapshot, world: &World) -> Vec<(u64, &'static str)> {
    let (selection, ..) = settle(snapshot, world);
    assert!(selection.decisions.iter().all(|decision| !decision.reason.words().is_empty()));
    selection.decisions.iter().map(|decision| (decision.issue.0, decision.reason.code().name())).collect()
}

fn world() -> World {
    let fact = |number, fact| (IssueNumber(number), fact);
    World {
        issues: BTreeMap::from([
            fact(90, Known::Known(IssueFact::Open { depends_on: vec![] })),
            fact(91, Known::Known(IssueFact::Closed)),
            fact(92, Known::unknown("502")),
            fact(93, Known::Known(IssueFact::Open { depends_on: vec![IssueNumber(1)] })),
        ]),
        links: BTreeMap::new(),
    }
}

#[test]
fn a_candidate_alone_is_decided_by_its_own_facts() {
    let rows: [(&str, Candidate, &str); 33] = [
        ("ready", backlog(1, ""), "selected"),
        ("with priority", candidate(1, &["priority", "Backlog"], ""), "selected"),
        ("priority alone", candidate(1, &["priority"], ""), "not_in_backlog"),
        ("orphan", orphan(1), "selected"),
        (
            "claimed here, back in the backlog",
            Candidate { claim: Known::Known(Claim::ThisRoot), ..backlog(1, "") },
            "selected",
        ),
        (
            "orphan, blocked",
            {
                let mut c = orphan(1);
                edit(&mut c).labels.push("blocked".into());
                c
            },
            "not_claimable_label",
        ),
        (
            "orphan that waits",
            {
                let mut c = orphan(1);
                edit(&mut c).body = "depends on #90".into();
                c
            },
            "dependency_open",
        ),
        ("in progress, nobody known", candidate(1, &["backlog", "in-progress"], ""), "in_progress_elsewhere"),
        (
            "claimed elsewhere",
            Candidate { claim: Known::Known(Claim::Other("x".into())), ..backlog(1, "") },
            "in_progress_elsewhere",
        ),
        ("claim unknown", Candidate { claim: Known::unknown("x"), ..backlog(1, "") }, "unknown"),
        ("open run", Candidate { open_run: Known::Known(true), ..backlog(1, "") }, "open_run"),
        ("open run of an orphan", Candidate { open_run: Known::Known(true), ..orphan(1) }, "open_run"),
        ("open run unknown", Candidate { open_run: Known::unknown("x"), ..backlog(1, "") }, "unknown"),
        ("issue unknown", Candidate { issue: Known::unknown("garbled"), ..backlog(1, "") }, "unknown"),
        (
            "another issue",
            {
                let mut c = backlog(1, "");
                edit(&mut c).number = IssueNumber(2);
                c
            },
            "unknown",
        ),
        ("pull request", Candidate { is_pull_request: true, ..backlog(1, "") }, "pull_request"),
        (
            "closed",
            {
                let mut c = backlog(1, "");
                edit(&mut c).state = OpenOrClosed::Closed;
                c
            },
            "closed",
        ),
        ("formula", candidate(1, &["backlog", "formula"], ""), "not_claimable_label"),
        ("prediction", candidate(1, &["backlog", "prediction/x"], ""), "not_claimable_label"),
        ("underspecified", candidate(1, &["backlog", "underspecified"], ""), "not_claimable_label"),
        ("waits for an open one", backlog(1, "depends on #90"), "dependency_open"),
        ("waits for a closed one", backlog(1, "depends on #91"), "selected"),
        ("waits for one of each", backlog(1, "depends on #91 and #90"), "dependency_open"),
        ("waits for nothing any more", backlog(1, "no longer depends on #90"), "selected"),
        ("waits for an unreadable one", backlog(1, "depends on #92"), "unknown"),
        ("waits for one that does not exist", backlog(1, "depends on #99"), "dependency_unknown"),
        ("waits for an open and a missing one", backlog(1, "depends on #90, #99"), "dependency_unknown"),
        ("waits for itself", backlog(1, "depends on #1"), "self_dependency"),
        ("waits for itself and an open one", backlog(1, "depends on #1, #90"), "self_dependency"),
        ("cycle through one outside the queue", backlog(1, "depends on #93"), "dependency_cycle"),
        ("other repository", backlog(1, "depends on a/b#90"), "selected"),
        ("waits in code", backlog(1, "`depends on #90`"), "selected"),
        ("number too long", backlog(1, "depends on #999999999999999999999999"), "dependency_unknown"),
    ];
    let wrong: Vec<_> = rows
        .into_iter()
        .filter_map(|(name, candidate, expected)| {
            let decided = decide(snapshot(vec![candidate]), &world());
            (decided != [(1, expected)]).then_some((name, decided, expected))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_starts_while_the_project_stands_still() {
    let rows: [(&str, Change, &str); 12] = [
        ("switched off", |s| s.switched_on = Known::Known(false), "switched_off"),
        ("switch unknown", |s| s.switched_on = Known::unknown("x"), "unknown"),
        ("usage limit", |s| s.usage_limit = Some(jiff::Timestamp::UNIX_EPOCH), "usage_limit"),
        ("memory low", |s| s.free_memory_mb = Known::Known(1_999), "memory_low"),
        ("memory just enough", |s| s.free_memory_mb = Known::Known(2_000), "selected"),
        ("memory unknown", |s| s.free_memory_mb = Known::unknown("x"), "unknown"),
        ("slots unknown", |s| s.slots_taken = Known::unknown("x"), "unknown"),
        ("no slot", |s| s.slots_taken = Known::Known(1), "no_free_slot"),
        ("over the limit", |s| s.slots_taken = Known::Known(3), "no_free_slot"),
        (
            "no slot, and a pull request waits",
            |s| {
                s.slots_taken = Known::Known(1);
                s.waiting_pull_requests = Known::Known(vec![PullRequestNumber(5)]);
            },
            "held_by_waiting_pull_request",
        ),
        (
            "a slot, though a pull request waits",
            |s| s.waiting_pull_requests = Known::Known(vec![PullRequestNumber(5)]),
            "selected",
        ),
        ("waiting ones unknown", |s| s.waiting_pull_requests = Known::unknown("x"), "unknown"),
    ];
    for (name, change, expected) in rows {
        for candidate in [backlog(1, ""), orphan(1)] {
            let mut snapshot = snapshot(vec![candidate]);
            change(&mut snapshot);
            assert_eq!(decide(snapshot, &world()), [(1, expected)], "{name}");
        }
    }
}

#[test]
fn orphans_come_before_priority_and_priority_before_the_backlog() {
    let mut old = backlog(5, "");
    edit(&mut old).created_at = Timestamp::from_second(0).unwrap();
    let queue = vec![backlog(2, ""), candidate(3, &["backlog", "priority"], ""), orphan(4), old, backlog(1, "")];
    let mut snapshot = snapshot(queue);
    snapshot.max_agents = 3;
    let expected = [(4, "selected"), (3, "selected"), (5, "selected"), (1, "not_reached"), (2, "not_reached")];
    assert_eq!(decide(snapshot, &world()), expected);
}

#[test]
fn what_cannot_start_leaves_its_place_to_the_next() {
    let broken = Candidate { issue: Known::unknown("garbled"), ..backlog(2, "") };
    let queue = vec![
        backlog(1, "depends on #90"),
        broken,
        backlog(3, "depends on #92"),
        backlog(4, "depends on #2"),
        backlog(5, "depends on #91"),
        backlog(6, ""),
    ];
    let expected =
        [(1, "dependency_open"), (3, "unknown"), (4, "unknown"), (5, "selected"), (6, "not_reached"), (2, "unknown")];
    assert_eq!(decide(snapshot(queue), &world()), expected);
}

#[test]
fn links_of_the_forge_hold_back_too() {
    let open = |repository, number| Known::Known(vec![link(repository, number, OpenOrClosed::Open)]);
    let world = World {
        links: BTreeMap::from([
            (IssueNumber(1), open("ACME/widget", 90)),
            (IssueNumber(2), open("other/place", 2)),
            (IssueNumber(3), Known::unknown("timed out")),
            (IssueNumber(4), open(HERE, 4)),
            (IssueNumber(5), Known::Known(vec![link(HERE, 91, OpenOrClosed::Closed)])),
        ]),
        ..world()
    };
    let (selection, ..) = settle(snapshot((1..=6).map(|number| backlog(number, "")).collect()), &world);
    let reasons: Vec<&Reason> = selection.decisions.iter().map(|decision| &decision.reason).collect();
    assert_eq!(
        reasons,
        [
            &Reason::DependencyOpen(vec!["#90".into()]),
            &Reason::DependencyOpen(vec!["other/place#2".into()]),
            &Reason::Unknown("timed out".into()),
            &Reason::SelfDependency,
            &Reason::Selected(Tier::Backlog),
            &Reason::NotReached,
        ]
    );
}

#[test]
fn a_cycle_is_named_from_each_of_its_issues() {
    let queue = vec![
        backlog(1, "depends on #2"),
        backlog(2, "## Blocked by\n- #3"),
        backlog(3, "depends on #1"),
        backlog(4, "depends on #1"),
    ];
    let (selection, ..) = settle(snapshot(queue), &world());
    let words: Vec<String> = selection.decisions.iter().map(|decision| decision.reason.words()).collect();
    assert_eq!(
        words,
        [
            "its dependencies form a cycle: #1 -> #2 -> #3 -> #1",
            "its dependencies form a cycle: #2 -> #3 -> #1 -> #2",
            "its dependencies form a cycle: #3 -> #1 -> #2 -> #3",
            "it waits for #1, still open",
        ]
    );
    let mut done = backlog(1, "depends on #2");
    edit(&mut done).state = OpenOrClosed::Closed;
    let decided = decide(snapshot(vec![done, backlog(2, "depends on #1")]), &world());
    assert_eq!(decided, [(2, "selected"), (1, "closed")]);
}

#[test]
fn only_those_who_may_start_cost_a_request() {
    let mut queue: Vec<Candidate> = (1..=50).map(|number| backlog(number, "depends on #91")).collect();
    queue.push(candidate(60, &["priority", "backlog"], "depends on #90"));
    let (.., fetched) = settle(snapshot(queue.clone()), &world());
    assert_eq!(fetched, 3, "the states of #90 and #91 and the links of #1");
    let mut full = snapshot(queue);
    full.slots_taken = Known::Known(1);
    assert_eq!(select(&full).asks, Asks::default());
}

#[test]
fn an_item_listed_twice_is_one_candidate_unless_it_differs() {
    let same = snapshot(vec![backlog(1, ""), backlog(1, ""), backlog(2, "")]);
    assert_eq!(decide(same, &world()), [(1, "selected"), (2, "not_reached")]);
    let different = snapshot(vec![backlog(1, ""), backlog(1, "depends on #90"), backlog(1, ""), backlog(2, "")]);
    assert_eq!(decide(different, &world()), [(2, "selected"), (1, "unknown")]);
}

/// A candidate with what its body says, so that the checks need not read the body.
#[derive(Debug, Clone)]
struct Planned {
    candidate: Candidate,
    waits_for: Vec<u64>,
}

fn seldom_unknown<T: std::fmt::Debug + Clone + 'static>(
    fact: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Known<T>> {
    prop_oneof![15 => fact.prop_map(Known::Known), 1 => Just(Known::unknown("lost"))].boxed()
}

fn open_or_closed() -> BoxedStrategy<OpenOrClosed> {
    prop_oneof![1 => Just(OpenOrClosed::Open), 4 => Just(OpenOrClosed::Closed)].boxed()
}

fn planned(number: u64) -> BoxedStrategy<Planned> {
    let labels = prop::sample::select(vec![
        vec!["backlog"],
        vec!["backlog"],
        vec!["backlog", "priority"],
        vec!["backlog", "PRIORITY"],
        vec!["priority"],
        vec!["in-progress"],
        vec!["backlog", "blocked"],
        vec!["backlog", "action"],
        vec![],
    ]);
    let claim = prop::sample::select(vec![Claim::Nobody, Claim::Nobody, Claim::ThisRoot, Claim::Other("x".into())]);
    let waits_for = prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(prop_oneof![1..9_u64, 90..96_u64], 1..3)];
    let closed = prop::bool::weighted(0.1);
    let facts = (seldom_unknown(claim), seldom_unknown(prop::bool::weighted(0.1)), prop::bool::weighted(0.05));
    (labels, waits_for, 0_i64..3, closed, prop::bool::weighted(0.05), facts)
        .prop_map(move |(labels, waits_for, second, closed, lost, (claim, open_run, is_pull_request))| {
            let list: String = waits_for.iter().map(|number| format!("- #{number}\n")).collect();
            let mut planned = candidate(number, &labels, &format!("Words.\n\n## Dependencies\n{list}"));
            let issue = edit(&mut planned);
            issue.created_at = Timestamp::from_second(second).expect("a small number");
            issue.state = if closed { OpenOrClosed::Closed } else { OpenOrClosed::Open };
            if lost {
                planned.issue = Known::unknown("lost");
            }
            Planned { candidate: Candidate { claim, open_run, is_pull_request, ..planned }, waits_for }
        })
        .boxed()
}

fn any_world() -> BoxedStrategy<World> {
    let fact = prop_oneof![
        1 => Just(IssueFact::Open { depends_on: vec![IssueNumber(1)] }),
        5 => Just(IssueFact::Closed),
        1 => Just(IssueFact::Missing),
    ];
    let issues = prop::collection::vec(seldom_unknown(fact), 6);
    let a_link = (prop_oneof![Just(HERE), Just("other/place")], 1..9_u64, open_or_closed());
    let some_links = prop::collection::vec(a_link.prop_map(|(place, number, state)| link(place, number, state)), 0..2);
    let links = prop::collection::vec(seldom_unknown(some_links), 8);
    (issues, links)
        .prop_map(|(issues, links)| World {
            issues: (90..).map(IssueNumber).zip(issues).collect(),
            links: (1..).map(IssueNumber).zip(links).collect(),
        })
        .boxed()
}

prop_compose! {
    fn any_case()(
        plan in (1..9_u64).map(planned).collect::<Vec<_>>(),
        present in prop::collection::vec(prop::bool::weighted(0.8), 8),
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
        world in any_world(),
        switched_on in prop_oneof![20 => Just(Known::Known(true)), 1 => Just(Known::Known(false)), 1 => Just(Known::unknown("x"))],
        memory in prop_oneof![20 => Just(Known::Known(4_000)), 1 => Just(Known::Known(10)), 1 => Just(Known::unknown("x"))],
        taken in prop_oneof![20 => (0..4_u32).prop_map(Known::Known), 1 => Just(Known::unknown("x"))],
        waiting in prop_oneof![20 => Just(Known::Known(vec![])), 5 => Just(Known::Known(vec![PullRequestNumber(3)])), 1 => Just(Known::unknown("x"))],
        max_agents in 0..5_u32,
    ) -> (Vec<Planned>, QueueSnapshot, Vec<usize>, World) {
        let plan: Vec<Planned> = plan.into_iter().zip(present).filter(|(_, present)| *present).map(|(p, _)| p).collect();
        let mut snapshot = snapshot(plan.iter().map(|planned| planned.candidate.clone()).collect());
        snapshot.switched_on = switched_on;
        snapshot.free_memory_mb = memory;
        snapshot.slots_taken = taken;
        snapshot.waiting_pull_requests = waiting;
        snapshot.max_agents = max_agents;
        (plan, snapshot, order, world)
    }
}

/// Whether a candidate may start as far as it alone is concerned, and its place, by the plan and the whole world.
fn may_start(planned: &Planned, plan: &[Planned], world: &World) -> Option<(u8, Timestamp, u64)> {
    let candidate = &planned.candidate;
    let issue = candidate.issue.known()?;
    let claim = candidate.claim.known()?;
    let has = |label: &str| issue.has_label(label);
    let free = !candidate.is_pull_request
        && issue.state == OpenOrClosed::Open
        && candidate.open_run == Known::Known(false)
        && !has("blocked")
        && !has("action")
        && match claim {
            Claim::ThisRoot => true,
            Claim::Nobody => !has("in-progress"),
            Claim::Other(_) => false,
        };
    let tier = match (has("in-progress"), has("backlog"), has("priority")) {
        (true, ..) => 0,
        (_, true, true) => 1,
        (_, true, false) => 2,
        (_, false, _) => return None,
    };
    let closed = |number: u64| {
        if let Some(other) = plan.iter().find(|other| other.candidate.number.0 == number) {
            return other.candidate.issue.known().is_some_and(|issue| issue.state == OpenOrClosed::Closed);
        }
        world.issues.get(&IssueNumber(number)) == Some(&Known::Known(IssueFact::Closed))
    };
    let links = world.links.get(&candidate.number)?.known()?;
    let nothing_open = planned.waits_for.iter().all(|number| *number != candidate.number.0 && closed(*number))
        && links.iter().all(|link| {
            link.state == OpenOrClosed::Closed && !(link.number == candidate.number && link.repository == HERE)
        });
    (free && nothing_open).then_some((tier, issue.created_at, candidate.number.0))
}

/// What must be selected, worked out the slow and plain way.
fn expected(plan: &[Planned], snapshot: &QueueSnapshot, world: &World) -> Vec<u64> {
    let (Some(true), Some(memory), Some(taken), Some(_)) = (
        snapshot.switched_on.known(),
        snapshot.free_memory_mb.known(),
        snapshot.slots_taken.known(),
        snapshot.waiting_pull_requests.known(),
    ) else {
        return vec![];
    };
    let slots = if *memory < 2_000 { 0 } else { snapshot.max_agents.saturating_sub(*taken) };
    let mut ready: Vec<_> = plan.iter().filter_map(|planned| may_start(planned, plan, world)).collect();
    ready.sort();
    ready.into_iter().take(slots as usize).map(|(_, _, number)| number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_first_of_those_who_may_start_are_selected((plan, snapshot, _, world) in any_case()) {
        let (selection, ..) = settle(snapshot.clone(), &world);
        let selected: Vec<u64> = selection.selected().map(|number| number.0).collect();
        prop_assert_eq!(&selected, &expected(&plan, &snapshot, &world));
        let decided: BTreeSet<u64> = selection.decisions.iter().map(|decision| decision.issue.0).collect();
        let candidates: BTreeSet<u64> = plan.iter().map(|planned| planned.candidate.number.0).collect();
        prop_assert_eq!(selection.decisions.len(), candidates.len());
        prop_assert_eq!(decided, candidates);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter((_, snapshot, order, world) in any_case()) {
        let mut shuffled = snapshot.clone();
        shuffled.candidates = order.iter().filter_map(|at| snapshot.candidates.get(*at)).cloned().collect();
        prop_assert_eq!(select(&snapshot), select(&shuffled));
        prop_assert_eq!(settle(snapshot, &world).0, settle(shuffled, &world).0);
    }

    #[test]
    fn the_size_of_pages_and_repeated_entries_do_not_matter(
        (_, snapshot, order, world) in any_case(), size in 1..9_usize, again in 0..9_usize,
    ) {
        // A list that moves while it is read, in pages of any size: each page begins with the end of the one before.
        let all: Vec<Candidate> = order.iter().filter_map(|at| snapshot.candidates.get(*at)).cloned().collect();
        let mut paged = snapshot.clone();
        paged.candidates = all.chunks(size).enumerate().flat_map(|(page, entries)| {
            let begins = page * size;
            all[begins.saturating_sub(again % (begins + 1))..begins + entries.len()].to_vec()
        }).collect();
        prop_assert!(paged.candidates.len() >= snapshot.candidates.len());
        prop_assert_eq!(settle(snapshot, &world).0, settle(paged, &world).0);
    }

    #[test]
    fn nobody_is_passed_over_for_one_that_comes_later((plan, snapshot, _, world) in any_case()) {
        let (selection, settled, _) = settle(snapshot, &world);
        let mut places: Vec<_> = plan.iter().filter_map(|planned| may_start(planned, &plan, &world)).collect();
        places.sort();
        let selected: BTreeSet<u64> = selection.selected().map(|number| number.0).collect();
        let first_left = places.iter().position(|(.., number)| !selected.contains(number)).unwrap_or(places.len());
        prop_assert!(places[first_left..].iter().all(|(.., number)| !selected.contains(number)));
        prop_assert_eq!(selected.len(), first_left, "somebody was selected who may not start");
        prop_assert_eq!(select(&settled), selection);
    }

    #[test]
    fn an_unknown_fact_selects_nobody_that_it_is_about((_, snapshot, _, world) in any_case(), which in 0..7_usize) {
        let (before, ..) = settle(snapshot.clone(), &world);
        let Some(victim) = before.selected().next() else { return Ok(()) };
        let mut snapshot = snapshot;
        let mut world = world;
        let at = snapshot.candidates.iter().position(|candidate| candidate.number == victim).unwrap();
        match which {
            0 => snapshot.candidates[at].issue = Known::unknown("x"),
            1 => snapshot.candidates[at].claim = Known::unknown("x"),
            2 => snapshot.candidates[at].open_run = Known::unknown("x"),
            3 => { world.links.insert(victim, Known::unknown("x")); }
            4 => snapshot.slots_taken = Known::unknown("x"),
            5 => snapshot.free_memory_mb = Known::unknown("x"),
            _ => snapshot.switched_on = Known::unknown("x"),
        }
        let (after, ..) = settle(snapshot, &world);
        prop_assert!(after.selected().all(|number| number != victim));
        prop_assert!(which < 4 || after.selected().next().is_none());
    }

    #[test]
    fn any_text_has_dependencies_always_the_same(body in "\\PC*", own in any::<u64>()) {
        let written = written_dependencies(&body, IssueNumber(own));
        prop_assert_eq!(&written, &written_dependencies(&body, IssueNumber(own)));
        prop_assert!(written.numbers.is_sorted() && !written.numbers.contains(&IssueNumber(own)));
    }

    #[test]
    fn any_mix_of_marks_is_read(parts in prop::collection::vec(prop::sample::select(MARKS), 0..40)) {
        let written = written_dependencies(&parts.concat(), IssueNumber(7));
        let mut once = written.numbers.clone();
        once.dedup();
        prop_assert_eq!(once, written.numbers);
    }

    #[test]
    fn the_order_of_a_list_does_not_matter(
        title in prop::sample::select(vec!["## Dependencies", "**Depends on:**", "Blocked by:", "### blocked by"]),
        items in prop::collection::btree_set(1..500_u64, 1..12).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle(),
        mark in prop::sample::select(vec!["- ", "* ", "1. ", "- [ ] ", "- [x] ", "- the thing ", ""]),
    ) {
        let list: String = items.iter().map(|number| format!("{mark}#{number}\n")).collect();
        let written = written_dependencies(&format!("Text.\n\n{title}\n{list}\n\n## Notes\n- #999\n"), IssueNumber(1_000));
        let mut expected: Vec<IssueNumber> = items.into_iter().map(IssueNumber).collect();
        expected.sort();
        prop_assert_eq!(written.numbers, expected);
    }
}

proptest! {
    // Each case reads hundreds of texts.
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_of_waiting_issues_is_decided_in_few_rounds(count in 1..600_u64, open in any::<bool>()) {
        let queue = (1..=count).map(|number| backlog(number, &format!("depends on #{}", 10_000 + number))).collect();
        let mut snapshot = snapshot(queue);
        let mut rounds = 0;
        let selection = loop {
            let selection = select(&snapshot);
            if selection.asks.is_empty() {
                break selection;
            }
            rounds += 1;
            for number in selection.asks.issues {
                let fact = if open { IssueFact::Open { depends_on: vec![] } } else { IssueFact::Closed };
                prop_assert!(snapshot.issues.insert(number, Known::Known(fact)).is_none());
            }
            snapshot.links.extend(selection.asks.links.into_iter().map(|number| (number, Known::Known(vec![]))));
        };
        prop_assert!(rounds <= 7, "{rounds}");
        prop_assert_eq!(selection.decisions.len() as u64, count);
        prop_assert_eq!(selection.selected().count(), usize::from(!open));
    }
}

/// Pieces whose combinations reach the corners of the grammar.
const MARKS: &[&str] = &[
    "\n",
    "\n\n",
    " ",
    "#4",
    "#7",
    "#123abc",
    "a/b#16",
    "## ",
    "Dependencies",
    "depends on ",
    "Blocked by",
    ":",
    "**",
    "_",
    "- ",
    "> ",
    "`",
    "``",
    "```\n",
    "~~~\n",
    "~~",
    "<!--",
    "-->",
    "<del>",
    "</del>",
    ", ",
    " and ",
    "no longer ",
    "not related to ",
    "Related",
    "(",
    ")",
    "[",
    "](x)",
    "\\",
    ".",
    "---\n",
    "é",
    "\u{fffc}",
    "1. ",
    "[x] ",
    "|",
    "\r",
];

#[test]
fn a_long_hostile_text_is_read_in_good_time() {
    let started = std::time::Instant::now();
    for piece in
        ["`", "` `` ``` ", "~~ ", "<del>", "<!--", "depends on ", "depends on #1, ", "[", "- ", "#", "**", "> ", "-#1"]
    {
        let body = piece.repeat(100_000 / piece.len());
        written_dependencies(&body, IssueNumber(7));
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
}
