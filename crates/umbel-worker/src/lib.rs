//! The worker: a session with the coordinator around a runtime.
