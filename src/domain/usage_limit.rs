//! Reads an agent's words on a usage limit: when it is over, as far as they say so. The forms were taken from reports of
//! several years of the Claude Code CLI:
//!
//! - `Claude AI usage limit reached|1749924000` (seconds since 1970)
//! - `Claude usage limit reached. Your limit will reset at 3pm (America/Santiago).`
//! - `You've hit your session limit · resets 10:30pm (Europe/Berlin)`, `5-hour limit reached ∙ resets 3pm`
//! - `You've hit your limit · resets Feb 4, 9pm (Africa/Johannesburg)`, `Weekly limit reached ∙ resets Oct 9 at 10am`
//!
//! Deliberately absent: the database of time zones, which the caller asks.

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// Longest text that is looked at, in characters: what the program says of a limit is a line or two.
const MOST_CHARS: usize = 1_000;
/// A time of day that is past by no more than this is a limit that was over just now, and not one of tomorrow.
const JUST_NOW: SignedDuration = SignedDuration::from_hours(1);
/// Limits last a week at most; what lies further ahead was not understood.
const MOST_AHEAD: SignedDuration = SignedDuration::from_hours(8 * 24);

static LIMIT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)usage limit reached|\blimit reached\b|\b(?:hit|reached) your [\w\s-]{0,30}\blimit\b")
        .expect("the pattern is fixed")
});
static EPOCH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\blimit reached[^|\n]{0,40}\|\s*(\d{10})\b").expect("the pattern is fixed"));
static CLOCK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix) \breset s? \s+ (?:at\s+|on\s+)?
          (?: (?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* \s+ (?P<day>\d{1,2}) (?:\s*,\s*|\s+) (?:at\s+)? )?
          (?P<hour>\d{1,2}) (?: :(?P<minute>\d{2}) )? \s* (?P<half>am|pm)?
          (?: \s* \( (?P<zone>[A-Za-z0-9_+/-]{1,64}) \) )?",
    )
    .expect("the pattern is fixed")
});

/// A usage limit that an agent has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageLimit {
    /// When it is over; `None` when the text does not say so in a form that is known.
    pub resets_at: Option<Timestamp>,
}

/// Returns the usage limit that a text tells of, if it does. `zone` finds a time zone by its name; a time without one is
/// meant in `local`.
pub fn read(
    text: &str,
    now: Timestamp,
    local: &TimeZone,
    zone: impl Fn(&str) -> Option<TimeZone>,
) -> Option<UsageLimit> {
    let text: String = text.chars().take(MOST_CHARS).collect();
    if !LIMIT.is_match(&text) {
        return None;
    }
    let resets_at = match EPOCH.captures(&text) {
        Some(found) => found[1].parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        None => CLOCK.captures(&text).and_then(|found| {
            let zone = match found.name("zone") {
                Some(name) => zone(name.as_str())?,
                None => local.clone(),
            };
            reset_of(&found, now, &zone)
        }),
    };
    let sensible = |at: &Timestamp| at.duration_since(now) <= MOST_AHEAD;
    Some(UsageLimit { resets_at: resets_at.filter(sensible).map(|at| at.max(now)) })
}

fn reset_of(found: &Captures<'_>, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let time = time_of_day(found)?;
    let today = now.to_zoned(zone.clone()).date();
    let at = |date: jiff::civil::Date| Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp());
    let (Some(month), Some(day)) = (found.name("month"), found.name("day")) else {
        let first = at(today)?;
        return if now.duration_since(first) <= JUST_NOW { Some(first) } else { at(today.tomorrow().ok()?) };
    };
    let month = month_number(month.as_str())?;
    let day = day.as_str().parse().ok()?;
    let this_year = at(jiff::civil::Date::new(today.year(), month, day).ok()?)?;
    // Told in December of January.
    if now.duration_since(this_year) < SignedDuration::from_hours(180 * 24) {
        return Some(this_year);
    }
    at(jiff::civil::Date::new(today.year() + 1, month, day).ok()?)
}

fn time_of_day(found: &Captures<'_>) -> Option<Time> {
    let hour: i8 = found["hour"].parse().ok()?;
    let minute: i8 = found.name("minute").map_or(Some(0), |minute| minute.as_str().parse().ok())?;
    let half = found.name("half").map(|half| half.as_str().to_lowercase());
    let hour = match half.as_deref() {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
        None => hour,
    };
    Time::new(hour, minute, 0, 0).ok()
}

fn month_number(name: &str) -> Option<i8> {
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let at = months.iter().position(|month| name.eq_ignore_ascii_case(month))?;
    i8::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-02-03, 14:00 in UTC, 15:00 in the zone that stands for Berlin.
    const NOW: &str = "2026-02-03T14:00:00Z";

    fn read_at(text: &str, now: &str) -> Option<Option<String>> {
        let hours = |hours: i8| TimeZone::fixed(jiff::tz::offset(hours));
        let zone = |name: &str| match name {
            "Europe/Berlin" => Some(hours(1)),
            "America/Santiago" => Some(hours(-3)),
            _ => None,
        };
        let limit = read(text, now.parse().unwrap(), &TimeZone::UTC, zone)?;
        Some(limit.resets_at.map(|at| at.to_string()))
    }

    #[test]
    fn the_time_of_the_reset_is_read_from_every_known_form() {
        for (text, expected) in [
            ("Claude AI usage limit reached|1770138000", "2026-02-03T17:00:00Z"),
            ("Claude usage limit reached. Your limit will reset at 3pm (America/Santiago).", "2026-02-03T18:00:00Z"),
            (
                "Claude usage limit reached. Your limit will reset \n     at 3pm (America/Santiago).",
                "2026-02-03T18:00:00Z",
            ),
            ("You've hit your session limit · resets 10:30pm (Europe/Berlin)\n/upgrade", "2026-02-03T21:30:00Z"),
            ("You've hit your limit · resets 12am (Europe/Berlin)", "2026-02-03T23:00:00Z"),
            ("You've hit your limit · resets 12pm (Europe/Berlin)", "2026-02-04T11:00:00Z"),
            ("You've hit your limit - resets Feb 4, 9pm (Europe/Berlin)", "2026-02-04T20:00:00Z"),
            ("Weekly limit reached ∙ resets Feb 9 at 10am", "2026-02-09T10:00:00Z"),
            ("5-hour limit reached ∙ resets 6pm", "2026-02-03T18:00:00Z"),
            ("5-hour limit reached ∙ resets 18:05", "2026-02-03T18:05:00Z"),
            ("5-hour limit reached ∙ resets 2:50am", "2026-02-04T02:50:00Z"),
            // Over already, as the message comes late: now, and not a day from now.
            ("5-hour limit reached ∙ resets 1:30pm", "2026-02-03T14:00:00Z"),
        ] {
            assert_eq!(read_at(text, NOW), Some(Some(expected.to_owned())), "{text}");
        }
        let december = read_at("You've hit your weekly limit · resets Jan 2, 9am", "2026-12-30T10:00:00Z");
        assert_eq!(december, Some(Some("2027-01-02T09:00:00Z".to_owned())));
    }

    #[test]
    fn a_limit_without_a_time_that_makes_sense_is_one_of_unknown_length() {
        for text in [
            "Claude AI usage limit reached",
            "Claude AI usage limit reached|9999999999",
            "You've hit your limit · resets 13pm (Europe/Berlin)",
            "You've hit your limit · resets 25:00",
            "You've hit your limit · resets Feb 31, 9pm",
            "You've hit your limit · resets Jun 1, 9pm",
            "You've hit your limit · resets 3pm (Nowhere/Atlantis)",
            "You've reached your weekly usage limit.",
        ] {
            assert_eq!(read_at(text, NOW), Some(None), "{text}");
        }
    }

    #[test]
    fn other_errors_are_no_usage_limit() {
        for text in ["rate_limit", "API Error: 429 rate_limit_error", "the limit resets 3pm", "", "Prompt is too long"]
        {
            assert_eq!(read_at(text, NOW), None, "{text}");
        }
    }
}
