//! Comments that are written once: each carries a hidden marker, and is looked for before it is posted.

use super::World;
use crate::{domain::issue::Comment, ports::forge::ForgeResult};

/// Returns the hidden marker of a key.
pub fn marker(key: &str) -> String {
    format!("<!-- rig:{key} -->")
}

/// Returns rig's own comments on an issue that carry the marker, oldest first. Others may quote a marker; only what the
/// bot wrote counts.
pub fn marked<'a>(world: &World, comments: &'a [Comment], key: &str) -> Vec<&'a Comment> {
    let marker = marker(key);
    let mut found: Vec<_> = comments
        .iter()
        .filter(|comment| comment.author.is(&world.project.forge.bot) && comment.body.contains(&marker))
        .collect();
    found.sort_by_key(|comment| comment.id);
    found
}

/// Writes a comment unless it is there; of two with one marker the younger goes. Secrets are taken out.
pub async fn post_once(world: &World, number: u64, key: &str, body: &str) -> ForgeResult<()> {
    let comments = world.forge.comments(number).await?;
    let found = marked(world, &comments, key);
    for younger in found.iter().skip(1) {
        world.forge.delete_comment(younger.id).await?;
    }
    if found.is_empty() {
        let text = format!("{}\n{}", world.redactor.redact(body.trim_end()), marker(key));
        world.forge.post_comment(number, &text).await?;
    }
    Ok(())
}
