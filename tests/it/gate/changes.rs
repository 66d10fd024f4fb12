//! What the gate makes of the files that a pull request changes: owners, foundations, and what needs no CI.

use super::*;
use rig::domain::gate::{Acceptance, CodeOwners, ci_files, findings};

/// Owners are required, as a CODEOWNERS in GitHub's place says them.
pub(super) fn owned(s: &mut GateSnapshot, code_owners: &str, files: &[&str]) {
    s.policy.require_code_owners = true;
    let code_owners = Some(CodeOwners::parse(".github/CODEOWNERS", code_owners));
    s.changes = Known::Known(Changes { code_owners, ..changing(files) });
}

#[test]
fn every_file_that_the_command_of_ci_names_is_found() {
    for (command, files) in [
        ("scripts/test", &["scripts/test"][..]),
        ("./run.sh --all", &["run.sh"]),
        ("CI=1 bash .ci/run", &[".ci/run"]),
        ("timeout 600 ./ci.sh", &["ci.sh"]),
        ("timeout -k 5 10m bash -e scripts/ci.sh", &["scripts/ci.sh"]),
        ("bash -e scripts/ci.sh", &["scripts/ci.sh"]),
        ("bash run", &["run"]),
        ("env -i PATH=/bin sh -eu run", &["run"]),
        ("cd app && ./ci.sh", &["app/ci.sh", "ci.sh"]),
        ("cd app; cd ../web && sh ./ci.sh", &["app/ci.sh", "ci.sh", "web/ci.sh"]),
        ("(cd app/x && ../ci.sh)", &["app/ci.sh"]),
        ("set -e; ./ci.sh", &["ci.sh"]),
        ("set -euo pipefail\nmake lint\n./ci.sh | tee log", &["ci.sh"]),
        ("bash -c 'cd app && ./ci.sh'", &["app/ci.sh", "ci.sh"]),
        ("sh -c \"sh -c './a.sh; ./b.sh'\"", &["a.sh", "b.sh"]),
        ("\"$PWD/ci.sh\" && \"$(git rev-parse --show-toplevel)\"/b.sh", &["b.sh", "ci.sh"]),
        ("if [ -f a.txt ]; then ./a.sh; else . ./b.sh; fi", &["a.sh", "b.sh"]),
        ("f() { ./a.sh; }; f", &["a.sh"]),
        ("python3 ci/run.py < ci/in.txt --config=ci/x.toml", &["ci/in.txt", "ci/run.py", "ci/x.toml"]),
        ("x=$(cat ci/list); echo `ci/b`", &["ci/b", "ci/list"]),
        ("docker compose -f ci/compose.yml run test", &["ci/compose.yml"]),
        ("bash 'a b.sh'", &["b.sh"]),
        ("if ./broken.sh; then", &["broken.sh"]),
        ("cargo test", &[]),
        ("cargo test --workspace --all-features && npm test", &[]),
        ("make", &[]),
        ("/usr/bin/make && ../up && cd .. && ./x", &["x"]),
        ("prettier --check 'https://example.org/x.js' src/*.ts $FILES", &[]),
        ("", &[]),
    ] {
        let found: Vec<String> = ci_files(command, rig::adapters::shell_parse::parse).into_iter().collect();
        assert_eq!(found, files, "{command}");
    }
}

fn changed(s: &mut GateSnapshot, files: &[&str]) {
    s.changes = Known::Known(changing(files));
}

fn docs_only(s: &mut GateSnapshot, files: &[&str]) {
    s.policy.docs_only_paths = vec!["docs/**".into(), "*.md".into()];
    s.ci = ci(CiVerdict::Pending { missing: vec![] });
    changed(s, files);
}

/// Only a machine has approved.
fn by_machine(s: &mut GateSnapshot, files: &[&str]) {
    s.policy.reviewers.push(login("review-bot"));
    reviews(s, &[approval(1, "review-bot")]);
    changed(s, files);
}

fn accepted(head: char) -> Acceptance {
    Acceptance { who: "@ann:example.org".into(), head: sha(head) }
}

#[test]
fn owners_of_what_is_changed_must_have_approved_the_head() {
    check(&[
        ("owner approved", |s| owned(s, "* @ann", &["a.rs"]), &[]),
        ("owner in other case", |s| owned(s, "* @ANN", &["a.rs"]), &[]),
        ("one of two owners", |s| owned(s, "* @cid @ann", &["a.rs"]), &[]),
        ("another owner", |s| owned(s, "* @cid", &["a.rs"]), &["code_owners_missing"]),
        ("last line wins", |s| owned(s, "* @ann\n*.rs @cid", &["a.rs"]), &["code_owners_missing"]),
        ("last line frees", |s| owned(s, "* @cid\n*.rs", &["a.rs"]), &[]),
        ("one file of many", |s| owned(s, "/secret/ @cid", &["a.rs", "secret/b"]), &["code_owners_missing"]),
        (
            "owners by both syntaxes, one of them missing",
            |s| {
                owned(s, "", &["src/a.rs"]);
                let code_owners = Some(CodeOwners::parse("CODEOWNERS", "*.rs @cid\nsrc/.* @ann"));
                s.changes = Known::Known(Changes { code_owners, ..changing(&["src/a.rs"]) });
            },
            &["code_owners_missing"],
        ),
        ("root files only", |s| owned(s, "* @ann\n/* @cid", &["src/a.rs"]), &[]),
        ("no file owned", |s| owned(s, "/secret/ @cid", &["a.rs"]), &[]),
        ("a team approves nothing", |s| owned(s, "* @org/team", &["a.rs"]), &["code_owners_missing"]),
        ("a team beside an owner", |s| owned(s, "* @org/team @ann", &["a.rs"]), &[]),
        ("an address approves nothing", |s| owned(s, "* a@example.org", &["a.rs"]), &["code_owners_missing"]),
        ("the author owns it", |s| owned(s, "* @dev-bot", &["a.rs"]), &["code_owners_missing"]),
        (
            "rig itself owns it, and somebody else is the author",
            |s| {
                of_a_chore(s, |s| reviews(s, &[approval(1, "ann"), approval(2, "dev-bot")]));
                owned(s, "* @dev-bot", &["a.rs"]);
            },
            &["code_owners_missing"],
        ),
        ("damaged file", |s| owned(s, "* @ann\n[x] @ann", &["a.rs"]), &["code_owners_unreadable"]),
        (
            "an owner who is no reviewer",
            |s| {
                owned(s, "* @cid", &["a.rs"]);
                reviews(s, &[approval(1, "ann"), unofficial(approval(2, "cid"))]);
            },
            &[],
        ),
        (
            "the owner approved an earlier head",
            |s| {
                owned(s, "* @cid", &["a.rs"]);
                reviews(s, &[approval(1, "ann"), earlier_head(approval(2, "cid"))]);
            },
            &["code_owners_missing"],
        ),
        (
            "the owner took it back",
            |s| {
                owned(s, "* @bea", &["a.rs"]);
                reviews(s, &[approval(1, "ann"), approval(2, "bea"), dismissed(approval(3, "bea"))]);
            },
            &["code_owners_missing"],
        ),
        (
            "no CODEOWNERS",
            |s| {
                s.policy.require_code_owners = true;
                changed(s, &["a.rs"]);
            },
            &[],
        ),
        (
            "not asked for",
            |s| {
                owned(s, "* @cid", &["a.rs"]);
                s.policy.require_code_owners = false;
            },
            &[],
        ),
        (
            "changes unknown",
            |s| {
                s.policy.require_code_owners = true;
                s.changes = Known::unknown("git fetch timed out");
            },
            &["changes_unknown", "changes_unknown"],
        ),
    ]);
}

#[test]
fn what_the_gate_rests_on_changes_only_with_a_persons_approval() {
    check(&[
        ("a person approved", |s| changed(s, &[".github/workflows/ci.yml"]), &[]),
        ("a machine approved an ordinary file", |s| by_machine(s, &["src/a.rs"]), &[]),
        ("a machine approved CI", |s| by_machine(s, &[".woodpecker.yml"]), &["person_missing"]),
        ("a machine approved a linter", |s| by_machine(s, &["a.rs", "web/.eslintrc.json"]), &["person_missing"]),
        ("a machine approved owners", |s| by_machine(s, &["CODEOWNERS"]), &["person_missing"]),
        (
            "a machine approved a protected path",
            |s| {
                s.policy.protected_paths = vec!["infra/**".into()];
                by_machine(s, &["infra/main.tf"]);
            },
            &["person_missing"],
        ),
        (
            "a machine approved what CI runs",
            |s| {
                s.policy.ci_files = ["app/ci.sh".to_owned()].into();
                by_machine(s, &["app/ci.sh", "ci.sh"]);
            },
            &["person_missing"],
        ),
        ("a machine approved a link in a folder's place", |s| by_machine(s, &[".claude"]), &["person_missing"]),
        (
            "a machine approved a submodule at a protected path",
            |s| {
                s.policy.protected_paths = vec!["infra/**".into()];
                by_machine(s, &["infra"]);
            },
            &["person_missing"],
        ),
        (
            "a machine approved a link to what CI runs",
            |s| {
                s.policy.ci_files = ["ci/run.sh".to_owned()].into();
                by_machine(s, &["ci"]);
            },
            &["person_missing"],
        ),
        (
            "nobody needs to approve, but a person must",
            |s| {
                s.policy.required_approvals = 0;
                reviews(s, &[]);
                changed(s, &["clippy.toml"]);
            },
            &["person_missing"],
        ),
        (
            "a person told rig so",
            |s| {
                by_machine(s, &["clippy.toml"]);
                s.accepted = vec![accepted(OLD), accepted(HEAD)];
            },
            &[],
        ),
        (
            "a person told rig so of an earlier head",
            |s| {
                by_machine(s, &["clippy.toml"]);
                s.accepted = vec![accepted(OLD)];
            },
            &["person_missing"],
        ),
        (
            "a word to rig is no review",
            |s| {
                reviews(s, &[]);
                changed(s, &["clippy.toml"]);
                s.accepted = vec![accepted(HEAD)];
            },
            &["approvals_missing"],
        ),
        (
            "a person who may not approve is no help",
            |s| {
                by_machine(s, &["clippy.toml"]);
                reviews(s, &[approval(1, "review-bot"), approval(2, "eve")]);
            },
            &["person_missing"],
        ),
        ("unknown", |s| s.changes = Known::unknown("gone"), &["changes_unknown"]),
    ]);
}

#[test]
fn a_change_that_lies_wholly_within_the_documents_needs_no_ci() {
    check(&[
        ("documents", |s| docs_only(s, &["docs/a/b.txt", "README.md"]), &[]),
        ("documents and more", |s| docs_only(s, &["docs/a.md", "src/a.rs"]), &["ci_pending"]),
        ("a document elsewhere", |s| docs_only(s, &["src/a.md"]), &["ci_pending"]),
        ("no file at all", |s| docs_only(s, &[]), &["ci_pending"]),
        (
            "documents, and CI red",
            |s| {
                docs_only(s, &["README.md"]);
                s.ci = ci(CiVerdict::Red { steps: vec![] });
            },
            &[],
        ),
        (
            "no paths configured",
            |s| {
                docs_only(s, &["README.md"]);
                s.policy.docs_only_paths.clear();
            },
            &["ci_pending"],
        ),
        (
            "files unknown",
            |s| {
                docs_only(s, &[]);
                s.changes = Known::unknown("gone");
            },
            &["ci_pending", "changes_unknown"],
        ),
    ]);
}

#[test]
fn findings_say_what_was_seen_and_what_is_missing_for_every_condition() {
    let mut snapshot = ready();
    owned(&mut snapshot, "* @cid", &["src/main.rs"]);
    let found = findings(&snapshot);
    assert_eq!(found.len(), CONDITIONS.len());
    let of = |name| &found.iter().find(|finding| finding.condition == name).expect("every condition is there").outcome;
    assert_eq!(of("ci").as_ref(), Ok(&"CI passed at aaaaaaaaaa".to_owned()));
    assert_eq!(of("approvals").as_ref(), Ok(&"1 of 1 required approvals at its head (by ann)".to_owned()));
    let missing = of("code_owners").as_ref().expect_err("cid has not approved");
    assert_eq!(missing.words(), "none of cid has approved its head, who own src/main.rs");
}
