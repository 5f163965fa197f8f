//! A function that a worker brings itself, as its config file declares it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_runtime::{Bounds, Catalog, Lambda, Program};

use crate::exit::Exit;

/// One `[[function]]` table. `config/worker.toml` explains each option.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Function {
    /// The name that jobs call it by.
    pub(crate) name: String,
    pub(crate) runtime: Runtime,
    /// Its folder or file, from the config file's own folder on.
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
    // Tables stand last, as they must in a file.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What runs a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runtime {
    /// A program for each invocation.
    #[default]
    Exec,
    /// A warm process that speaks the Lambda Runtime API.
    Lambda,
    /// Such a process around a Python handler.
    Python,
    /// Such a process around a Node handler.
    Node,
}

impl Runtime {
    const fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Lambda => "lambda",
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

impl Function {
    /// Counts a relative path from the folder of the file that it was read from.
    pub(crate) fn read_in(&mut self, folder: &Path) {
        if let Some(path) = &mut self.path {
            *path = folder.join(&*path);
        }
    }

    /// Adds the function to those that the worker offers.
    pub(crate) fn register(&self, catalog: &mut Catalog) -> Result<(), Exit> {
        if let Some(option) = self.misplaced() {
            return Err(self.wrong(format!(
                "`{option}` has no meaning for the runtime `{}`",
                self.runtime.word()
            )));
        }
        let added = match self.runtime {
            Runtime::Exec => catalog.register_program(&self.name, self.program()?),
            Runtime::Lambda | Runtime::Python | Runtime::Node => {
                catalog.register_lambda(self.lambda()?)
            }
        };
        added.map_err(|error| Exit::usage(error.to_string()))
    }

    /// An option that is set and could have no effect.
    fn misplaced(&self) -> Option<&'static str> {
        let exec = self.runtime == Runtime::Exec;
        let ready_made = matches!(self.runtime, Runtime::Python | Runtime::Node);
        [
            ("handler", exec && self.handler.is_some()),
            ("init_timeout_ms", exec && self.init_timeout_ms.is_some()),
            ("idle_timeout_ms", exec && self.idle_timeout_ms.is_some()),
            ("command", ready_made && !self.command.is_empty()),
        ]
        .into_iter()
        .find_map(|(option, misplaced)| misplaced.then_some(option))
    }

    /// The command in its folder, with its environment, bounds and timeout.
    fn program(&self) -> Result<Program, Exit> {
        let mut program = Program::new(&self.command).map_err(|error| self.wrong(error))?;
        if let Some(path) = &self.path {
            let folder = path.canonicalize().map_err(|error| {
                self.wrong(format!("`path` {} cannot be read: {error}", path.display()))
            })?;
            program = program.with_working_dir(folder);
        }
        for (name, value) in &self.environment {
            program = program
                .with_variable(name, value)
                .map_err(|error| self.wrong(error))?;
        }
        if let Some(timeout_ms) = self.timeout_ms {
            program = program.with_timeout(Duration::from_millis(timeout_ms));
        }
        Ok(program.with_bounds(self.bounds()))
    }

    fn lambda(&self) -> Result<Lambda, Exit> {
        let mut lambda = if self.command.is_empty() {
            self.lambda_by_path()?
        } else {
            let handler = self.handler.as_deref().unwrap_or_default();
            Lambda::command_line(&self.name, self.program()?, handler)
        };
        if let Some(init_timeout_ms) = self.init_timeout_ms {
            lambda = lambda.with_init_timeout(Duration::from_millis(init_timeout_ms));
        }
        if let Some(idle_timeout_ms) = self.idle_timeout_ms {
            lambda = lambda.with_idle_timeout(Duration::from_millis(idle_timeout_ms));
        }
        Ok(lambda)
    }

    fn lambda_by_path(&self) -> Result<Lambda, Exit> {
        let Some(path) = &self.path else {
            let or_command = match self.runtime {
                Runtime::Lambda => " or a `command`",
                _ => "",
            };
            return Err(self.wrong(format!("it needs a `path`{or_command}")));
        };
        let handler = self.handler.as_deref();
        let mut lambda = match self.runtime {
            Runtime::Python => Lambda::python(&self.name, path, handler),
            Runtime::Node => Lambda::node(&self.name, path, handler),
            _ => Lambda::folder(&self.name, path, handler.unwrap_or_default()),
        }
        .map_err(|error| self.wrong(error))?
        .with_bounds(self.bounds());
        for (name, value) in &self.environment {
            lambda = lambda
                .with_variable(name, value)
                .map_err(|error| self.wrong(error))?;
        }
        if let Some(timeout_ms) = self.timeout_ms {
            lambda = lambda.with_timeout(Duration::from_millis(timeout_ms));
        }
        Ok(lambda)
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            memory_bytes_max: self.memory_mb.map(|mb| mb.saturating_mul(1024 * 1024)),
            files_max: self.files_max,
            processes_max: self.processes_max,
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Exit {
        Exit::usage(format!("function `{}`: {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(table: &str) -> String {
        let function: Function = toml::from_str(table).expect("well-formed");
        let mut catalog = Catalog::new();
        let refused = function.register(&mut catalog).expect_err("it is wrong");
        refused.to_string()
    }

    #[test]
    fn a_program_is_a_function_with_its_environment() {
        let text = "name = \"upper\"\ncommand = [\"tr\", \"a-z\", \"A-Z\"]\nenvironment = { A = \"1\" }\nmemory_mb = 64\n";
        let function: Function = toml::from_str(text).expect("well-formed");
        let mut catalog = Catalog::new();
        function.register(&mut catalog).expect("a function");
        assert!(catalog.find("upper").is_some());
        assert_eq!(function.bounds().memory_bytes_max, Some(64 * 1024 * 1024));
    }

    #[test]
    fn an_option_that_could_have_no_effect_is_named() {
        assert_eq!(
            refused("name = \"a\"\ncommand = [\"cat\"]\nhandler = \"app.handler\"\n"),
            "function `a`: `handler` has no meaning for the runtime `exec`"
        );
        assert_eq!(
            refused("name = \"a\"\nruntime = \"python\"\ncommand = [\"cat\"]\n"),
            "function `a`: `command` has no meaning for the runtime `python`"
        );
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
        let mut function: Function = toml::from_str("path = \"resize\"\n").expect("well-formed");
        function.read_in(Path::new("/etc/umbel"));
        assert_eq!(function.path, Some(PathBuf::from("/etc/umbel/resize")));
        function.read_in(Path::new("/elsewhere"));
        assert_eq!(function.path, Some(PathBuf::from("/etc/umbel/resize")));
    }
}
