//! A function that lies here, as arguments of a command.

use std::path::PathBuf;

use umbel_runtime::Runtime;

use super::{Manifest, Source};
use crate::command::words::{distinct, run_time_ms};
use crate::exit::Exit;

/// Where it lies, and what is said in place of what its `umbel.toml` says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The function: a folder, its umbel.toml, a zip, or a single file of code
    path: PathBuf,
    #[command(flatten)]
    options: OptionArgs,
}

/// Options of a function, each over what its `umbel.toml` says.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "In place of what umbel.toml says")]
pub(crate) struct OptionArgs {
    /// What runs it: exec, lambda, python, node or wasm
    #[arg(long, value_parser = runtime)]
    runtime: Option<Runtime>,
    /// MODULE.FUNCTION, such as app.handler
    #[arg(long)]
    handler: Option<String>,
    /// A variable of its environment; may be repeated
    #[arg(long, value_name = "K=V", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Memory for each of its processes
    #[arg(long, value_name = "MIB")]
    memory_mb: Option<u64>,
    /// How long one input may take
    #[arg(long, value_name = "TIME", value_parser = run_time_ms)]
    timeout: Option<u64>,
}

fn runtime(word: &str) -> Result<Runtime, String> {
    let words: Vec<_> = Runtime::ALL.iter().map(|one| one.word()).collect();
    Runtime::from_word(word).ok_or_else(|| format!("the runtimes are {}", words.join(", ")))
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as LEVEL=3".to_owned()),
    }
}

impl SourceArgs {
    /// Finds the function.
    pub(crate) fn source(&self) -> Result<Source, Exit> {
        Source::at(&self.path, &self.options)
    }
}

impl OptionArgs {
    /// Whether a variable is set.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.env.iter().any(|(set, _)| set == name)
    }

    /// Nothing but a variable.
    pub(crate) fn of_variable(name: &str, value: String) -> Self {
        Self {
            env: vec![(name.to_owned(), value)],
            ..Self::default()
        }
    }

    /// Whether anything is said at all.
    pub(crate) const fn is_given(&self) -> bool {
        self.runtime.is_some()
            || self.handler.is_some()
            || !self.env.is_empty()
            || self.memory_mb.is_some()
            || self.timeout.is_some()
    }

    /// Puts what was said in place of what the manifest says.
    pub(super) fn overrule(&self, manifest: &mut Manifest) -> Result<(), Exit> {
        if self.runtime.is_some() {
            manifest.runtime = self.runtime;
        }
        if self.handler.is_some() {
            manifest.handler.clone_from(&self.handler);
        }
        if self.memory_mb.is_some() {
            manifest.memory_mb = self.memory_mb;
        }
        if self.timeout.is_some() {
            manifest.timeout_ms = self.timeout;
        }
        let variables = distinct("--env", &self.env).map_err(Exit::usage)?;
        manifest.environment.extend(variables);
        Ok(())
    }
}
