//! The lines of a transcript that matter here: prompts, and the model's answers with what they used.

use crate::domain::usage::Tokens;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
};

/// Longest line that is read: an answer or a tool's result with pictures in it. Longer ones are passed over.
pub(super) const LINE_BYTES: u64 = 16 * 1024 * 1024;
/// Longest name of a model, a tier or a message that is kept, in characters.
const NAME_CHARS: usize = 100;

/// What a line tells.
pub(super) enum Line {
    /// A person, or rig, said something; results of tools are none of it.
    Prompt,
    Answer(Answer),
}

/// One line of an answer of the model; an answer has one for each of its parts, all with the same id.
pub(super) struct Answer {
    /// `None` when the line names none.
    pub(super) id: Option<String>,
    pub(super) model: String,
    pub(super) service_tier: String,
    pub(super) at: Timestamp,
    pub(super) tokens: Tokens,
    pub(super) subagent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLine {
    r#type: String,
    #[serde(default)]
    is_sidechain: bool,
    #[serde(default)]
    is_meta: bool,
    timestamp: Option<Timestamp>,
    message: Option<RawMessage>,
}

#[derive(Deserialize)]
struct RawMessage {
    id: Option<String>,
    model: Option<String>,
    #[serde(default)]
    content: Value,
    usage: Option<RawUsage>,
}

#[derive(Deserialize)]
struct RawUsage {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<RawCreation>,
    service_tier: Option<String>,
}

#[derive(Deserialize)]
struct RawCreation {
    #[serde(default)]
    ephemeral_5m_input_tokens: u64,
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
}

/// Reads one line; `None` for what is none of it, garbage included.
pub(super) fn read(text: &[u8]) -> Option<Line> {
    let line: RawLine = serde_json::from_slice(text).ok()?;
    let message = line.message?;
    match line.r#type.as_str() {
        "user" if !line.is_sidechain && !line.is_meta && !is_tool_result(&message.content) => Some(Line::Prompt),
        "assistant" => {
            let usage = message.usage?;
            // The program's own words, such as those about an error, come from no model: `<synthetic>`.
            let model = message.model.filter(|model| !model.starts_with('<'))?;
            Some(Line::Answer(Answer {
                id: message.id.map(short),
                model: short(model),
                service_tier: usage.service_tier.as_ref().map(|tier| short(tier.clone())).unwrap_or_default(),
                at: line.timestamp?,
                tokens: tokens(&usage),
                subagent: line.is_sidechain,
            }))
        }
        _ => None,
    }
}

fn is_tool_result(content: &Value) -> bool {
    content.as_array().is_some_and(|parts| parts.iter().any(|part| part["type"] == "tool_result"))
}

fn tokens(usage: &RawUsage) -> Tokens {
    let (five_minutes, one_hour) = usage
        .cache_creation
        .as_ref()
        .map_or((0, 0), |split| (split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens));
    Tokens {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cache_creation: usage.cache_creation_input_tokens.unwrap_or(five_minutes.saturating_add(one_hour)),
        cache_creation_5m: five_minutes,
        cache_creation_1h: one_hour,
        cache_read: usage.cache_read_input_tokens.unwrap_or(0),
    }
}

fn short(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

/// Gives each whole line behind `from` to `take`, with its offset. Returns the offset behind the last of them.
pub(super) fn whole_lines(mut file: File, from: u64, mut take: impl FnMut(u64, &[u8])) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut next, mut line) = (from, Vec::new());
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line)? as u64;
        if line.ends_with(b"\n") {
            take(next, &line);
            next += read;
            continue;
        }
        if read < LINE_BYTES {
            return Ok(next);
        }
        match rest_of_line(&mut reader)? {
            Some(rest) => next += read + rest,
            None => return Ok(next),
        }
    }
}

/// Passes over the rest of a line. Returns its length, or nothing when the line is not whole yet.
fn rest_of_line(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut passed = 0;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        passed += length as u64;
        reader.consume(length);
        if end.is_some() {
            return Ok(Some(passed));
        }
    }
}
