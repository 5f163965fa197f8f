//! The form of test results that build servers read.

use std::fmt::Write as _;
use std::time::Duration;

/// One case, as it went.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) duration: Duration,
    /// Why it is not as expected.
    pub(crate) difference: Option<&'a str>,
    /// What the function printed.
    pub(crate) log: &'a str,
}

/// The whole document.
pub(crate) fn document(function: &str, cases: &[Told<'_>]) -> String {
    let failures = cases
        .iter()
        .filter(|case| case.difference.is_some())
        .count();
    let total: Duration = cases.iter().map(|case| case.duration).sum();
    let function = escaped(function);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{function}\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{:.6}\">\n",
        cases.len(),
        total.as_secs_f64()
    );
    for case in cases {
        // Writing into a text cannot fail.
        let _ = write!(
            text,
            "<testcase classname=\"{function}\" name=\"{}\" time=\"{:.6}\">",
            escaped(case.name),
            case.duration.as_secs_f64()
        );
        if let Some(difference) = case.difference {
            let first = difference.lines().next().unwrap_or_default();
            let _ = write!(
                text,
                "\n<failure message=\"{}\">{}</failure>",
                escaped(first),
                escaped(difference)
            );
        }
        if !case.log.is_empty() {
            let _ = write!(text, "\n<system-err>{}</system-err>", escaped(case.log));
        }
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// A text as it may stand in XML, which has no place at all for most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_can_hold_anything() {
        let cases = [
            Told {
                name: "fits <the> box",
                duration: Duration::from_millis(1),
                difference: None,
                log: "",
            },
            Told {
                name: "b",
                duration: Duration::ZERO,
                difference: Some("- \"1\"\n+ \"2\""),
                log: "a & \u{1b}[0m\n",
            },
        ];
        assert_eq!(
            document("f", &cases),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n\
             <testsuite name=\"f\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"0.001000\">\n\
             <testcase classname=\"f\" name=\"fits &lt;the&gt; box\" time=\"0.001000\"></testcase>\n\
             <testcase classname=\"f\" name=\"b\" time=\"0.000000\">\n\
             <failure message=\"- &quot;1&quot;\">- &quot;1&quot;\n+ &quot;2&quot;</failure>\n\
             <system-err>a &amp; \u{fffd}[0m\n</system-err></testcase>\n\
             </testsuite>\n</testsuites>\n"
        );
    }
}
