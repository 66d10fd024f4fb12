//! When what people were asked for is no longer asked.

use super::{Run, Stage};
use jiff::Timestamp;

/// Returns since when people were asked for something that this step has settled, whoever answered and however: what still
/// waits to be sent of it needs nobody any more. `None` while anything is asked, since an ask too many is better than one too few.
pub fn settled_since(before: &Run, after: &Run) -> Option<Timestamp> {
    let asks = |run: &Run| matches!(run.stage, Stage::Escalated { .. });
    // What rig's own gate asks for is settled by a word of its own.
    let gate_asks = !after.stage.is_over()
        && after.person_wanted.as_ref().is_some_and(|wanted| after.head.as_ref() == Some(&wanted.head));
    (asks(before) && !asks(after) && !gate_asks).then_some(before.since)
}
