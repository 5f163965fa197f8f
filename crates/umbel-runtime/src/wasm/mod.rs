//! WebAssembly: a fresh instance for each invocation, in the worker's own process.
//!
//! A module is compiled once for its digest and kept on disk ([`cache`]); what an invocation does is
//! to take memory from a pool, run, and give it back. It sees its input, its arguments, what was
//! declared for it and a private directory, and nothing else: no network, no other file.

mod cache;
mod engine;
mod invoke;
mod scratch;
mod stdio;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::{self, Component};
use wasmtime::{InstancePre, Linker, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use self::invoke::State;
pub(crate) use self::invoke::run;
use crate::executable::micros;
use crate::spec::{Spec, SpecError};

/// What a component exports that is called for each input; see `proto/wit/function.wit`.
const HANDLE: &str = "handle";
/// A module of more bytes is not read.
const MODULE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How much memory an instance may take, if nothing else was said.
const MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A WebAssembly function, ready to be run.
pub struct Wasm {
    code: Code,
    /// What the program sees as its arguments; the first is its file's name.
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    memory_bytes_max: usize,
    timeout: Option<Duration>,
    /// Whether it may ask for files, and so gets a directory.
    opens_files: bool,
    /// What loading took; whoever runs it first takes it.
    load_us: AtomicU64,
}

/// The three forms of a function.
enum Code {
    /// A WASI p1 command: input on stdin, output on stdout.
    Command(InstancePre<State>),
    /// The same as a component.
    CommandComponent(CommandPre<State>),
    /// A component that exports `handle`.
    Handle(component::InstancePre<State>),
}

impl Wasm {
    /// Loads the module that the spec's command names, or the only one in the folder.
    ///
    /// # Errors
    /// When there is no such module, it does not validate, or it wants what it may not have.
    pub(crate) fn load(spec: &Spec, code: Option<&Path>) -> Result<Self, SpecError> {
        let began = Instant::now();
        let code = code.ok_or(SpecError::NoCode { needs: "a `path`" })?;
        let path = module_path(code, spec.command.first().map(String::as_str))?;
        let wrong = |why: String| SpecError::Wasm {
            path: path.clone(),
            why,
        };
        let unreadable = |source| SpecError::Path {
            path: path.clone(),
            source,
        };
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        if size > MODULE_BYTES_MAX {
            return Err(wrong(format!(
                "it has {size} bytes, over the limit of {MODULE_BYTES_MAX}"
            )));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let engine = engine::engine().map_err(wrong)?;
        let compiled = cache::compiled(engine, &bytes).map_err(wrong)?;
        let opens_files = match &compiled {
            cache::Compiled::Module(module) => module.imports().any(|it| it.name() == "path_open"),
            cache::Compiled::Component(_) => true,
        };
        let code = link(compiled).map_err(|error| wrong(in_words(&error)))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let arguments = [name.into_owned()]
            .into_iter()
            .chain(spec.command.iter().skip(1).cloned())
            .collect();
        let memory = spec.bounds.memory_bytes_max.unwrap_or(MEMORY_BYTES_MAX);
        Ok(Self {
            code,
            arguments,
            environment: spec.environment.clone().into_iter().collect(),
            memory_bytes_max: usize::try_from(memory).unwrap_or(usize::MAX),
            timeout: spec.timeout,
            opens_files,
            load_us: AtomicU64::new(micros(began.elapsed()).max(1)),
        })
    }

    /// Nobody has waited for the loading.
    pub(crate) fn loaded_ahead(&self) {
        self.load_us.store(0, Ordering::Relaxed);
    }
}

/// Connects the code with what it may import, once for all of its instances.
fn link(compiled: cache::Compiled) -> wasmtime::Result<Code> {
    match compiled {
        cache::Compiled::Module(module) => link_module(&module),
        cache::Compiled::Component(component) => link_component(&component),
    }
}

fn link_module(module: &Module) -> wasmtime::Result<Code> {
    if module.get_export("_start").is_none() {
        return Err(wasmtime::Error::msg(
            "it exports no `_start`, and so is no WASI command; build a program, not a library",
        ));
    }
    let mut linker = Linker::new(module.engine());
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut State| &mut state.wasi)?;
    Ok(Code::Command(linker.instantiate_pre(module)?))
}

fn link_component(component: &Component) -> wasmtime::Result<Code> {
    let mut linker = component::Linker::new(component.engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let instance = linker.instantiate_pre(component)?;
    if component.get_export_index(None, HANDLE).is_some() {
        return Ok(Code::Handle(instance));
    }
    let command = CommandPre::new(instance).map_err(|error| {
        error.context(format!(
            "it exports neither `{HANDLE}` (proto/wit/function.wit) nor a command's `run`"
        ))
    })?;
    Ok(Code::CommandComponent(command))
}

/// The module's file: the code itself, the one that is named, or the only one in the folder.
fn module_path(code: &Path, name: Option<&str>) -> Result<PathBuf, SpecError> {
    if code.is_file() {
        return Ok(code.to_owned());
    }
    let read = |source| SpecError::Path {
        path: code.to_owned(),
        source,
    };
    if let Some(name) = name {
        let path = code.join(name);
        let unreadable = |source| SpecError::Path {
            path: path.clone(),
            source,
        };
        let file = path.canonicalize().map_err(unreadable)?;
        // Who publishes a function says what is in its folder, and nothing about a worker's files.
        if file.starts_with(code.canonicalize().map_err(read)?) {
            return Ok(file);
        }
        let why = "it leads out of the function's folder".to_owned();
        return Err(SpecError::Wasm { path, why });
    }
    let mut modules = Vec::new();
    for entry in code.read_dir().map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            modules.push(path);
        }
    }
    match modules.len() {
        1 => Ok(modules.remove(0)),
        count => Err(SpecError::Ambiguous {
            folder: code.to_owned(),
            found: if count == 0 {
                "no file that ends in .wasm"
            } else {
                "more than one file that ends in .wasm"
            },
            way_out: "say with `command` which one is meant",
        }),
    }
}

/// An error with its causes, in one line.
fn in_words(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}

impl std::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasm")
            .field("arguments", &self.arguments)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
