//! What differs between two texts, for people.

use std::fmt::Write as _;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// Lines shown.
const LINES_MAX: usize = 100;
/// Lines that are the same, shown before and behind.
const AROUND: usize = 2;
const WIDTH: usize = 160;
/// After so long a time what was not looked at yet is taken for different.
const TIME_MAX: Duration = Duration::from_millis(500);

/// The lines that differ: `-` of the first text, `+` of the second, with some of those around.
/// What is shown is bounded, however long the texts are.
pub(crate) fn difference(first: &str, second: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    let diff = TextDiff::configure()
        .timeout(TIME_MAX)
        .diff_slices(&one, &other);
    let (mut text, mut shown) = (String::new(), 0);
    for (number, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if number > 0 && shown < LINES_MAX {
            text.push_str("  ...\n");
        }
        for change in group.iter().flat_map(|one| diff.iter_changes(one)) {
            shown += 1;
            if shown > LINES_MAX {
                continue;
            }
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = super::one_line(change.value(), WIDTH);
            // A string takes any text.
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    if shown > LINES_MAX {
        let _ = writeln!(text, "  ... {} more lines", shown - LINES_MAX);
    }
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
        assert_eq!(difference("x\n", "x"), "");
        assert_eq!(difference("a", "b"), "- a\n+ b\n");
    }

    #[test]
    fn two_places_far_apart_are_shown_apart() {
        let one = "a\n1\n2\n3\n4\n5\n6\nb";
        let other = "A\n1\n2\n3\n4\n5\n6\nB";
        let expected = "- a\n+ A\n  1\n  2\n  ...\n  5\n  6\n- b\n+ B\n";
        assert_eq!(difference(one, other), expected);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let long = "x\n".repeat(1_000);
        let shown = difference(&long, "y");
        assert_eq!(shown.lines().count(), LINES_MAX + 1, "{shown}");
        assert!(shown.ends_with("  ... 901 more lines\n"), "{shown}");
    }
}
