//! `rig why`: in words, what ticks decided about an issue or pull request, or what a project waits for. Reads the store, the
//! switch and the project files; asks neither the forge nor for a token.

mod number;
mod project;
mod standstill;

use super::{CommandResult, Context, last_tick::LastTick, load_failure, runtime, wire};
use crate::{
    cli::WhyArgs,
    config::{self, LoadError, Root},
    domain::ids::ProjectName,
    output::{Exit, Failure},
    ports::store::Store,
};
use jiff::Timestamp;
use serde_json::json;
use standstill::Standstill;
use std::sync::Arc;

/// One project, and what is the same for every answer about it.
struct Place<'a> {
    root: &'a Root,
    store: Option<Arc<dyn Store>>,
    name: ProjectName,
    now: Timestamp,
    tick: Option<LastTick>,
    /// What keeps the project as a whole from going on.
    standstills: Vec<Standstill>,
    settings: Option<config::settings::Project>,
}

pub fn run(context: &Context, args: WhyArgs) -> CommandResult {
    let root = context.root()?;
    let names = names(&root, args.project.as_ref())?;
    let printer = context.printer;
    runtime()?.block_on(async {
        let store = wire::existing_store(&root).await?;
        let places = Place::all(&root, &names, store.as_ref())?;
        let Some(asked) = args.number else {
            for place in &places {
                let answer = project::answer(place).await?;
                printer.json(&json!(answer));
                answer.print(&printer, place.now);
            }
            return Ok(Exit::Ok);
        };
        for (answer, now) in answers(&places, asked.0).await? {
            printer.json(&json!(answer));
            for line in answer.lines(now) {
                printer.line(line);
            }
        }
        Ok(Exit::Ok)
    })
}

/// Returns what is known of a number in these projects, in words.
#[cfg(feature = "matrix")]
pub(super) async fn in_words(
    root: &Root,
    store: &Arc<dyn Store>,
    names: &[ProjectName],
    number: u64,
) -> Result<Vec<String>, Failure> {
    let places = Place::all(root, names, Some(store))?;
    let answers = answers(&places, number).await?;
    Ok(answers.into_iter().flat_map(|(answer, now)| answer.lines(now)).collect())
}

/// The projects that know the number answer; when none does, all of them say why not.
async fn answers(places: &[Place<'_>], number: u64) -> Result<Vec<(number::Answer, Timestamp)>, Failure> {
    let mut answers = Vec::new();
    for place in places {
        answers.push((number::answer(place, number).await?, place.now));
    }
    if answers.iter().any(|(answer, _)| answer.is_known()) {
        answers.retain(|(answer, _)| answer.is_known());
    }
    Ok(answers)
}

fn names(root: &Root, wanted: Option<&ProjectName>) -> Result<Vec<ProjectName>, Failure> {
    if wanted.is_some() {
        return config::one_name(root, wanted).map(|name| vec![name]).map_err(load_failure);
    }
    let names = config::names(root);
    if names.is_empty() { Err(load_failure(LoadError::None(root.projects_dir()))) } else { Ok(names) }
}

impl<'a> Place<'a> {
    fn all(root: &'a Root, names: &[ProjectName], store: Option<&Arc<dyn Store>>) -> Result<Vec<Self>, Failure> {
        let (now, on) = (Timestamp::now(), super::switch::is_on(root)?);
        let mut loaded = config::load(root, names);
        let place = |name: &ProjectName| {
            let at = loaded.projects.iter().position(|project| project.name == *name);
            let settings = at.map(|at| loaded.projects.swap_remove(at));
            let tick = super::last_tick::read(root, name);
            let standstills = standstill::of(name, on, settings.as_ref(), &loaded.problems, tick.as_ref(), now);
            Place { root, store: store.cloned(), name: name.clone(), now, tick, standstills, settings }
        };
        Ok(names.iter().map(place).collect())
    }

    fn failed(error: crate::ports::store::StoreError) -> Failure {
        wire::store_failure(&error)
    }
}
