//! What differs between two texts, for people.

use std::fmt::Write as _;

/// Lines shown of either side.
const LINES_MAX: usize = 40;
/// Lines that are the same, shown before and behind.
const AROUND: usize = 2;
const WIDTH: usize = 160;

/// The lines between the first and the last that differ: `-` of the first text, `+` of the second,
/// with some of those around. Both are bounded, however long the texts are.
pub(crate) fn difference(first: &str, second: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    let alike = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let left = one.len().min(other.len()) - alike;
    let pairs = one.iter().rev().zip(other.iter().rev());
    let behind = pairs.take(left).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    let mut show = |sign: char, lines: &[&str], max: usize| {
        for line in lines.iter().take(max) {
            let line = super::one_line(line, WIDTH);
            // A string takes any text.
            let _ = writeln!(text, "{sign} {line}");
        }
        if lines.len() > max {
            let _ = writeln!(text, "{sign} ... {} more lines", lines.len() - max);
        }
    };
    let before = alike.saturating_sub(AROUND)..alike;
    show(' ', one.get(before).unwrap_or_default(), AROUND);
    let middle = |lines: &[&str]| alike..lines.len() - behind;
    show('-', one.get(middle(&one)).unwrap_or_default(), LINES_MAX);
    show(
        '+',
        other.get(middle(&other)).unwrap_or_default(),
        LINES_MAX,
    );
    let after = (one.len() - behind)..one.len().min(one.len() - behind + AROUND);
    show(' ', one.get(after).unwrap_or_default(), AROUND);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_some_lines_around() {
        let one = "a\nb\nc\nd\ne\nf\ng";
        let other = "a\nb\nc\nD\ne\nf\ng";
        assert_eq!(difference(one, other), "  b\n  c\n- d\n+ D\n  e\n  f\n");
        assert_eq!(difference("", "x"), "+ x\n");
        assert_eq!(difference("x\nx", "x"), "  x\n- x\n");
        assert_eq!(difference("a", "b"), "- a\n+ b\n");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let long = "x\n".repeat(1_000);
        let shown = difference(&long, "y");
        assert!(shown.lines().count() <= LINES_MAX + 2, "{shown}");
        assert!(shown.contains("960 more lines"), "{shown}");
    }
}
