//! Request ids that outlive their jobs.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::KeptRequest;

/// Request ids whose job is forgotten and that make no other yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    kept: BTreeMap<String, KeptRequest>,
    by_time: BTreeSet<(u64, String)>,
}

impl Requests {
    /// Keeps a request id.
    pub(crate) fn keep(&mut self, request_id: String, kept: KeptRequest) {
        self.by_time.insert((kept.until_ms, request_id.clone()));
        if let Some(old) = self.kept.insert(request_id.clone(), kept)
            && old.until_ms != kept.until_ms
        {
            self.by_time.remove(&(old.until_ms, request_id));
        }
    }

    /// What is kept of a request id.
    pub(crate) fn find(&self, request_id: &str) -> Option<&KeptRequest> {
        self.kept.get(request_id)
    }

    /// Forgets a request id.
    pub(crate) fn remove(&mut self, request_id: &str) {
        if let Some(kept) = self.kept.remove(request_id) {
            self.by_time.remove(&(kept.until_ms, request_id.to_owned()));
        }
    }

    /// When the first of them may go.
    pub(crate) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(until_ms, _)| *until_ms)
    }

    /// Takes out one whose time has passed.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<String> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, request_id) = self.by_time.pop_first()?;
        self.kept.remove(&request_id);
        Some(request_id)
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        assert_eq!(self.kept.len(), self.by_time.len());
        for (request_id, kept) in &self.kept {
            assert!(self.by_time.contains(&(kept.until_ms, request_id.clone())));
        }
    }
}
