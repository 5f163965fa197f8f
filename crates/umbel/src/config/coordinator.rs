//! The coordinator's options.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, data, file, overrule};
use crate::command::words;
use crate::global::Global;
use crate::log;

/// What an operator can set about a coordinator. `config/coordinator.toml` explains each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Coordinator {
    pub(crate) listen: String,
    pub(crate) insecure: bool,
    pub(crate) data: PathBuf,
    pub(crate) keep_ms: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) store_bytes_max: u64,
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) lease_timeout_ms: u64,
    pub(crate) reconnect_grace_ms: u64,
    pub(crate) reclaim_ms: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) upload_idle_timeout_ms: u64,
    pub(crate) log: String,
    pub(crate) log_format: log::Format,
}

impl Default for Coordinator {
    fn default() -> Self {
        let machine = umbel_core::config::Config::default();
        Self {
            listen: "127.0.0.1:7600".to_owned(),
            insecure: false,
            data: PathBuf::new(),
            keep_ms: machine.keep_ms,
            keep_bytes: machine.keep_bytes,
            store_bytes_max: 0,
            disk_free_bytes_min: 256 << 20,
            cache_bytes: 64 << 20,
            lease_timeout_ms: machine.lease_timeout_ms,
            reconnect_grace_ms: machine.reconnect_grace_ms,
            reclaim_ms: machine.reclaim_ms,
            heartbeat_ms: machine.heartbeat_ms,
            upload_idle_timeout_ms: machine.upload_idle_timeout_ms,
            log: "info".to_owned(),
            log_format: log::Format::Human,
        }
    }
}

/// The options as flags and environment variables.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CoordinatorFlags {
    /// A file of options; config/coordinator.toml shows them all
    #[arg(
        long,
        env = "UMBEL_COORDINATOR_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    config: Option<PathBuf>,
    /// Where to keep jobs and results [default: UMBEL_DATA, $XDG_DATA_HOME/umbel or ~/.local/share/umbel]
    #[arg(long, env = "UMBEL_DATA", value_name = "DIR", hide_env = true)]
    data: Option<PathBuf>,
    /// The address to serve on; port 0 takes a free one [default: 127.0.0.1:7600]
    #[arg(long, env = "UMBEL_LISTEN", value_name = "ADDR", hide_env = true)]
    listen: Option<String>,
    /// Serve on an address that others can reach, who may then run code on the workers
    #[arg(
        long, env = "UMBEL_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_name = "BOOL", hide_env = true, hide_possible_values = true
    )]
    insecure: Option<bool>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "What is kept")]
struct Keeping {
    /// How long an ended job is kept with its results, such as 7d, or in milliseconds; 0: until it is
    /// deleted [default: 0]
    #[arg(long, env = "UMBEL_KEEP_MS", value_name = "TIME", value_parser = words::ms, hide_env = true)]
    keep_ms: Option<u64>,
    /// Stored bytes, such as 20GiB, above which the jobs that ended first are swept; 0: none [default: 0]
    #[arg(long, env = "UMBEL_KEEP_BYTES", value_name = "SIZE", value_parser = words::bytes, hide_env = true)]
    keep_bytes: Option<u64>,
    /// Stored bytes, less a tenth, above which no new job or input is taken; 0: none [default: 0]
    #[arg(
        long,
        env = "UMBEL_STORE_BYTES_MAX",
        value_name = "SIZE",
        value_parser = words::bytes,
        hide_env = true
    )]
    store_bytes_max: Option<u64>,
    /// Free bytes on the disk below which no new job or input is taken [default: 256MiB]
    #[arg(
        long,
        env = "UMBEL_DISK_FREE_BYTES_MIN",
        value_name = "SIZE",
        value_parser = words::bytes,
        hide_env = true
    )]
    disk_free_bytes_min: Option<u64>,
}

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tuning")]
struct Tuning {
    /// Memory for what was read from disk lately [default: 64MiB]
    #[arg(long, env = "UMBEL_CACHE_BYTES", value_name = "SIZE", value_parser = words::bytes, hide_env = true)]
    cache_bytes: Option<u64>,
    /// Silence after which a worker is lost [default: 10s]
    #[arg(
        long,
        env = "UMBEL_LEASE_TIMEOUT_MS",
        value_name = "TIME", value_parser = words::ms,
        hide_env = true
    )]
    lease_timeout_ms: Option<u64>,
    /// How long a worker whose stream ended may take to return [default: 1s]
    #[arg(
        long,
        env = "UMBEL_RECONNECT_GRACE_MS",
        value_name = "TIME", value_parser = words::ms,
        hide_env = true
    )]
    reconnect_grace_ms: Option<u64>,
    /// How long leased work waits for its worker after a restart [default: 5s]
    #[arg(long, env = "UMBEL_RECLAIM_MS", value_name = "TIME", value_parser = words::ms, hide_env = true)]
    reclaim_ms: Option<u64>,
    /// How often a worker gives a sign of life [default: 1s]
    #[arg(long, env = "UMBEL_HEARTBEAT_MS", value_name = "TIME", value_parser = words::ms, hide_env = true)]
    heartbeat_ms: Option<u64>,
    /// How long an unsealed job may go without new inputs [default: 1h]
    #[arg(
        long,
        env = "UMBEL_UPLOAD_IDLE_TIMEOUT_MS",
        value_name = "TIME", value_parser = words::ms,
        hide_env = true
    )]
    upload_idle_timeout_ms: Option<u64>,
}

impl Coordinator {
    /// The file, overruled by the environment, overruled by the flags; checked.
    pub(crate) fn read(flags: CoordinatorFlags, global: &Global) -> Result<Self, Error> {
        let mut config: Self = file::read(flags.config.as_deref())?;
        overrule(&mut config.data, flags.data);
        overrule(&mut config.listen, flags.listen);
        overrule(&mut config.insecure, flags.insecure);
        overrule(&mut config.log, global.log.clone());
        overrule(&mut config.log_format, global.log_format);
        let keeping = flags.keeping;
        overrule(&mut config.keep_ms, keeping.keep_ms);
        overrule(&mut config.keep_bytes, keeping.keep_bytes);
        overrule(&mut config.store_bytes_max, keeping.store_bytes_max);
        overrule(&mut config.disk_free_bytes_min, keeping.disk_free_bytes_min);
        let tuning = flags.tuning;
        overrule(&mut config.cache_bytes, tuning.cache_bytes);
        overrule(&mut config.lease_timeout_ms, tuning.lease_timeout_ms);
        overrule(&mut config.reconnect_grace_ms, tuning.reconnect_grace_ms);
        overrule(&mut config.reclaim_ms, tuning.reclaim_ms);
        overrule(&mut config.heartbeat_ms, tuning.heartbeat_ms);
        overrule(
            &mut config.upload_idle_timeout_ms,
            tuning.upload_idle_timeout_ms,
        );
        if config.data == Path::new("") {
            config.data = data::default_directory()?;
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        // Above nine tenths of the cap nothing new is taken, so that sweeping would never begin.
        let intake_max = self.store_bytes_max - self.store_bytes_max / 10;
        if self.store_bytes_max > 0 && self.keep_bytes >= intake_max {
            return Err(Error::option(
                "keep_bytes",
                format!(
                    "{} is not below {intake_max}, nine tenths of store_bytes_max ({}), so that no \
                     new job would be taken before any is swept; lower it or raise store_bytes_max",
                    self.keep_bytes, self.store_bytes_max
                ),
            ));
        }
        if self.heartbeat_ms == 0 {
            return Err(Error::option("heartbeat_ms", "must be at least 1"));
        }
        // A single sign of life that comes late must not cost a worker its leases.
        if self.lease_timeout_ms < self.heartbeat_ms.saturating_mul(3) {
            return Err(Error::option(
                "lease_timeout_ms",
                format!(
                    "{} is less than three times heartbeat_ms ({}), so that workers in good health \
                     would be taken for lost; raise it or lower heartbeat_ms",
                    self.lease_timeout_ms, self.heartbeat_ms
                ),
            ));
        }
        Ok(())
    }

    /// The address to listen on.
    fn address(&self) -> Result<SocketAddr, Error> {
        let found = self
            .listen
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next());
        found.ok_or_else(|| {
            let listen = &self.listen;
            Error::option(
                "listen",
                format!("{listen:?} is no address; write HOST:PORT, such as 127.0.0.1:7600"),
            )
        })
    }

    /// What the coordinator is started with.
    pub(crate) fn settings(&self) -> Result<umbel_coordinator::Config, Error> {
        let mut settings = umbel_coordinator::Config::new(&self.data);
        settings.listen = self.address()?;
        settings.insecure = self.insecure;
        settings.cache_bytes = self.cache_bytes;
        settings.bounds = umbel_coordinator::Bounds {
            store_bytes_max: self.store_bytes_max,
            disk_free_bytes_min: self.disk_free_bytes_min,
        };
        settings.machine = umbel_core::config::Config {
            lease_timeout_ms: self.lease_timeout_ms,
            reconnect_grace_ms: self.reconnect_grace_ms,
            reclaim_ms: self.reclaim_ms,
            heartbeat_ms: self.heartbeat_ms,
            upload_idle_timeout_ms: self.upload_idle_timeout_ms,
            keep_ms: self.keep_ms,
            keep_bytes: self.keep_bytes,
            ..umbel_core::config::Config::default()
        };
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const FILE: &str = include_str!("../../../../config/coordinator.toml");

    #[test]
    fn the_file_in_the_repository_shows_every_option_at_its_default() {
        file::assert_shows_defaults::<Coordinator>(FILE);
    }

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        flags: CoordinatorFlags,
    }

    #[test]
    fn flags_overrule_the_file_and_the_file_the_defaults() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("coordinator.toml");
        let text = "data = \"/from-file\"\nheartbeat_ms = 2000\nlog = \"debug\"\n";
        std::fs::write(&path, text).expect("a file");
        let line = ["umbel", "--heartbeat-ms", "3000", "--insecure", "--config"];
        let line = line
            .into_iter()
            .map(Into::into)
            .chain([path.into_os_string()]);
        let flags = CommandLine::parse_from(line).flags;
        let global = Global {
            log: Some("warn".to_owned()),
            ..Global::default()
        };
        let config = Coordinator::read(flags, &global).expect("all of it is right");
        let expected = Coordinator {
            data: "/from-file".into(),
            heartbeat_ms: 3_000,
            insecure: true,
            log: "warn".to_owned(),
            ..Coordinator::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn an_address_without_a_port_is_named() {
        let config = Coordinator {
            listen: "127.0.0.1".to_owned(),
            ..Coordinator::default()
        };
        let error = config.address().expect_err("there is no port");
        assert!(error.to_string().contains("\"127.0.0.1\""), "{error}");
    }

    #[test]
    fn sweeping_begins_before_the_store_is_full() {
        let late = Coordinator {
            keep_bytes: 900,
            store_bytes_max: 1_000,
            ..Coordinator::default()
        };
        let error = late.check().expect_err("it would be full before");
        assert!(error.to_string().contains("`keep_bytes`: 900"), "{error}");
    }

    #[test]
    fn leases_outlast_a_late_sign_of_life() {
        let hasty = Coordinator {
            lease_timeout_ms: 1_000,
            ..Coordinator::default()
        };
        let error = hasty
            .check()
            .expect_err("one late heartbeat would lose a worker");
        assert!(
            error
                .to_string()
                .starts_with("option `lease_timeout_ms`: 1000 is"),
            "{error}"
        );
    }
}
