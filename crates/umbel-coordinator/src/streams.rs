//! How many streams of each kind may be open at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use umbel_core::command::Refusal;
use umbel_core::limit;

/// The most that may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsMax {
    /// Uploads (`AppendInputs`).
    pub uploads: usize,
    /// Watches (`WatchJob`).
    pub watches: usize,
    /// Streams of results and logs (`StreamResults`, `StreamLogs`).
    pub results: usize,
    /// Sessions that have not said hello.
    pub newcomers: usize,
}

impl Default for StreamsMax {
    fn default() -> Self {
        Self {
            uploads: limit::UPLOADS_MAX,
            watches: limit::WATCHES_MAX,
            results: limit::RESULT_STREAMS_MAX,
            newcomers: limit::NEWCOMERS_MAX,
        }
    }
}

/// The streams of one kind. A clone counts the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    kind: &'static str,
    limit: usize,
    room: Arc<Semaphore>,
}

impl Streams {
    pub(crate) fn new(kind: &'static str, limit: usize) -> Self {
        Self {
            kind,
            limit,
            room: Arc::new(Semaphore::new(limit)),
        }
    }

    /// Counts one more, as long as what is returned lives.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyStreams`], which names the kind and the limit.
    pub(crate) fn open(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        room.map_err(|_| Refusal::TooManyStreams {
            kind: self.kind,
            limit: self.limit as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_refused_until_another_ends() {
        let streams = Streams::new("uploads", 1);
        let first = streams.open().unwrap();
        let words = streams.open().unwrap_err().to_string();
        assert!(words.starts_with("1 uploads are open"), "{words}");
        drop(first);
        assert!(streams.open().is_ok());
    }
}
