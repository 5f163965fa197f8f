//! Numbers, times and foreign text, for people.

/// A number with its digits in groups of three.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time given in microseconds, with its unit.
pub(crate) fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1} s", us as f64 / 1e6),
        60_000_000..3_600_000_000 => {
            format!("{} m {} s", us / 60_000_000, us / 1_000_000 % 60)
        }
        _ => format!("{} h {} m", us / 3_600_000_000, us / 60_000_000 % 60),
    }
}

/// A point in time given in microseconds since 1970, as RFC 3339 in UTC.
pub(crate) fn time_us(us: u64) -> String {
    let timestamp = prost_types::Timestamp {
        seconds: (us / 1_000_000) as i64,
        nanos: (us % 1_000_000 * 1_000) as i32,
    };
    timestamp.to_string()
}

/// Foreign text on one line, at most `width` characters: what controls a terminal is written out.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for c in text.chars() {
        let shown = if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        };
        let shown_length = shown.chars().count();
        if length + shown_length > width {
            while length >= width && line.pop().is_some() {
                length -= 1;
            }
            line.push('…');
            break;
        }
        line.push_str(&shown);
        length += shown_length;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn lengths_of_time_have_their_unit() {
        let shown = [7, 1_500, 2_345_678, 61_000_000, 3_700_000_000].map(duration_us);
        assert_eq!(shown, ["7 µs", "1.5 ms", "2.3 s", "1 m 1 s", "1 h 1 m"]);
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time_us(1_763_904_670_250_000), "2025-11-23T13:31:10.250Z");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal_or_break_the_table() {
        assert_eq!(one_line("a\nb\u{1b}[31m", 80), "a\\nb\\u{1b}[31m");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("abcde\n\n", 6), "abcde…");
    }
}
