//! Counts results against what they should be, each index once.

use crate::output::count;

/// What was seen of a job's results so far.
#[derive(Debug)]
pub(crate) struct Tally {
    seen: Vec<bool>,
    /// Indices whose output was the expected one.
    pub(crate) right: u64,
    /// Results beyond the first of their index, or of no index of the job.
    pub(crate) twice: u64,
    /// The first wrong result, in words.
    pub(crate) first_wrong: Option<String>,
}

impl Tally {
    /// Nothing seen yet of `total` results.
    pub(crate) fn new(total: u32) -> Self {
        Self {
            seen: vec![false; total as usize],
            right: 0,
            twice: 0,
            first_wrong: None,
        }
    }

    /// Takes one result: `wrong` says what is wrong with it, if anything is.
    pub(crate) fn record(&mut self, index: u64, wrong: Option<String>) {
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| self.seen.get_mut(index));
        match (place, wrong) {
            (Some(seen), _) if *seen => self.twice += 1,
            (None, _) => self.twice += 1,
            (Some(seen), None) => {
                *seen = true;
                self.right += 1;
            }
            (Some(seen), Some(wrong)) => {
                *seen = true;
                self.first_wrong
                    .get_or_insert_with(|| format!("index {index}: {wrong}"));
            }
        }
    }

    /// Whether each index was seen once and was right.
    pub(crate) fn is_perfect(&self) -> bool {
        self.right == self.seen.len() as u64 && self.twice == 0
    }

    /// `100,000 of 100,000 right, 0 twice`.
    pub(crate) fn sentence(&self) -> String {
        let (right, total) = (count(self.right), count(self.seen.len() as u64));
        format!("{right} of {total} right, {} twice", count(self.twice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_counts_once() {
        let mut tally = Tally::new(2);
        tally.record(1, None);
        tally.record(1, None);
        assert!(!tally.is_perfect());
        assert_eq!(tally.sentence(), "1 of 2 right, 1 twice");
    }

    #[test]
    fn the_first_wrong_result_is_kept_in_words() {
        let mut tally = Tally::new(3);
        tally.record(0, None);
        tally.record(2, Some("it is 7, not 8".to_owned()));
        tally.record(1, Some("it is missing".to_owned()));
        assert_eq!(
            tally.first_wrong.as_deref(),
            Some("index 2: it is 7, not 8")
        );
        assert_eq!(tally.right, 1);
    }

    #[test]
    fn an_index_of_no_input_is_one_too_many() {
        let mut tally = Tally::new(1);
        tally.record(0, None);
        assert!(tally.is_perfect());
        tally.record(1, None);
        assert!(!tally.is_perfect());
    }
}
