//! What is to be known about a function besides its code: `umbel.toml` beside the code, or a
//! `[[function]]` of a worker's config. Both have the same options.

mod flags;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_core::limit::VERSION_WARM_MAX;
use umbel_runtime::{Bounds, Catalog, Runtime, Spec};

pub(crate) use flags::{OptionArgs, SourceArgs};
pub(crate) use source::{Source, Unpacked};

use crate::exit::Exit;

/// The file's name.
pub(crate) const FILE_NAME: &str = "umbel.toml";

/// The options of one function. `config/umbel.toml` explains each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The name that jobs call it by.
    pub(crate) name: String,
    /// None: what the code can only be meant for, or `exec` in a worker's config.
    pub(crate) runtime: Option<Runtime>,
    /// Its code, a folder or a file, from the manifest's own folder on.
    pub(crate) path: Option<PathBuf>,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) handler: Option<String>,
    pub(crate) memory_mb: Option<u64>,
    pub(crate) files_max: Option<u64>,
    pub(crate) processes_max: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) init_timeout_ms: Option<u64>,
    pub(crate) idle_timeout_ms: Option<u64>,
    /// Instances to keep ready on each worker.
    pub(crate) warm: Option<u32>,
    /// Whether equal inputs have equal outputs, and nothing else comes of an invocation.
    pub(crate) pure: Option<bool>,
    // Tables stand last, as they must in a file.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Manifest {
    /// Counts a relative path from the folder of the file that it was read from.
    pub(crate) fn read_in(&mut self, folder: &Path) {
        if let Some(path) = &mut self.path {
            *path = folder.join(&*path);
        }
    }

    /// Adds the function to those that a worker offers itself.
    pub(crate) fn register(&self, catalog: &mut Catalog) -> Result<(), Exit> {
        // These are promises about a version, and what a worker brings itself has none.
        let published = [("warm", self.warm.is_some()), ("pure", self.pure.is_some())];
        if let Some((option, _)) = published.into_iter().find(|(_, set)| *set) {
            return Err(self.wrong(format!("`{option}` is for functions that are published")));
        }
        let spec = self.spec_of(self.runtime.unwrap_or(Runtime::Exec))?;
        let executable = spec
            .executable(self.path.as_deref())
            .map_err(|error| self.wrong(error))?;
        catalog
            .register_executable(&self.name, executable)
            .map_err(|error| Exit::usage(error.to_string()))
    }

    /// How the code is to be run, wherever it comes to lie.
    pub(crate) fn spec(&self) -> Result<Spec, Exit> {
        let runtime = self.runtime.ok_or_else(|| {
            let words: Vec<_> = Runtime::ALL.iter().map(|one| one.word()).collect();
            self.wrong(format!(
                "nothing says what runs it; write `runtime = \"...\"` into {FILE_NAME}, one of {}",
                words.join(", ")
            ))
        })?;
        let spec = self.spec_of(runtime)?;
        spec.check().map_err(|error| self.wrong(error))?;
        Ok(spec)
    }

    fn spec_of(&self, runtime: Runtime) -> Result<Spec, Exit> {
        self.check_values()?;
        Ok(Spec {
            handler: self.handler.clone(),
            command: self.command.clone(),
            environment: self.environment.clone(),
            bounds: Bounds {
                memory_bytes_max: self.memory_mb.map(|mb| mb.saturating_mul(1024 * 1024)),
                files_max: self.files_max,
                processes_max: self.processes_max,
            },
            timeout: self.timeout_ms.map(Duration::from_millis),
            init_timeout: self.init_timeout_ms.map(Duration::from_millis),
            idle_timeout: self.idle_timeout_ms.map(Duration::from_millis),
            ..Spec::new(&self.name, runtime)
        })
    }

    /// Looks for values that no function could run with.
    fn check_values(&self) -> Result<(), Exit> {
        let zeros = [
            ("memory_mb", self.memory_mb),
            ("files_max", self.files_max),
            ("processes_max", self.processes_max),
            ("timeout_ms", self.timeout_ms),
            ("init_timeout_ms", self.init_timeout_ms),
        ];
        if let Some((option, _)) = zeros.into_iter().find(|(_, value)| *value == Some(0)) {
            return Err(self.wrong(format!(
                "`{option}` is 0, which leaves nothing to run with; leave it out for no bound of its own"
            )));
        }
        if let Some(warm) = self.warm.filter(|warm| *warm > VERSION_WARM_MAX) {
            return Err(self.wrong(format!(
                "`warm` is {warm}, over the limit of {VERSION_WARM_MAX} instances"
            )));
        }
        Ok(())
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Exit {
        Exit::usage(format!("function `{}`: {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(table: &str) -> String {
        let function: Manifest = toml::from_str(table).expect("well-formed");
        let mut catalog = Catalog::new();
        let refused = function.register(&mut catalog).expect_err("it is wrong");
        refused.to_string()
    }

    #[test]
    fn the_file_in_the_repository_shows_every_option() {
        let shown: String = include_str!("../../../../config/umbel.toml")
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.starts_with(char::is_alphabetic))
            .flat_map(|line| [line, "\n"])
            .collect();
        let shown: toml::Table = toml::from_str(&shown).expect("the options are TOML");
        let unknown = toml::from_str::<Manifest>("unknown = 1").expect_err("no such option");
        let options = unknown.message().split('`').skip(3).step_by(2);
        let mut count = 0;
        for option in options {
            assert!(
                shown.contains_key(option),
                "the file does not show `{option}`"
            );
            count += 1;
        }
        assert_eq!(count, shown.len(), "it shows options that do not exist");
    }

    #[test]
    fn a_program_is_a_function_with_its_environment() {
        let text = "name = \"upper\"\ncommand = [\"tr\", \"a-z\", \"A-Z\"]\nenvironment = { A = \"1\" }\nmemory_mb = 64\n";
        let function: Manifest = toml::from_str(text).expect("well-formed");
        let mut catalog = Catalog::new();
        function.register(&mut catalog).expect("a function");
        assert!(catalog.find("upper").is_some());
        let spec = function.spec_of(Runtime::Exec).expect("a spec");
        assert_eq!(spec.bounds.memory_bytes_max, Some(64 * 1024 * 1024));
        assert_eq!(spec.environment["A"], "1");
    }

    #[test]
    fn an_option_that_could_have_no_effect_is_named() {
        for (table, said) in [
            (
                "command = [\"cat\"]\nhandler = \"app.handler\"\n",
                "`handler` has no meaning for the runtime `exec`",
            ),
            (
                "runtime = \"python\"\ncommand = [\"cat\"]\n",
                "`command` has no meaning for the runtime `python`",
            ),
            (
                "runtime = \"wasm\"\nfiles_max = 3\n",
                "`files_max` has no meaning for the runtime `wasm`",
            ),
            (
                "command = [\"cat\"]\nwarm = 1\n",
                "`warm` is for functions that are published",
            ),
        ] {
            let table = format!("name = \"a\"\n{table}");
            assert_eq!(refused(&table), format!("function `a`: {said}"));
        }
    }

    #[test]
    fn a_value_that_nothing_could_run_with_is_named() {
        let said = refused("name = \"a\"\ncommand = [\"cat\"]\ntimeout_ms = 0\n");
        assert!(said.contains("`timeout_ms` is 0"), "{said}");
        let many: Manifest = toml::from_str("name = \"a\"\nruntime = \"python\"\nwarm = 4097\n")
            .expect("well-formed");
        let said = many.spec().expect_err("too many").to_string();
        assert!(said.contains("limit of 4096"), "{said}");
        let said =
            refused("name = \"a\"\ncommand = [\"cat\"]\nenvironment = { \"A=B\" = \"1\" }\n");
        assert!(said.contains("`A=B` cannot be set"), "{said}");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            refused("name = \"a\"\nruntime = \"lambda\"\n"),
            "function `a`: it needs a `path` or a `command`"
        );
        let said = refused("name = \"a\"\nruntime = \"lambda\"\npath = \"/usr\"\n");
        assert!(said.contains("holds no executable `bootstrap`"), "{said}");
        let said = refused("name = \"a\"\n");
        assert!(said.contains("the command is empty"), "{said}");
    }

    #[test]
    fn a_relative_path_counts_from_the_folder_of_the_file() {
        let mut function: Manifest = toml::from_str("path = \"resize\"\n").expect("well-formed");
        function.read_in(Path::new("/etc/umbel"));
        assert_eq!(function.path, Some(PathBuf::from("/etc/umbel/resize")));
        function.read_in(Path::new("/elsewhere"));
        assert_eq!(function.path, Some(PathBuf::from("/etc/umbel/resize")));
    }
}
