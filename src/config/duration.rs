//! Lengths of time as people write them: `90s`, `2h`, `1h30m`, `500ms`, `7d`; a bare number is seconds.

use std::time::Duration;

/// Longest length that is taken: a year; more is a slip of the pen, and sums of such lengths stay far from overflow.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Units from long to short, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time. Returns what is wrong as a fragment.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a length of time is empty".to_owned());
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return bounded(rest.parse::<u64>().ok().and_then(|secs| secs.checked_mul(1_000)), text);
    }
    let mut total: Option<u64> = Some(0);
    let mut shortest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        // Each unit once, from long to short: `30m1h` and `1h1h` are slips.
        if number.is_empty() || millis >= shortest {
            return Err(wrong());
        }
        shortest = millis;
        let part = number.parse::<u64>().ok().and_then(|count| count.checked_mul(millis));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = after.trim_start();
    }
    bounded(total, text)
}

/// Renders a length of time in the form that [`parse`] reads.
pub fn render(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let count = rest / millis;
        rest %= millis;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

fn bounded(millis: Option<u64>, text: &str) -> Result<Duration, String> {
    millis
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("`{text}` is longer than {}", render(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, millis) in [
            ("90s", 90_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("1s500ms", 1_500),
            ("7d", 604_800_000),
            ("45", 45_000),
            (" 0s ", 0),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", " ", "h", "1 h", "-1s", "1.5h", "1h1h", "30m1h", "1y", "1H", "1hs", "١s", "1s5"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for text in ["367d", "99999999999999999999", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(text).unwrap_err().contains("longer than 366d"), "{text:?}");
        }
    }

    #[test]
    fn what_is_rendered_reads_as_the_same() {
        for millis in [0, 1, 999, 1_000, 61_001, 7_200_000, 90_061_001, 604_800_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&render(duration)), Ok(duration), "{}", render(duration));
        }
    }
}
