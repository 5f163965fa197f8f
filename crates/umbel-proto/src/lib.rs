//! The wire and disk schema of umbel, and the conversions to and from core words.
