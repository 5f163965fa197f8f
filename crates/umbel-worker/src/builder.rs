//! A worker in ten lines, for programs with functions of their own.

use std::fmt::Display;

use tokio::signal::unix::{SignalKind, signal};
use umbel_runtime::NativeFunction;

use crate::config::Config;
use crate::error::Error;
use crate::handle::Handle;

/// Where a worker begins: [`Worker::builder`].
#[derive(Clone, Copy, Debug)]
pub struct Worker;

impl Worker {
    /// A worker with the functions that every worker has, for the coordinator on
    /// this host.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            refused: None,
        }
    }
}

/// A worker that has not started.
#[derive(Debug)]
#[must_use = "a worker begins with `start` or `run`"]
pub struct Builder {
    config: Config,
    refused: Option<umbel_runtime::Error>,
}

impl Builder {
    /// Where the coordinator is.
    pub fn coordinator(mut self, url: impl Into<String>) -> Self {
        self.config.coordinator = url.into();
        self
    }

    /// The worker's name, one of its own in the cluster.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many invocations it runs at a time; as many as there are cores, if this
    /// is not said.
    pub fn slots(mut self, slots: u32) -> Self {
        self.config.slots = slots;
        self
    }

    /// A label that jobs can require.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.labels.insert(key.into(), value.into());
        self
    }

    /// A function from bytes to bytes (or text). An error becomes a failure that
    /// bears the error's type; a name that is no name is told by [`Self::start`].
    pub fn function<F, T, E>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
        T: AsRef<[u8]> + 'static,
        E: Display + 'static,
    {
        let taken = self.config.catalog.register(name, function);
        self.refused = self.refused.or_else(|| taken.err());
        self
    }

    /// A function that appends its output itself and sees its context.
    pub fn native(mut self, name: &str, function: impl NativeFunction + 'static) -> Self {
        let taken = self.config.catalog.register_native(name, function);
        self.refused = self.refused.or_else(|| taken.err());
        self
    }

    /// Starts the worker, within a tokio runtime.
    ///
    /// # Errors
    /// When a function or a setting does not hold.
    pub fn start(self) -> Result<Handle, Error> {
        if let Some(error) = self.refused {
            return Err(Error::Function(error.to_string()));
        }
        self.config.start()
    }

    /// Runs the worker until SIGTERM or Ctrl-C, which drain it; a second one lets
    /// it leave at once.
    ///
    /// # Errors
    /// When it cannot start, or its coordinator refuses it for good.
    pub async fn run(self) -> Result<(), Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::Signals {
                reason: error.to_string(),
            })
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let handle = self.start()?;
        let mut signals = 0;
        loop {
            tokio::select! {
                ended = handle.wait() => return ended,
                _ = terminate.recv() => signals += 1,
                _ = interrupt.recv() => signals += 1,
            }
            match signals {
                1 => handle.drain(),
                _ => handle.leave_now(),
            }
        }
    }
}
