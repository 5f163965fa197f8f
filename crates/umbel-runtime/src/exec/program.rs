//! What to start for each invocation: a program, its arguments and its surroundings.

use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Access, access};

use super::words;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Bounds;

/// Where an argument holds this, the input is put there and not on stdin.
const PLACEHOLDER: &str = "{}";
/// The longest argument that Linux takes, `MAX_ARG_STRLEN` without its closing NUL.
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
/// What a program sees of the worker's own environment.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Where programs are looked for when neither the program nor the worker has a `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why something is no program that could ever be started.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is not even a first word.
    #[error("the command is empty; name a program, such as `wc -c`")]
    Empty,
    /// A word holds a NUL byte.
    #[error("word {index} of the command holds a NUL byte, which no program can be given")]
    Nul {
        /// Which word, from 0; the program itself is word 0.
        index: usize,
    },
    /// A quote is open at the command's end.
    #[error("the command `{command}` ends inside a quote or after a lone `\\`")]
    OpenQuote {
        /// The command as it was given.
        command: String,
    },
    /// No environment can hold this name or value.
    #[error(
        "`{name}` cannot be set in an environment: a name is not empty and holds no `=`, and neither name nor value holds a NUL byte"
    )]
    BadVariable {
        /// The variable's name.
        name: String,
    },
}

/// A program that is started, without a shell, for each invocation.
///
/// Its input is on stdin; where an argument contains `{}` the input is put there instead and
/// stdin is empty. Its output is its stdout without one final newline. It sees `UMBEL_JOB_ID`,
/// `UMBEL_INDEX` and `UMBEL_ATTEMPT`, the worker's `PATH`, `HOME` and `LANG`, what was declared for
/// it, and as `TMPDIR` a directory of the invocation's own, which is removed behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    name: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    working_dir: Option<PathBuf>,
    bounds: Bounds,
    timeout: Option<Duration>,
    input_in_arguments: bool,
}

impl Program {
    /// A program by its words: its name or path, then its arguments.
    ///
    /// # Errors
    /// When there is no word, or one holds a NUL byte.
    pub fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Result<Self, ProgramError> {
        let mut words: Vec<String> = words.into_iter().map(Into::into).collect();
        if words.first().is_none_or(String::is_empty) {
            return Err(ProgramError::Empty);
        }
        if let Some(index) = words.iter().position(|word| word.contains('\0')) {
            return Err(ProgramError::Nul { index });
        }
        let name = words.remove(0);
        let input_in_arguments = words.iter().any(|word| word.contains(PLACEHOLDER));
        Ok(Self {
            name,
            arguments: words,
            variables: Vec::new(),
            working_dir: None,
            bounds: Bounds::default(),
            timeout: None,
            input_in_arguments,
        })
    }

    /// A program by its command line, which is split into words as a shell does it: white space
    /// parts them, `'...'`, `"..."` and `\` hold them together. Nothing else of a shell is there;
    /// who wants one writes `sh -c '...'`.
    ///
    /// # Errors
    /// As for [`Program::new`], and when a quote is left open.
    pub fn parse(command: &str) -> Result<Self, ProgramError> {
        let words = words::split(command).ok_or_else(|| ProgramError::OpenQuote {
            command: command.to_owned(),
        })?;
        Self::new(words)
    }

    /// Declares a variable of the program's environment, over an inherited one of that name.
    ///
    /// # Errors
    /// When no environment can hold it.
    pub fn with_variable(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ProgramError> {
        let (name, value) = (name.into(), value.into());
        check_variable(&name, &value)?;
        self.variables.push((name, value));
        Ok(self)
    }

    /// Starts the program in this directory and not in the worker's own.
    #[must_use]
    pub fn with_working_dir(mut self, working_dir: impl Into<PathBuf>) -> Self {
        self.working_dir = Some(working_dir.into());
        self
    }

    /// Bounds what each of the program's processes may take.
    #[must_use]
    pub const fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Ends an attempt after so long, if its own timeout does not do so first.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The program's name or path, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the input goes into the arguments, and so not to stdin.
    pub(super) const fn input_in_arguments(&self) -> bool {
        self.input_in_arguments
    }

    pub(crate) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn working_dir(&self) -> Option<&Path> {
        self.working_dir.as_deref()
    }

    /// Whether a variable of that name was declared.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.variables.iter().any(|(declared, _)| declared == name)
    }

    /// What to start for one input.
    pub(super) fn command(&self, input: &[u8], context: &Context<'_>) -> Result<Command, Failure> {
        let mut command = self.surroundings()?;
        for argument in &self.arguments {
            command.arg(fill(argument, input)?);
        }
        command
            .env("UMBEL_JOB_ID", context.job_id)
            .env("UMBEL_INDEX", context.index.to_string())
            .env("UMBEL_ATTEMPT", context.attempt.to_string());
        Ok(command)
    }

    /// What to start where no input belongs in the arguments.
    pub(crate) fn command_without_input(&self) -> Result<Command, Failure> {
        let mut command = self.surroundings()?;
        command.args(&self.arguments);
        Ok(command)
    }

    /// The program in its directory and with its environment, still without arguments.
    fn surroundings(&self) -> Result<Command, Failure> {
        // With a path that is already found, std can use posix_spawn although the environment
        // is replaced; otherwise it falls back to fork, which is slow in a large worker.
        let mut command = Command::new(self.locate()?);
        command.env_clear();
        for name in INHERITED {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(working_dir) = &self.working_dir {
            command.current_dir(working_dir);
        }
        Ok(command)
    }

    /// Whether the program can be started as things stand.
    pub fn is_startable(&self) -> bool {
        self.locate().is_ok()
    }

    /// The absolute path of the program, found as `execvp` would find it.
    pub(crate) fn locate(&self) -> Result<PathBuf, Failure> {
        if let Some(working_dir) = self.working_dir.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(Failure::rejected(
                "WorkingDirMissing",
                format!(
                    "the working directory `{}` of `{}` is not a directory on this worker",
                    working_dir.display(),
                    self.name
                ),
            ));
        }
        if self.name.contains('/') {
            let path = self
                .working_dir
                .as_deref()
                .unwrap_or_else(|| Path::new(""))
                .join(&self.name);
            return self.executable(&path);
        }
        let directories = self.search_path();
        env::split_paths(&directories)
            .map(|directory| directory.join(&self.name))
            .find(|path| is_executable(path))
            .ok_or_else(|| {
                Failure::rejected(
                    "ProgramNotFound",
                    format!(
                        "no executable `{}` in this worker's PATH ({}); install it there, or name it by its full path",
                        self.name,
                        directories.display()
                    ),
                )
            })
            .and_then(|path| absolute(&path))
    }

    fn executable(&self, path: &Path) -> Result<PathBuf, Failure> {
        let path = absolute(path)?;
        if is_executable(&path) {
            return Ok(path);
        }
        let shown = path.display();
        Err(if path.is_file() {
            Failure::rejected(
                "ProgramNotExecutable",
                format!("`{shown}` is not executable by this worker; `chmod +x` makes it so"),
            )
        } else {
            Failure::rejected(
                "ProgramNotFound",
                format!("there is no program `{shown}` on this worker; it must be installed there"),
            )
        })
    }

    fn search_path(&self) -> OsString {
        let declared = self.variables.iter().rev().find(|(name, _)| name == "PATH");
        declared
            .map(|(_, value)| OsString::from(value))
            .or_else(|| env::var_os("PATH"))
            .unwrap_or_else(|| PATH_DEFAULT.into())
    }
}

/// Whether an environment can hold it.
pub(crate) fn check_variable(name: &str, value: &str) -> Result<(), ProgramError> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(ProgramError::BadVariable {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::rejected(
            "ProgramNotFound",
            format!("no absolute path for `{}`: {error}", path.display()),
        )
    })
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Puts the input wherever the argument says `{}`.
fn fill<'a>(argument: &'a str, input: &[u8]) -> Result<Cow<'a, OsStr>, Failure> {
    if !argument.contains(PLACEHOLDER) {
        return Ok(Cow::Borrowed(OsStr::new(argument)));
    }
    if input.contains(&0) {
        return Err(Failure::rejected(
            "InvalidInput",
            format!(
                "the input holds a NUL byte and cannot stand in the argument `{argument}`; without `{PLACEHOLDER}` it goes to stdin, which takes any bytes"
            ),
        ));
    }
    // Counted before it is built: a few words could make gigabytes of a long input.
    let places = argument.matches(PLACEHOLDER).count();
    let length = argument.len() - places * PLACEHOLDER.len() + places * input.len();
    if length > ARGUMENT_BYTES_MAX {
        return Err(Failure::rejected(
            "InputTooLong",
            format!(
                "with the input in it the argument has {length} bytes, over Linux' limit of {ARGUMENT_BYTES_MAX}; without `{PLACEHOLDER}` the input goes to stdin, which takes any length"
            ),
        ));
    }
    let mut filled = Vec::with_capacity(length);
    for (place, part) in argument.split(PLACEHOLDER).enumerate() {
        if place > 0 {
            filled.extend_from_slice(input);
        }
        filled.extend_from_slice(OsStr::new(part).as_bytes());
    }
    Ok(Cow::Owned(OsString::from_vec(filled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_fills_every_place_that_asks_for_it() {
        assert_eq!(&*fill("a{}b{}", b"1 2").unwrap(), "a1 2b1 2");
        assert_eq!(&*fill("{}", b"").unwrap(), "");
        assert_eq!(&*fill("plain", b"\0").unwrap(), "plain");
    }

    #[test]
    fn an_input_that_fits_no_argument_is_rejected_with_the_way_out() {
        let failure = fill("{}", b"a\0b").unwrap_err();
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.message.contains("goes to stdin"), "{failure}");

        assert!(fill("{}", &[b'x'; ARGUMENT_BYTES_MAX]).is_ok());
        let failure = fill("{}", &[b'x'; ARGUMENT_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(failure.error_type, "InputTooLong");
        assert!(failure.message.contains("131071"), "{failure}");
    }

    #[test]
    fn words_that_are_no_program_are_refused() {
        let none: [&str; 0] = [];
        assert!(matches!(Program::new(none), Err(ProgramError::Empty)));
        assert!(matches!(Program::new([""]), Err(ProgramError::Empty)));
        assert!(matches!(Program::parse("  "), Err(ProgramError::Empty)));
        assert!(matches!(
            Program::new(["cat", "a\0"]),
            Err(ProgramError::Nul { index: 1 })
        ));
        assert!(matches!(
            Program::parse("cat 'a"),
            Err(ProgramError::OpenQuote { .. })
        ));
        assert!(matches!(
            Program::parse("cat").unwrap().with_variable("A=B", "c"),
            Err(ProgramError::BadVariable { .. })
        ));
    }

    #[test]
    fn a_program_is_found_in_the_path_or_named_with_where_it_was_looked_for() {
        let found = Program::parse("sh").unwrap().locate().unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"));

        let missing = Program::parse("umbel-no-such-program").unwrap();
        let failure = missing.locate().unwrap_err();
        assert_eq!(failure.error_type, "ProgramNotFound");
        assert!(failure.message.contains("PATH ("), "{failure}");
    }

    #[test]
    fn a_relative_path_counts_from_the_working_directory() {
        let program = Program::parse("bin/sh").unwrap().with_working_dir("/");
        assert_eq!(program.locate().unwrap(), Path::new("/bin/sh"));

        let nowhere = Program::parse("sh").unwrap().with_working_dir("/no/such");
        assert_eq!(
            nowhere.locate().unwrap_err().error_type,
            "WorkingDirMissing"
        );
    }
}
