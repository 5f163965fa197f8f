//! From the wire to core words and back.
