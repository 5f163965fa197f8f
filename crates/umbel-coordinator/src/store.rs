//! How the store is opened, at the start and again after it failed.

use std::fmt;
use std::sync::Arc;

use umbel_store::{Engine, Error, Listener, Opened, Settings, Store};

/// Opens an engine, with who hears of its commits.
type Open = dyn Fn(Arc<dyn Listener>) -> Result<Arc<dyn Engine>, Error> + Send + Sync;

/// What opens the store. A clone opens the same one.
#[derive(Clone)]
pub struct Opener {
    engine: Option<Arc<Open>>,
    settings: Settings,
}

impl Opener {
    /// The engine in a directory.
    pub(crate) fn directory(settings: Settings) -> Self {
        Self {
            engine: None,
            settings,
        }
    }

    /// Any engine: for tests, which have disks that are slow or full.
    #[doc(hidden)]
    #[must_use]
    pub fn engine(
        settings: Settings,
        open: impl Fn(Arc<dyn Listener>) -> Result<Arc<dyn Engine>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            engine: Some(Arc::new(open)),
            settings,
        }
    }

    /// Opens the store; may wait for the disk.
    pub(crate) fn open(&self, listener: Arc<dyn Listener>) -> Result<Opened, Error> {
        match &self.engine {
            None => Store::open(&self.settings, listener),
            Some(open) => Store::with_engine(open(listener)?),
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
