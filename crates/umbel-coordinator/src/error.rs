//! Why a coordinator does not start, or ends by itself.

use std::io;
use std::net::SocketAddr;

/// What ends a coordinator, in words that name the thing and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can be reached from elsewhere, and nobody said that it is meant.
    #[error(
        "{listen} can be reached from other machines, and whoever reaches it runs code on the \
         workers; listen on 127.0.0.1, or say with --insecure that it is meant"
    )]
    NotLoopback {
        /// The address.
        listen: SocketAddr,
    },
    /// Somebody else has the port.
    #[error(
        "the address {listen} is in use; stop what listens there, or choose another with --listen \
         (port 0 takes a free one)"
    )]
    PortInUse {
        /// The address.
        listen: SocketAddr,
    },
    /// The system does not let it listen there.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store did not open, or failed: nothing more is acknowledged.
    #[error(transparent)]
    Store(#[from] umbel_store::Error),
    /// A thread could not be started.
    #[error("cannot start the engine's thread: {0}")]
    Thread(io::Error),
    /// The engine broke in a way that it should not.
    #[error(
        "the engine ended by itself: {what}; everything acknowledged is on disk, start it again"
    )]
    Engine {
        /// What it said.
        what: String,
    },
    /// The port broke.
    #[error("the port failed: {0}")]
    Port(#[from] tonic::transport::Error),
}

impl Error {
    pub(crate) fn listen(listen: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { listen },
            _ => Self::Listen { listen, source },
        }
    }
}
