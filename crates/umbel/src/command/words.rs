//! Values that people write on a command line, and what they mean.

use std::collections::BTreeMap;
use std::ops::Range;

/// Reads `A..B`, half open.
pub(crate) fn range(text: &str) -> Result<Range<u64>, String> {
    let form = || format!("{text:?} is no range; write A..B, half open, such as 0..1000");
    let (begin, end) = text.split_once("..").ok_or_else(form)?;
    let begin: u64 = begin.parse().map_err(|_| form())?;
    let end: u64 = end.parse().map_err(|_| form())?;
    if end < begin {
        return Err(format!("the range {text} ends before it begins"));
    }
    Ok(begin..end)
}

/// Reads one index, or a range of them.
pub(crate) fn indices(text: &str) -> Result<Range<u64>, String> {
    let one = text
        .parse()
        .ok()
        .and_then(|one: u64| Some(one..one.checked_add(1)?));
    one.map_or_else(|| range(text), Ok)
}

/// Reads a length of time such as `200ms`, `30s`, `15m`, `2h` or `1d`, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let form = || {
        format!("{text:?} is no length of time; write a number and ms, s, m, h or d, such as 200ms")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(form()),
    };
    let number: u64 = number.parse().map_err(|_| form())?;
    number
        .checked_mul(unit_ms)
        .ok_or_else(|| format!("{text} is longer than umbel can count"))
}

/// Reads a length of time, or a number of milliseconds as a config file has it.
pub(crate) fn ms(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| duration_ms(text))
}

/// Reads a number of bytes, or a size such as `512MiB` or `20GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let form = || {
        format!("{text:?} is no size; write a number of bytes, or one with a unit, such as 20GiB")
    };
    let unit = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit));
    let (name, each) = unit.unwrap_or_default();
    let number = text.strip_suffix(name).unwrap_or(text);
    let whole: u64 = number.parse().map_err(|_| form())?;
    whole
        .checked_mul(each.max(1))
        .ok_or_else(|| format!("{text} is more than umbel can count"))
}

/// Reads a length of time that leaves time to run, in milliseconds.
pub(crate) fn run_time_ms(text: &str) -> Result<u64, String> {
    match duration_ms(text)? {
        0 => Err("a length of 0 leaves no time to run".to_owned()),
        ms => Ok(ms),
    }
}

/// A length of time, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<u64>);

impl Timeout {
    /// Reads a length of time or `none`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => run_time_ms(text).map(|ms| Self(Some(ms))),
        }
    }
}

/// The first and the longest wait before another attempt, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) initial_ms: u64,
    pub(crate) max_ms: u64,
}

impl Backoff {
    /// Reads `A..B`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (initial, max) = text
            .split_once("..")
            .ok_or_else(|| format!("{text:?} is no backoff; write A..B, such as 200ms..30s"))?;
        let (initial_ms, max_ms) = (duration_ms(initial)?, duration_ms(max)?);
        if max_ms < initial_ms {
            return Err(format!("the backoff {text} ends below where it begins"));
        }
        Ok(Self { initial_ms, max_ms })
    }
}

/// How many failures a job bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerate {
    /// So many.
    Count(u64),
    /// So many hundredths of a percent of all.
    BasisPoints(u32),
}

impl Tolerate {
    /// Reads `N` or `P%`; a percentage may have two decimals.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "{text:?} is no tolerance; write a number such as 10, or a percentage such as 0.5%"
            )
        };
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Count).map_err(|_| form());
        };
        let points = basis_points(percent).ok_or_else(form)?;
        if points > ALL {
            return Err(format!("{text} is more than all of them"));
        }
        Ok(Self::BasisPoints(points))
    }
}

/// All of them, in hundredths of a percent.
const ALL: u32 = 10_000;

/// Reads a percentage with at most two decimals, in hundredths of a percent.
fn basis_points(percent: &str) -> Option<u32> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

/// Reads a percentage such as `90%` or `0.5%`, in hundredths of a percent.
pub(crate) fn weight(text: &str) -> Option<u32> {
    let points = basis_points(text.strip_suffix('%')?)?;
    Some(points).filter(|points| *points <= ALL)
}

/// Hundredths of a percent, as people write them.
pub(crate) fn percent(points: u32) -> String {
    match (points / 100, points % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}%", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}%"),
    }
}

/// Of how many invocations that succeed the log is kept, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logs(pub(crate) u32);

impl Logs {
    /// Reads `failed`, `all` or `P%`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "failed" => Ok(Self(0)),
            "all" => Ok(Self(ALL)),
            text => text
                .strip_suffix('%')
                .and_then(basis_points)
                .filter(|&points| points <= ALL)
                .map(Self)
                .ok_or_else(|| {
                    format!("{text:?} says not which logs to keep; write failed, all or a percentage such as 5%")
                }),
        }
    }
}

/// Reads `KEY=VALUE`; the value may hold further `=`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!(
            "{text:?} is no label; write KEY=VALUE, such as zone=eu"
        )),
    }
}

/// The labels by key. One key twice is refused: the last value would silently win.
pub(crate) fn distinct(
    flag: &str,
    labels: &[(String, String)],
) -> Result<BTreeMap<String, String>, String> {
    let mut distinct = BTreeMap::new();
    for (key, value) in labels {
        if let Some(first) = distinct.insert(key.clone(), value.clone()) {
            return Err(format!(
                "{flag} names {key:?} twice, as {first:?} and as {value:?}; a key has one value"
            ));
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_a_number_and_a_unit() {
        let good = [
            ("0s", 0),
            ("200ms", 200),
            ("30s", 30_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ];
        for (text, ms) in good {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "5sec",
            "99999999999999999999s",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
        assert!(
            duration_ms("18446744073709551615d").is_err(),
            "more than fits"
        );
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let good = [
            ("0", 0),
            ("4096", 4_096),
            ("1B", 1),
            ("2KiB", 2_048),
            ("3MB", 3_000_000),
            ("20GiB", 20 << 30),
        ];
        for (text, expected) in good {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "5 MiB", "5mib", "99999999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn milliseconds_need_no_unit() {
        assert_eq!(ms("1500"), Ok(1_500));
        assert_eq!(ms("7d"), Ok(604_800_000));
        assert!(ms("soon").is_err());
    }

    #[test]
    fn a_timeout_may_be_none_but_not_nothing() {
        assert_eq!(Timeout::parse("none"), Ok(Timeout(None)));
        assert_eq!(Timeout::parse("15m"), Ok(Timeout(Some(900_000))));
        assert!(Timeout::parse("0s").is_err());
    }

    #[test]
    fn a_key_has_one_value() {
        let labels = |texts: &[&str]| texts.iter().map(|text| label(text).unwrap()).collect();
        let good: Vec<_> = labels(&["a=1", "b=1"]);
        assert_eq!(distinct("--label", &good).map(|labels| labels.len()), Ok(2));
        let twice: Vec<_> = labels(&["a=1", "b=1", "a=2"]);
        let error = distinct("--label", &twice).unwrap_err();
        assert!(error.starts_with("--label names \"a\" twice"), "{error}");
    }

    #[test]
    fn a_backoff_is_two_lengths() {
        let both = Backoff {
            initial_ms: 200,
            max_ms: 30_000,
        };
        assert_eq!(Backoff::parse("200ms..30s"), Ok(both));
        for text in ["1s", "2s..1s", "..1s", "1s.."] {
            assert!(Backoff::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tolerance_is_a_number_or_a_percentage() {
        let good = [
            ("0", Tolerate::Count(0)),
            ("10", Tolerate::Count(10)),
            ("5%", Tolerate::BasisPoints(500)),
            ("0.5%", Tolerate::BasisPoints(50)),
            ("0.05%", Tolerate::BasisPoints(5)),
            ("100%", Tolerate::BasisPoints(10_000)),
        ];
        for (text, tolerate) in good {
            assert_eq!(Tolerate::parse(text), Ok(tolerate), "{text}");
        }
        for text in ["", "%", "-1", "101%", "0.005%", ".5%", "1e2%", "five"] {
            assert!(Tolerate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn logs_are_kept_of_failures_of_all_or_of_a_share() {
        for (text, points) in [("failed", 0), ("all", 10_000), ("2.5%", 250), ("0%", 0)] {
            assert_eq!(Logs::parse(text), Ok(Logs(points)), "{text}");
        }
        for text in ["", "none", "5", "100.01%", "-1%"] {
            assert!(Logs::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_index_is_a_range_of_one() {
        assert_eq!(indices("7"), Ok(7..8));
        assert_eq!(indices("7..9"), Ok(7..9));
        for text in ["", "7..", "x", "18446744073709551615"] {
            assert!(indices(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_half_open_and_may_be_empty() {
        assert_eq!(range("3..7"), Ok(3..7));
        assert_eq!(range("0..0"), Ok(0..0));
        for text in ["", "5", "7..3", "a..b", "1..=2", "-1..2"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_splits_at_its_first_sign() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("a="), Ok(("a".to_owned(), String::new())));
        for text in ["a", "=b", ""] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
