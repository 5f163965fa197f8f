//! The worker's options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_core::limit;
use umbel_runtime::{Catalog, Confinement, Limits};
use umbel_worker::CacheConfig;

use super::{Error, data, file, overrule};
use crate::command::words::distinct;
use crate::global::{COORDINATOR_DEFAULT, Global};
use crate::log;
use crate::manifest::Manifest;

/// Bytes of artifacts that are kept though nobody uses them.
const CACHE_BYTES_MAX: u64 = 4 << 30;

/// What an operator can set about a worker. `config/worker.toml` explains each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    pub(crate) coordinator: String,
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) allow_crash: bool,
    pub(crate) output_bytes_max: usize,
    pub(crate) stderr_bytes_max: usize,
    pub(crate) drain_timeout_ms: u64,
    pub(crate) cache: String,
    pub(crate) cache_bytes_max: u64,
    pub(crate) instances_max: u32,
    pub(crate) confine: bool,
    pub(crate) confine_read: Vec<PathBuf>,
    pub(crate) confine_write: Vec<PathBuf>,
    pub(crate) log: String,
    pub(crate) log_format: log::Format,
    // Tables stand last, as they must in a file.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) function: Vec<Manifest>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            coordinator: COORDINATOR_DEFAULT.to_owned(),
            name: String::new(),
            slots: 0,
            allow_crash: false,
            output_bytes_max: limit::OUTPUT_BYTES_MAX,
            stderr_bytes_max: limit::LOG_BYTES_MAX,
            drain_timeout_ms: 0,
            cache: String::new(),
            cache_bytes_max: CACHE_BYTES_MAX,
            instances_max: 0,
            confine: false,
            confine_read: Vec::new(),
            confine_write: Vec::new(),
            log: "info".to_owned(),
            log_format: log::Format::Human,
            labels: BTreeMap::new(),
            function: Vec::new(),
        }
    }
}

/// The options as flags and environment variables.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct WorkerFlags {
    /// A file of options; config/worker.toml shows them all
    #[arg(
        long,
        env = "UMBEL_WORKER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    config: Option<PathBuf>,
    /// Invocations to run at a time; 0: one for each core [default: 0]
    #[arg(long, env = "UMBEL_SLOTS", value_name = "N", hide_env = true)]
    slots: Option<u32>,
    /// The worker's name, one of its own in the cluster [default: HOST-xxxx]
    #[arg(long, env = "UMBEL_NAME", hide_env = true)]
    name: Option<String>,
    /// A label that jobs can require; may be repeated
    #[arg(
        long = "label", env = "UMBEL_LABELS", value_name = "K=V", value_delimiter = ',', value_parser = label,
        hide_env = true
    )]
    labels: Vec<(String, String)>,
    /// A program offered as a function, such as 'upper=tr a-z A-Z'; may be repeated
    #[arg(long = "exec", value_name = "NAME=COMMAND")]
    pub(crate) programs: Vec<String>,
    /// Let `umbel.crash` end this process
    #[arg(
        long, env = "UMBEL_ALLOW_CRASH", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_name = "BOOL", hide_env = true, hide_possible_values = true
    )]
    allow_crash: Option<bool>,
    /// An output of more bytes is a failure [default: 6291456]
    #[arg(
        long,
        env = "UMBEL_OUTPUT_BYTES_MAX",
        value_name = "BYTES",
        hide_env = true
    )]
    output_bytes_max: Option<usize>,
    /// So many of the last bytes of a failed program's stderr are kept [default: 16384]
    #[arg(
        long,
        env = "UMBEL_LOG_BYTES_MAX",
        value_name = "BYTES",
        hide_env = true
    )]
    stderr_bytes_max: Option<usize>,
    /// How long a drain may take; 0: as long as what runs [default: 0]
    #[arg(
        long,
        env = "UMBEL_DRAIN_TIMEOUT_MS",
        value_name = "MS",
        hide_env = true
    )]
    drain_timeout_ms: Option<u64>,
    /// Where artifacts of published functions are kept [default: ~/.cache/umbel]
    #[arg(long, env = "UMBEL_CACHE", value_name = "DIR", hide_env = true)]
    cache: Option<String>,
    /// Beyond so many bytes of them what nobody uses is removed [default: 4294967296]
    #[arg(
        long,
        env = "UMBEL_CACHE_BYTES_MAX",
        value_name = "BYTES",
        hide_env = true
    )]
    cache_bytes_max: Option<u64>,
    /// Warm processes that there may be, of all functions; 0: four for each slot [default: 0]
    #[arg(long, env = "UMBEL_INSTANCES_MAX", value_name = "N", hide_env = true)]
    instances_max: Option<u32>,
    /// Let functions reach no files but their own code, their scratch directory and the system's
    /// programs (Landlock; Linux 6.2 or later)
    #[arg(
        long, env = "UMBEL_CONFINE", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_name = "BOOL", hide_env = true, hide_possible_values = true
    )]
    confine: Option<bool>,
    /// With --confine: what they may also read, and run what is in it; may be repeated
    #[arg(long, value_name = "PATH")]
    confine_read: Vec<PathBuf>,
    /// With --confine: what they may also write; may be repeated
    #[arg(long, value_name = "PATH")]
    confine_write: Vec<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as zone=a".to_owned()),
    }
}

impl Worker {
    /// The file, overruled by the environment, overruled by the flags. Labels of the
    /// flags join those of the file.
    pub(crate) fn read(flags: WorkerFlags, global: &Global) -> Result<Self, Error> {
        let mut config: Self = file::read(flags.config.as_deref())?;
        let folder = flags.config.as_deref().and_then(Path::parent);
        for function in &mut config.function {
            function.read_in(folder.unwrap_or_else(|| Path::new("")));
        }
        overrule(&mut config.coordinator, global.coordinator_given.clone());
        overrule(&mut config.log, global.log.clone());
        overrule(&mut config.log_format, global.log_format);
        overrule(&mut config.slots, flags.slots);
        overrule(&mut config.name, flags.name);
        overrule(&mut config.allow_crash, flags.allow_crash);
        overrule(&mut config.output_bytes_max, flags.output_bytes_max);
        overrule(&mut config.stderr_bytes_max, flags.stderr_bytes_max);
        overrule(&mut config.drain_timeout_ms, flags.drain_timeout_ms);
        overrule(&mut config.cache, flags.cache);
        overrule(&mut config.cache_bytes_max, flags.cache_bytes_max);
        overrule(&mut config.instances_max, flags.instances_max);
        overrule(&mut config.confine, flags.confine);
        config.confine_read.extend(flags.confine_read);
        config.confine_write.extend(flags.confine_write);
        let labels = distinct("--label", &flags.labels)
            .map_err(|message| Error::option("labels", message))?;
        config.labels.extend(labels);
        Ok(config)
    }

    /// Where artifacts are kept. A folder that was named is the worker's to use or to complain
    /// of; without the usual one, published functions are left to other workers.
    fn cache(&self) -> Option<CacheConfig> {
        let bytes_max = self.cache_bytes_max;
        if !self.cache.is_empty() {
            let dir = PathBuf::from(&self.cache);
            return Some(CacheConfig { dir, bytes_max });
        }
        let usable = |dir: &PathBuf| std::fs::create_dir_all(dir).is_ok();
        let dir = data::cache_directory().filter(usable);
        if dir.is_none() {
            tracing::warn!(
                "no folder to keep artifacts in, so published functions are not run here; name one with --cache DIR"
            );
        }
        dir.map(|dir| CacheConfig { dir, bytes_max })
    }

    /// What functions may reach; none: whatever the worker's user can.
    pub(crate) fn confinement(&self) -> Result<Option<Confinement>, Error> {
        let opened = [
            ("confine_read", &self.confine_read),
            ("confine_write", &self.confine_write),
        ];
        if self.confine {
            return Ok(Some(Confinement {
                readable: self.confine_read.clone(),
                writable: self.confine_write.clone(),
            }));
        }
        match opened.into_iter().find(|(_, paths)| !paths.is_empty()) {
            Some((option, _)) => {
                let words = "it opens nothing where functions are not confined; add --confine";
                Err(Error::option(option, words.to_owned()))
            }
            None => Ok(None),
        }
    }

    /// What the worker is started with, with these functions.
    pub(crate) fn settings(self, catalog: Catalog) -> umbel_worker::Config {
        let cache = self.cache();
        umbel_worker::Config {
            coordinator: self.coordinator,
            name: self.name,
            slots: self.slots,
            labels: self.labels,
            catalog,
            runs_programs: true,
            runtimes: umbel_worker::runtimes(),
            cache,
            instances_max: self.instances_max,
            limits: Limits {
                output_bytes_max: self.output_bytes_max,
                stderr_bytes_max: self.stderr_bytes_max,
                keep_log: false,
            },
            drain_timeout: match self.drain_timeout_ms {
                0 => None,
                ms => Some(Duration::from_millis(ms)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../../config/worker.toml");

    #[test]
    fn the_file_in_the_repository_shows_every_option_at_its_default() {
        file::assert_shows_defaults::<Worker>(FILE);
    }

    #[test]
    fn a_program_in_the_file_is_a_function() {
        let text = "[[function]]\nname = \"upper\"\ncommand = [\"tr\", \"a-z\", \"A-Z\"]\n";
        let config: Worker = toml::from_str(text).expect("well-formed");
        assert_eq!(config.function[0].name, "upper");
        assert_eq!(config.function[0].command, ["tr", "a-z", "A-Z"]);
    }

    #[test]
    fn a_label_is_a_key_and_a_value() {
        assert_eq!(label("zone=a=b"), Ok(("zone".to_owned(), "a=b".to_owned())));
        assert!(label("zone").is_err());
        assert!(label("=a").is_err());
    }
}
