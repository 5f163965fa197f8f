//! The names of functions: those that workers ever announced, and those published.

use std::collections::BTreeMap;

use crate::limit;

/// The functions that come with umbel; `umbel.crash` runs only where it is allowed.
pub(crate) const BUILT_IN: [&str; 6] = [
    "umbel.crash",
    "umbel.echo",
    "umbel.flaky",
    "umbel.increment",
    "umbel.sleep",
    "umbel.spin",
];
/// Names that are proposed in place of an unknown one.
const NEAREST_MAX: usize = 3;
/// A shorter name begins too many others to mean one of them.
const PREFIX_BYTES_MIN: usize = 3;

/// What a name is known for.
#[derive(Debug, Default)]
struct Known {
    /// A worker announced it once.
    announced: bool,
    /// It is published.
    published: bool,
    /// How many workers bring it now.
    workers: u32,
}

/// Functions by name.
#[derive(Debug)]
pub(crate) struct Registry {
    functions: BTreeMap<String, Known>,
}

impl Default for Registry {
    fn default() -> Self {
        let functions = BUILT_IN.map(|name| {
            let known = Known {
                announced: true,
                ..Known::default()
            };
            (name.to_owned(), known)
        });
        Self {
            functions: functions.into(),
        }
    }
}

impl Registry {
    /// Remembers a name; tells whether it is new. Beyond
    /// [`limit::FUNCTIONS_MAX`] names nothing is remembered.
    pub(crate) fn see(&mut self, name: &str) -> bool {
        if !self.knows(name) && self.is_full() {
            return false;
        }
        let known = self.functions.entry(name.to_owned()).or_default();
        !std::mem::replace(&mut known.announced, true)
    }

    /// Whether no other name can be remembered.
    pub(crate) fn is_full(&self) -> bool {
        self.functions.len() >= limit::FUNCTIONS_MAX
    }

    /// A name is published from now on, or no more.
    pub(crate) fn publish(&mut self, name: &str, published: bool) {
        let known = self.functions.entry(name.to_owned()).or_default();
        known.published = published;
        if !known.published && !known.announced {
            self.functions.remove(name);
        }
    }

    /// Whether workers bring it now, or every worker does.
    pub(crate) fn is_brought(&self, name: &str) -> bool {
        let known = self.functions.get(name);
        known.is_some_and(|known| known.workers > 0) || BUILT_IN.contains(&name)
    }

    /// Whether it is published, or was ever announced.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// A worker that has a function came.
    pub(crate) fn came(&mut self, name: &str) {
        if let Some(known) = self.functions.get_mut(name) {
            known.workers += 1;
        }
    }

    /// A worker that has a function went.
    pub(crate) fn went(&mut self, name: &str) {
        if let Some(known) = self.functions.get_mut(name) {
            known.workers = known.workers.saturating_sub(1);
        }
    }

    /// How many workers bring it now, if it is known.
    pub(crate) fn workers(&self, name: &str) -> Option<u32> {
        self.functions.get(name).map(|known| known.workers)
    }

    /// Functions by name, behind one.
    pub(crate) fn behind(&self, name: &str) -> impl Iterator<Item = (&String, u32)> {
        let range = (
            std::ops::Bound::Excluded(name),
            std::ops::Bound::<&str>::Unbounded,
        );
        let functions = self.functions.range::<str, _>(range);
        functions.map(|(name, known)| (name, known.workers))
    }

    /// Names that differ little from an unknown one, the nearest first, then those
    /// that it begins.
    pub(crate) fn nearest(&self, name: &str) -> Vec<String> {
        let most = (name.len() / 3).clamp(1, 3);
        let mut near: Vec<(usize, &String)> = self
            .functions
            .keys()
            .filter_map(|known| {
                let close = known.len().abs_diff(name.len()) <= most;
                let typo = close.then(|| distance(name, known, most)).flatten();
                let begins = name.len() >= PREFIX_BYTES_MIN && known.starts_with(name);
                Some((typo.or_else(|| begins.then_some(most + 1))?, known))
            })
            .collect();
        near.sort_unstable();
        near.truncate(NEAREST_MAX);
        near.into_iter().map(|(_, known)| known.clone()).collect()
    }
}

/// How many bytes must be added, removed, replaced or swapped with their neighbour
/// to turn `a` into `b`, if that is at most `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut upper = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, left) in a.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, right) in b.iter().enumerate() {
            let replaced = above[column] + usize::from(left != right);
            let mut least = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0 && a[row - 1] == *right && b[column - 1] == *left;
            if swapped {
                least = least.min(upper[column - 1] + 1);
            }
            line.push(least);
        }
        // A swap reaches over one line, so that two must be beyond the bound.
        if above.iter().chain(&line).all(|distance| *distance > most) {
            return None;
        }
        upper = std::mem::replace(&mut above, line);
    }
    above.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_its_neighbours() {
        let mut registry = Registry::default();
        assert!(registry.see("resize"));
        assert!(!registry.see("resize"));
        assert!(!registry.see("umbel.echo"), "built in");
        assert_eq!(registry.nearest("umbel.ehco"), ["umbel.echo"]);
        assert_eq!(registry.nearest("resizes"), ["resize"]);
        assert!(registry.nearest("something else").is_empty());
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
    }

    #[test]
    fn two_letters_swapped_and_a_name_cut_short_are_understood() {
        let mut registry = Registry::default();
        assert!(registry.see("shout"));
        assert_eq!(registry.nearest("shuot"), ["shout"]);
        assert_eq!(registry.nearest("umbel.incr"), ["umbel.increment"]);
        assert!(registry.nearest("sh").is_empty(), "it could be anything");
    }
}
