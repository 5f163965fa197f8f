//! The functions that a worker brings itself, by name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use crate::exec::{Program, ProgramError};
use crate::executable::Executable;
use crate::failure::Failure;
use crate::lambda::{Instances, Lambda};
use crate::native::builtin::{self, Crash};
use crate::native::{NativeFunction, plain};

/// Names that begin so are umbel's own.
const RESERVED_PREFIX: &str = "umbel.";
/// The longest name of a function.
const NAME_BYTES_MAX: usize = 255;

/// Why a function was not taken into a catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name could not be told from other targets.
    #[error(
        "`{name}` cannot name a function: a name begins with a letter, goes on with letters, digits, `.`, `_` or `-`, and has at most {NAME_BYTES_MAX} bytes"
    )]
    BadName {
        /// The name as it was given.
        name: String,
    },
    /// The name is kept for umbel's own functions.
    #[error(
        "`{name}` cannot name a function of yours: names that begin with `{RESERVED_PREFIX}` are umbel's own"
    )]
    ReservedName {
        /// The name as it was given.
        name: String,
    },
    /// There is such a function already.
    #[error("there are two functions named `{name}`; give one of them another name")]
    NameTaken {
        /// The name of both.
        name: String,
    },
    /// A declaration has no `=`.
    #[error("`{declaration}` declares no program; write NAME=COMMAND, such as count='wc -c'")]
    NoCommand {
        /// The declaration as it was given.
        declaration: String,
    },
    /// What is named is no program.
    #[error("function `{name}`: {source}")]
    Program {
        /// The function's name.
        name: String,
        /// What is wrong with its command.
        source: ProgramError,
    },
}

/// Named functions, native ones and programs alike.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    executables: BTreeMap<String, Executable>,
}

impl Catalog {
    /// No functions at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The functions that every worker has. `umbel.crash` is among them in any case; unless
    /// `allow_crash`, each of its invocations is rejected and names the flag.
    pub fn with_builtins(allow_crash: bool) -> Self {
        let crash = Crash {
            allowed: allow_crash,
        };
        let builtins: [(&str, Arc<dyn NativeFunction>); 6] = [
            ("umbel.crash", Arc::new(crash)),
            ("umbel.echo", Arc::new(builtin::echo)),
            ("umbel.flaky", Arc::new(builtin::flaky)),
            ("umbel.increment", Arc::new(builtin::increment)),
            ("umbel.sleep", Arc::new(builtin::sleep)),
            ("umbel.spin", Arc::new(builtin::spin)),
        ];
        let executables = builtins
            .into_iter()
            .map(|(name, function)| (name.to_owned(), Executable::Native(function)))
            .collect();
        Self { executables }
    }

    /// Adds a function from bytes to bytes (or text), in one line:
    /// `catalog.register("size", |input: &[u8]| Ok::<_, String>(input.len().to_string()))`.
    /// An error becomes a failure of kind `function` that bears the error type's name.
    ///
    /// # Errors
    /// When the name is taken, reserved or no name.
    pub fn register<F, T, E>(&mut self, name: &str, function: F) -> Result<(), Error>
    where
        F: Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
        T: AsRef<[u8]> + 'static,
        E: Display + 'static,
    {
        self.register_native(name, plain(function))
    }

    /// Adds a function that appends its output itself and sees its context.
    ///
    /// # Errors
    /// When the name is taken, reserved or no name.
    pub fn register_native(
        &mut self,
        name: &str,
        function: impl NativeFunction + 'static,
    ) -> Result<(), Error> {
        self.add(name, Executable::Native(Arc::new(function)))
    }

    /// Adds a program.
    ///
    /// # Errors
    /// When the name is taken, reserved or no name.
    pub fn register_program(&mut self, name: &str, program: Program) -> Result<(), Error> {
        self.add(name, Executable::Exec(Arc::new(program)))
    }

    /// Adds a warm process, under the function's own name.
    ///
    /// # Errors
    /// When the name is taken, reserved or no name.
    pub fn register_lambda(&mut self, lambda: Lambda) -> Result<(), Error> {
        let name = lambda.name().to_owned();
        self.add(&name, Executable::Lambda(Arc::new(lambda)))
    }

    /// Adds a function that was made ready from its [`Spec`](crate::Spec).
    ///
    /// # Errors
    /// When the name is taken, reserved or no name.
    pub fn register_executable(&mut self, name: &str, executable: Executable) -> Result<(), Error> {
        self.add(name, executable)
    }

    /// The instances of all of them share a bound.
    pub fn join(&self, all: &Arc<Instances>) {
        for executable in self.executables.values() {
            executable.join(all);
        }
    }

    /// Adds a program that is declared as `NAME=COMMAND`; see [`Program::parse`].
    ///
    /// # Errors
    /// When it is no such declaration, or as for [`Catalog::register_program`].
    pub fn declare(&mut self, declaration: &str) -> Result<(), Error> {
        let (name, command) = declaration
            .split_once('=')
            .ok_or_else(|| Error::NoCommand {
                declaration: declaration.to_owned(),
            })?;
        let program = Program::parse(command).map_err(|source| Error::Program {
            name: name.to_owned(),
            source,
        })?;
        self.register_program(name, program)
    }

    /// The function of that name. Look it up once for a chunk, not for each input.
    pub fn find(&self, name: &str) -> Option<Executable> {
        self.executables.get(name).cloned()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.executables.keys().map(String::as_str)
    }

    /// The functions whose program cannot be started as things stand, with the failure that an
    /// invocation would meet now. They are announced nevertheless: a program is looked for anew
    /// at each start, so it may be installed later.
    pub fn unstartable(&self) -> impl Iterator<Item = (&str, Failure)> {
        self.executables.iter().filter_map(|(name, executable)| {
            let program = match executable {
                Executable::Native(_) => return None,
                #[cfg(feature = "wasm")]
                Executable::Wasm(_) => return None,
                Executable::Exec(program) => program,
                Executable::Lambda(lambda) => lambda.program(),
            };
            let failure = program.locate().err()?;
            Some((name.as_str(), failure))
        })
    }

    fn add(&mut self, name: &str, executable: Executable) -> Result<(), Error> {
        let name = name.to_owned();
        if !is_name(&name) {
            return Err(Error::BadName { name });
        }
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Error::ReservedName { name });
        }
        if self.executables.contains_key(&name) {
            return Err(Error::NameTaken { name });
        }
        self.executables.insert(name, executable);
        Ok(())
    }
}

/// So chosen that no name looks like `function@alias` or `exec:PROGRAM`.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CancelFlag;
    use crate::context::testing::context;

    fn invoke(catalog: &Catalog, name: &str, input: &[u8]) -> String {
        let cancel = CancelFlag::new();
        let mut outputs = Vec::new();
        let executable = catalog.find(name).unwrap();
        let execution = executable.invoke(input, &mut outputs, &context(&cancel));
        execution.outcome.unwrap();
        String::from_utf8(outputs).unwrap()
    }

    #[test]
    fn a_worker_has_its_builtins_its_own_functions_and_its_programs() {
        let mut catalog = Catalog::with_builtins(false);
        catalog
            .register("size", |input: &[u8]| {
                Ok::<_, String>(input.len().to_string())
            })
            .unwrap();
        catalog
            .register_native(
                "attempt",
                |_: &[u8], output: &mut crate::Output<'_>, context: &crate::Context<'_>| {
                    output.append(context.attempt.to_string().as_bytes());
                    Ok(())
                },
            )
            .unwrap();
        catalog
            .declare("count=sh -c 'wc -c | tr -d \" \"'")
            .unwrap();

        assert_eq!(invoke(&catalog, "umbel.increment", b"41"), "42");
        assert_eq!(invoke(&catalog, "size", b"four"), "4");
        assert_eq!(invoke(&catalog, "attempt", b""), "1");
        assert_eq!(invoke(&catalog, "count", b"12345"), "5");
        assert!(catalog.find("unknown").is_none());
        assert!(catalog.names().is_sorted());
        assert_eq!(catalog.names().count(), 9);
    }

    #[test]
    fn a_function_whose_program_is_not_there_is_told_with_what_is_wrong() {
        let mut catalog = Catalog::with_builtins(false);
        catalog.declare("here=sh -c true").unwrap();
        catalog.declare("gone=/no/such/program").unwrap();
        let speaker = Program::parse("umbel-no-such-program").unwrap();
        let lambda = Lambda::command_line("warm", speaker, "app.handler");
        catalog.register_lambda(lambda).unwrap();

        let unstartable: Vec<_> = catalog.unstartable().collect();

        let names: Vec<_> = unstartable.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["gone", "warm"]);
        let message = &unstartable[0].1.message;
        assert!(message.contains("`/no/such/program`"), "{message}");
    }

    #[test]
    fn a_name_is_refused_when_it_is_taken_reserved_or_none() {
        let mut catalog = Catalog::with_builtins(false);
        catalog.declare("count=wc -c").unwrap();
        assert!(matches!(
            catalog.declare("count=wc -l"),
            Err(Error::NameTaken { .. })
        ));
        assert!(matches!(
            catalog.declare("umbel.mine=cat"),
            Err(Error::ReservedName { .. })
        ));
        for name in ["", "7", "a@b", "exec:cat", "a b", &"a".repeat(256)] {
            let refused = catalog.declare(&format!("{name}=cat"));
            assert!(matches!(refused, Err(Error::BadName { .. })), "{name}");
        }
        assert!(matches!(
            catalog.declare("wc"),
            Err(Error::NoCommand { .. })
        ));
        assert!(matches!(
            catalog.declare("count2='"),
            Err(Error::Program { .. })
        ));
    }
}
