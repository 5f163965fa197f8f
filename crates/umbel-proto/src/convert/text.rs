//! Text cut to a limit, never within a character.

/// The longest beginning of at most `bytes_max` bytes.
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The longest end of at most `bytes_max` bytes.
pub(crate) fn tail(text: &str, bytes_max: usize) -> &str {
    let mut begin = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    text.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_cut_in_two() {
        assert_eq!(head("aü", 2), "a");
        assert_eq!(head("aü", 9), "aü");
        assert_eq!(tail("üa", 2), "a");
        assert_eq!(tail("üa", 3), "üa");
    }
}
