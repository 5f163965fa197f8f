//! Asks routes where inputs go: rules over an input, routing keys, and the published hash.
//!
//! Pure, and for whoever holds inputs: the coordinator's shell, which sorts them ahead of what
//! its machine grants, and the command line. A rule is an expression in CEL that is checked
//! when it is set ([`check()`]); what it then does on an input never ends anything: it matches,
//! it does not, or it fails, which is counted and is no match.

/// The stack that a thread needs which asks a [`Router`]: as deep as the tree of an expression may
/// be, with a margin.
pub const STACK_BYTES: usize = 16 << 20;

mod check;
mod expression;
mod hash;
mod json;
mod key;
mod router;
mod same;
mod step;

pub use check::{Mistake, check};
pub use hash::{bucket, index_digest, key_digest};
pub use key::Pointer;
pub use router::{Asker, Input, Router};
pub use same::same_output;
pub use step::{Chosen, Key, Step, Told};
