//! Splits a command as a shell splits words, and does nothing else that a shell does.

/// The words of a command: parted by white space, where `'...'` is taken as it stands, `"..."`
/// knows `\"` and `\\`, and elsewhere `\` takes the next character as it stands. There are no
/// variables, patterns, redirections or pipes.
///
/// Answers `None` when a quote is not closed or the last `\` has nothing to take.
pub(super) fn split(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    // An empty word in quotes is a word, so "no word" is told apart from an empty one.
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '"' => quoted(&mut characters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(characters.next()?),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads up to the closing `"`.
fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match characters.next()? {
            '"' => return Some(()),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_by_space_and_held_together_by_quotes() {
        for (command, words) in [
            ("", &[][..]),
            ("  wc  -c ", &["wc", "-c"]),
            (
                "sh -c 'echo \"$1\" \\n' x",
                &["sh", "-c", "echo \"$1\" \\n", "x"],
            ),
            (r#"a "b \"c\" \\ \n" d\ e"#, &["a", r#"b "c" \ \n"#, "d e"]),
            ("grep '' {}", &["grep", "", "{}"]),
            ("--name='a b'c", &["--name=a bc"]),
        ] {
            assert_eq!(split(command).unwrap(), words, "{command}");
        }
    }

    #[test]
    fn an_open_quote_is_no_command() {
        for command in ["echo 'a", "echo \"a", "echo \"a\\", "echo a\\"] {
            assert_eq!(split(command), None, "{command}");
        }
    }
}
