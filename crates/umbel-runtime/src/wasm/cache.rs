//! Compiled code on disk, so that it is compiled once and not at each start of a worker.
//!
//! A file is named by the digest of the module, the version of wasmtime and the engine's settings:
//! whatever would make it another code makes it another file.

use std::env;
use std::fs::{self, DirBuilder, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// A binary that is a component has this in place of a module's version.
const COMPONENT_VERSION: &[u8] = &[0x0d, 0, 1, 0];
const MAGIC: &[u8] = b"\0asm";
/// When the cache is larger, what was written longest ago goes.
const CACHE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Code for this machine.
pub(super) enum Compiled {
    Module(Module),
    Component(Component),
}

/// Compiles the module or component, in binary or text form, or takes what was compiled before.
pub(super) fn compiled(engine: &Engine, bytes: &[u8]) -> Result<Compiled, String> {
    let is_component = if bytes.starts_with(MAGIC) {
        bytes.get(4..8) == Some(COMPONENT_VERSION)
    } else {
        // The text form; what is neither, the compiler will name.
        bytes.trim_ascii_start().starts_with(b"(component")
    };
    let file = directory().map(|folder| folder.join(file_name(engine, bytes)));
    if let Some(file) = file.as_deref().filter(|file| is_own(file))
        && let Ok(found) = load(engine, file, is_component)
    {
        return Ok(found);
    }
    let code = if is_component {
        engine.precompile_component(bytes)
    } else {
        engine.precompile_module(bytes)
    };
    let code = code.map_err(|error| format!("it cannot be compiled: {error:#}"))?;
    if let Some(file) = file
        && write(&file, &code).is_ok()
        && let Ok(written) = load(engine, &file, is_component)
    {
        return Ok(written);
    }
    // A machine without a place for a cache compiles at each start.
    let uncached = if is_component {
        Component::new(engine, bytes).map(Compiled::Component)
    } else {
        Module::new(engine, bytes).map(Compiled::Module)
    };
    uncached.map_err(|error| format!("it cannot be compiled: {error:#}"))
}

fn file_name(engine: &Engine, bytes: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // The version of wasmtime is one of the settings.
    format!("{digest}-{:016x}.cwasm", settings.finish())
}

/// A folder that only this user can write to; none if there is no place for one.
fn directory() -> Option<PathBuf> {
    let root = env::var_os("XDG_CACHE_HOME")
        .filter(|root| !root.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    let folder = root.join("umbel").join("wasm");
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    (made.is_ok() && is_own(&folder)).then_some(folder)
}

/// Whether it is this user's, and nobody else could have written it.
fn is_own(path: &Path) -> bool {
    let own =
        |it: &Metadata| it.uid() == geteuid().as_raw() && it.permissions().mode() & 0o022 == 0;
    // Not through a link, which may lead to another's.
    fs::symlink_metadata(path).is_ok_and(|it| !it.is_symlink() && own(&it))
}

/// Loads what [`write()`] has written.
#[allow(
    unsafe_code,
    reason = "wasmtime runs what it loads unchecked, so it must be its own: the file is named by the \
              digest of what it was compiled from, lies in a folder of mode 0700 that is this user's, \
              is of mode 0600 itself, and came there whole, by a rename"
)]
fn load(engine: &Engine, file: &Path, is_component: bool) -> wasmtime::Result<Compiled> {
    if is_component {
        // SAFETY: as said above.
        unsafe { Component::deserialize_file(engine, file) }.map(Compiled::Component)
    } else {
        // SAFETY: as said above.
        unsafe { Module::deserialize_file(engine, file) }.map(Compiled::Module)
    }
}

fn write(file: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    // Of mode 0600, as it is made.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(code)?;
    // Its name must never come to stand for less than the whole: what is loaded is not checked.
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    prune(folder, file)
}

/// Removes the oldest files until the rest is within the bound; never the newest.
fn prune(folder: &Path, newest: &Path) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(metadata) = entry.metadata() {
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((written, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= CACHE_BYTES_MAX {
            break;
        }
        if path != newest && fs::remove_file(&path).is_ok() {
            total -= size;
        }
    }
    Ok(())
}
