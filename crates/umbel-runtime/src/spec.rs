//! What runs a function's code, as whoever publishes it declares it, and the one way from there
//! to an [`Executable`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exec::{Program, ProgramError};
use crate::executable::Executable;
use crate::lambda::{Lambda, LambdaError};
use crate::process::Bounds;

/// What runs a function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// A program for each invocation.
    Exec,
    /// A warm process that speaks the Lambda Runtime API.
    Lambda,
    /// Such a process around a Python handler.
    Python,
    /// Such a process around a Node handler.
    Node,
    /// A WebAssembly module, in the worker's own process.
    Wasm,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Exec,
        Self::Lambda,
        Self::Python,
        Self::Node,
        Self::Wasm,
    ];

    /// The runtime's name, as people write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Lambda => "lambda",
            Self::Python => "python",
            Self::Node => "node",
            Self::Wasm => "wasm",
        }
    }

    /// The runtime of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    /// Whether this build has it: of all of them only WebAssembly can be left out.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Exec | Self::Lambda | Self::Python | Self::Node => true,
            Self::Wasm => cfg!(feature = "wasm"),
        }
    }

    /// The runtime that code lying at `path` can only be meant for, if there is one: a folder with
    /// an executable `bootstrap`, or a file whose name says what it is.
    pub fn of(path: &Path) -> Option<Self> {
        if path.is_dir() {
            let bootstrap = path.join(crate::lambda::BOOTSTRAP);
            return crate::exec::is_executable(&bootstrap).then_some(Self::Lambda);
        }
        match path.extension()?.to_str()? {
            "py" => Some(Self::Python),
            "js" | "cjs" | "mjs" => Some(Self::Node),
            "wasm" => Some(Self::Wasm),
            _ => None,
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a declaration cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// An option is set that could have no effect.
    #[error("`{option}` has no meaning for the runtime `{runtime}`")]
    Misplaced {
        /// The option's name in a manifest.
        option: &'static str,
        /// The runtime.
        runtime: Runtime,
    },
    /// There is neither code nor command.
    #[error("it needs {needs}")]
    NoCode {
        /// What there should be.
        needs: &'static str,
    },
    /// The folder does not say which of its files is meant.
    #[error("`{folder}` holds {found}; {way_out}")]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        found: &'static str,
        /// What to write.
        way_out: &'static str,
    },
    /// The code cannot be read.
    #[error("`path` {path} cannot be read: {source}")]
    Path {
        /// The path as it was given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The module is none that could run.
    #[error("`{path}` cannot run: {why}")]
    Wasm {
        /// The module's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// This build has no such runtime.
    #[error(
        "this umbel was built without the runtime `wasm`; build it with `cargo build --release --features wasm`"
    )]
    NoWasm,
    /// The command or the environment cannot be.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The warm process cannot be.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
}

/// How a function's code is to be run: everything but the code itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The function's name, which its code may see.
    pub name: String,
    /// What runs it.
    pub runtime: Runtime,
    /// `MODULE.FUNCTION` for `python` and `node`; for `lambda` whatever the process makes of
    /// `_HANDLER`.
    pub handler: Option<String>,
    /// The program and its arguments, started in the code's folder; for `wasm` the module's file
    /// and its arguments.
    pub command: Vec<String>,
    /// Variables of its environment, besides the few that every function sees.
    pub environment: BTreeMap<String, String>,
    /// What it may take of the machine.
    pub bounds: Bounds,
    /// For one input, if the job's own timeout is not shorter.
    pub timeout: Option<Duration>,
    /// From the start of an instance until it asks for its first input.
    pub init_timeout: Option<Duration>,
    /// How long an instance is kept that has nothing to do.
    pub idle_timeout: Option<Duration>,
}

impl Spec {
    /// A function of which nothing more is said.
    pub fn new(name: impl Into<String>, runtime: Runtime) -> Self {
        Self {
            name: name.into(),
            runtime,
            handler: None,
            command: Vec::new(),
            environment: BTreeMap::new(),
            bounds: Bounds::default(),
            timeout: None,
            init_timeout: None,
            idle_timeout: None,
        }
    }

    /// Looks for options that contradict each other, which needs no code at hand.
    ///
    /// # Errors
    /// When an option could have no effect, or no environment can hold a variable.
    pub fn check(&self) -> Result<(), SpecError> {
        let warm = !matches!(self.runtime, Runtime::Exec | Runtime::Wasm);
        let ready_made = matches!(self.runtime, Runtime::Python | Runtime::Node);
        let wasm = self.runtime == Runtime::Wasm;
        let misplaced = [
            ("handler", !warm && self.handler.is_some()),
            ("init_timeout_ms", !warm && self.init_timeout.is_some()),
            ("idle_timeout_ms", !warm && self.idle_timeout.is_some()),
            ("command", ready_made && !self.command.is_empty()),
            ("files_max", wasm && self.bounds.files_max.is_some()),
            ("processes_max", wasm && self.bounds.processes_max.is_some()),
        ];
        if let Some((option, _)) = misplaced.into_iter().find(|(_, misplaced)| *misplaced) {
            return Err(SpecError::Misplaced {
                option,
                runtime: self.runtime,
            });
        }
        if !self.command.is_empty() {
            Program::new(&self.command)?;
        }
        for (name, value) in &self.environment {
            crate::exec::check_variable(name, value)?;
        }
        Ok(())
    }

    /// Makes it ready to be invoked: from its code, a folder (such as an unpacked artifact) or a
    /// file, or, for `exec` and `lambda`, from a command that needs none.
    ///
    /// # Errors
    /// When options contradict each other, or the code is not what the runtime needs.
    pub fn executable(&self, code: Option<&Path>) -> Result<Executable, SpecError> {
        self.check()?;
        match self.runtime {
            Runtime::Exec => Ok(Executable::Exec(Arc::new(self.program(code)?))),
            Runtime::Lambda if !self.command.is_empty() => {
                let handler = self.handler.as_deref().unwrap_or_default();
                let lambda = Lambda::command_line(&self.name, self.program(code)?, handler);
                Ok(self.warm(lambda))
            }
            Runtime::Lambda | Runtime::Python | Runtime::Node => self.lambda(code),
            #[cfg(feature = "wasm")]
            Runtime::Wasm => Ok(Executable::Wasm(Arc::new(crate::wasm::Wasm::load(
                self, code,
            )?))),
            #[cfg(not(feature = "wasm"))]
            Runtime::Wasm => Err(SpecError::NoWasm),
        }
    }

    /// The command in its folder, with its environment, bounds and timeout.
    fn program(&self, code: Option<&Path>) -> Result<Program, SpecError> {
        let code = code
            .map(|path| {
                path.canonicalize().map_err(|source| SpecError::Path {
                    path: path.to_owned(),
                    source,
                })
            })
            .transpose()?;
        let mut program = match &code {
            Some(path) if self.command.is_empty() => Program::new([only_program(path)?])?,
            _ => Program::new(&self.command)?,
        };
        if let Some(path) = code {
            let folder = if path.is_dir() {
                path
            } else {
                path.parent().map(Path::to_owned).unwrap_or(path)
            };
            program = program.with_working_dir(folder);
        }
        for (name, value) in &self.environment {
            program = program.with_variable(name, value)?;
        }
        if let Some(timeout) = self.timeout {
            program = program.with_timeout(timeout);
        }
        Ok(program.with_bounds(self.bounds))
    }

    fn lambda(&self, code: Option<&Path>) -> Result<Executable, SpecError> {
        let path = code.ok_or(SpecError::NoCode {
            needs: match self.runtime {
                Runtime::Lambda => "a `path` or a `command`",
                _ => "a `path`",
            },
        })?;
        let handler = self.handler.as_deref();
        let mut lambda = match self.runtime {
            Runtime::Python => Lambda::python(&self.name, path, handler),
            Runtime::Node => Lambda::node(&self.name, path, handler),
            _ => Lambda::folder(&self.name, path, handler.unwrap_or_default()),
        }?
        .with_bounds(self.bounds);
        for (name, value) in &self.environment {
            lambda = lambda.with_variable(name, value)?;
        }
        if let Some(timeout) = self.timeout {
            lambda = lambda.with_timeout(timeout);
        }
        Ok(self.warm(lambda))
    }

    /// With what is said about instances.
    fn warm(&self, mut lambda: Lambda) -> Executable {
        if let Some(init_timeout) = self.init_timeout {
            lambda = lambda.with_init_timeout(init_timeout);
        }
        if let Some(idle_timeout) = self.idle_timeout {
            lambda = lambda.with_idle_timeout(idle_timeout);
        }
        Executable::Lambda(Arc::new(lambda))
    }
}

/// The program that is meant where no command is: the file itself, or the only executable of the
/// folder.
fn only_program(path: &Path) -> Result<String, SpecError> {
    let found = if path.is_dir() {
        let read = |source| SpecError::Path {
            path: path.to_owned(),
            source,
        };
        let mut programs = Vec::new();
        for entry in path.read_dir().map_err(read)? {
            let entry = entry.map_err(read)?.path();
            if crate::exec::is_executable(&entry) {
                programs.push(entry);
            }
        }
        let found = match programs.len() {
            1 => return text(&programs.remove(0)),
            0 => "no executable file",
            _ => "more than one executable file",
        };
        Some(found)
    } else {
        None
    };
    match found {
        Some(found) => Err(SpecError::Ambiguous {
            folder: path.to_owned(),
            found,
            way_out: "say with `command` what to start, or make one file executable (`chmod +x`)",
        }),
        None => text(path),
    }
}

fn text(path: &Path) -> Result<String, SpecError> {
    path.to_str().map(ToOwned::to_owned).ok_or_else(|| {
        LambdaError::PathNotUtf8 {
            path: path.to_owned(),
        }
        .into()
    })
}
