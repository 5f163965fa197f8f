//! The client library: connect, submit, watch, results.
