//! What an operator can set about a coordinator.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::Error;
use crate::room::Bounds;
use crate::streams::StreamsMax;

/// How a coordinator is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address of its one port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it keeps jobs and results; made where there is none.
    pub data_dir: PathBuf,
    /// Whether an address that others can reach is meant.
    pub insecure: bool,
    /// Memory in bytes for what was read from disk lately.
    pub cache_bytes: u64,
    /// What bounds the store.
    pub bounds: Bounds,
    /// How many streams may be open at a time.
    pub streams: StreamsMax,
    /// The times of the machine, and how much it keeps.
    pub machine: umbel_core::config::Config,
}

impl Config {
    /// The defaults, with data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7600)),
            data_dir: data_dir.into(),
            insecure: false,
            cache_bytes: 64 << 20,
            bounds: Bounds {
                store_bytes_max: 0,
                disk_free_bytes_min: 256 << 20,
            },
            streams: StreamsMax::default(),
            machine: umbel_core::config::Config::default(),
        }
    }

    /// Refuses what would let strangers run code on the workers by accident.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.insecure || self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::NotLoopback {
            listen: self.listen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_must_be_meant() {
        let mut config = Config::new("/data");
        assert!(config.check().is_ok());
        config.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7600));
        let said = config.check().unwrap_err().to_string();
        assert!(
            said.contains("0.0.0.0:7600") && said.contains("--insecure"),
            "{said}"
        );
        config.insecure = true;
        assert!(config.check().is_ok());
    }
}
