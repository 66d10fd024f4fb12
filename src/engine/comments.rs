//! Comments that are written once: each carries a hidden marker, and is looked for before it is posted.

use super::World;
use crate::{
    domain::{issue::Comment, marker},
    ports::forge::ForgeResult,
};

/// Returns the key of a comment of rig's own. Others may write a marker; only what the bot wrote counts.
pub fn key_of<'a>(world: &World, comment: &'a Comment) -> Option<&'a str> {
    marker::key_of(&comment.body).filter(|_| comment.author.is(&world.project.forge.bot))
}

/// Returns rig's own comments on an issue that carry the marker of a key, oldest first.
pub fn marked<'a>(world: &World, comments: &'a [Comment], key: &str) -> Vec<&'a Comment> {
    let mut found: Vec<_> = comments.iter().filter(|comment| key_of(world, comment) == Some(key)).collect();
    found.sort_by_key(|comment| comment.id);
    found
}

/// Writes a comment with the marker of a key. Secrets are taken out, and markers that the text brings along.
pub async fn post(world: &World, number: u64, key: &str, body: &str) -> ForgeResult<()> {
    let text = marker::marked(&world.redactor.redact(body), key);
    world.forge.post_comment(number, &text).await.map(drop)
}

/// Writes a comment unless it is there; of two with one marker the younger goes.
pub async fn post_once(world: &World, number: u64, key: &str, body: &str) -> ForgeResult<()> {
    let comments = world.forge.comments(number).await?;
    let found = marked(world, &comments, key);
    for younger in found.iter().skip(1) {
        world.forge.delete_comment(younger.id).await?;
    }
    if found.is_empty() {
        post(world, number, key, body).await?;
    }
    Ok(())
}
