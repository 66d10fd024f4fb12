//! Brings the branch of a run up to date, and says as an event what became of it.

use super::World;
use crate::{
    domain::{
        ids::Sha,
        run::{Event, RebaseRefusal, Run, WhenBehind},
    },
    ports::workspace::{BroughtUp, WorkspaceResult},
};

pub(super) async fn bring_up_to_date(world: &World, run: &Run, head: &Sha, how: WhenBehind) -> WorkspaceResult<Event> {
    let failed = |why: RebaseRefusal| Event::RebaseFailed { head: head.clone(), why };
    let Some(branch) = &run.branch else {
        return Ok(failed(RebaseRefusal::Refused { message: "the run has no branch".into() }));
    };
    Ok(match world.workspace.bring_up_to_date(run.issue, branch, head, how).await? {
        BroughtUp::To(new) => Event::Rebased { old: head.clone(), new },
        BroughtUp::Elsewhere(Some(tip)) => Event::HeadMoved { head: tip },
        BroughtUp::Elsewhere(None) => {
            failed(RebaseRefusal::Refused { message: format!("the forge has no branch {branch} any more") })
        }
        BroughtUp::UpToDate => failed(RebaseRefusal::UpToDate),
        BroughtUp::Conflict(message) => failed(RebaseRefusal::Conflict { message }),
        BroughtUp::NotClean(message) => failed(RebaseRefusal::NotClean { message }),
        BroughtUp::Refused(message) => failed(RebaseRefusal::Refused { message }),
    })
}
