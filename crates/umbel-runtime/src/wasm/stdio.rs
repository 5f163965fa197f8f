//! Where an instance prints to: memory, with a bound.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::tail::Tail;

/// How much is taken at once.
const WRITE_BYTES: usize = 64 * 1024;

/// One stream; a clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Sink(Arc<Mutex<Kept>>);

#[derive(Debug)]
enum Kept {
    /// All of it, up to a bound; beyond, the writer is ended.
    All {
        bytes: Vec<u8>,
        bytes_max: usize,
        over: bool,
    },
    /// Its end.
    Last(Tail),
}

impl Sink {
    /// Keeps an output of so many bytes, and a final newline.
    pub(super) fn output(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept::All {
            bytes: Vec::new(),
            bytes_max: bytes_max.saturating_add(1),
            over: false,
        })))
    }

    /// Keeps so many of the last bytes.
    pub(super) fn log(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept::Last(Tail::new(bytes_max)))))
    }

    /// Whether more was printed than is kept.
    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.kept(), Kept::All { over: true, .. })
    }

    /// All that was printed, once, without one final newline.
    pub(super) fn take_output(&self) -> Vec<u8> {
        match &mut *self.kept() {
            Kept::All { bytes, .. } => {
                let mut output = std::mem::take(bytes);
                if output.last() == Some(&b'\n') {
                    output.pop();
                }
                output
            }
            Kept::Last(_) => Vec::new(),
        }
    }

    /// The last that was printed, once.
    pub(super) fn take_log(&self) -> String {
        match &mut *self.kept() {
            Kept::All { .. } => String::new(),
            Kept::Last(tail) => tail.take_text(),
        }
    }

    fn append(&self, more: &[u8]) -> Result<(), StreamError> {
        match &mut *self.kept() {
            Kept::All {
                bytes,
                bytes_max,
                over,
            } => {
                if bytes.len() + more.len() > *bytes_max {
                    *over = true;
                    return Err(StreamError::trap("the output is over its limit"));
                }
                bytes.extend_from_slice(more);
            }
            Kept::Last(tail) => tail.append(more),
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.append(&bytes)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES)
    }
}

impl Pollable for Sink {
    /// It can always be written to. (The trait's method is asynchronous in a form that its macro
    /// makes; this is that form.)
    fn ready<'this, 'future>(&'this mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
