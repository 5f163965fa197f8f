//! How a decision came about, for people.

/// What one alias on the way said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// What its rules said, up to the one that matched.
    pub rules: Vec<(String, Told)>,
    /// What decided.
    pub chosen: Chosen,
}

/// What a rule said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It matches.
    Matched,
    /// It does not.
    Unmatched,
    /// It could not be evaluated, and so does not match: why, in words.
    Failed(String),
}

/// What decided at an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A rule.
    Rule {
        /// Its number, from 1.
        number: usize,
        /// Its arm's name.
        arm: String,
        /// Where it sends its matches.
        target: String,
    },
    /// The split.
    Split {
        /// By what.
        key: Key,
        /// The digest of that.
        digest: u64,
        /// The split's salt.
        salt: u64,
        /// The bucket.
        bucket: u16,
        /// The arm that has it.
        arm: String,
        /// Where the arm leads.
        target: String,
    },
    /// Nothing: it goes where the alias points.
    Otherwise,
}

/// By what a split decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By the routing key, so that its owner stays on the arm.
    Sticky(String),
    /// By the index, and so not sticky: why, in words.
    Index(u64, String),
}
