//! Refusals on the wire.
