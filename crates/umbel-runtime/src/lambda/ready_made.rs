//! Functions in Python and JavaScript, of which only the interpreter is needed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Lambda, LambdaError, existing, utf8};
use crate::exec::Program;
use crate::failure::{Failure, FailureKind};

/// The program that speaks the Runtime API for a handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bootstrap {
    file_name: &'static str,
    source: &'static str,
    /// The interpreter's option for a bound of its heap in MiB, if it has one.
    heap_option: Option<&'static str>,
}

/// What differs between the languages.
struct Language {
    interpreter: &'static str,
    /// Asks an interpreter for its own path.
    own_path: [&'static str; 2],
    /// The endings of a module's file; a folder may be a module too.
    endings: &'static [&'static str],
    bootstrap: Bootstrap,
}

const PYTHON: Language = Language {
    interpreter: "python3",
    own_path: ["-c", "import sys; print(sys.executable)"],
    endings: &[".py"],
    bootstrap: Bootstrap {
        file_name: "bootstrap.py",
        source: include_str!("../../bootstrap/python/bootstrap.py"),
        heap_option: None,
    },
};

const NODE: Language = Language {
    interpreter: "node",
    own_path: ["-p", "process.execPath"],
    endings: &[".js", ".cjs", ".mjs"],
    bootstrap: Bootstrap {
        file_name: "bootstrap.cjs",
        source: include_str!("../../bootstrap/node/bootstrap.cjs"),
        heap_option: Some("--max-old-space-size="),
    },
};

impl Bootstrap {
    /// The interpreter's arguments. The program is put into the instance's scratch directory.
    pub(super) fn arguments(
        &self,
        memory_bytes_max: Option<u64>,
        scratch: &Path,
    ) -> Result<Vec<OsString>, Failure> {
        let heap = self
            .heap_option
            .zip(memory_bytes_max)
            .map(|(option, bytes)| {
                // A collector that knows its bound works harder before it gives up.
                let heap_mb = bytes / 4 * 3 / (1024 * 1024);
                OsString::from(format!("{option}{heap_mb}"))
            });
        let program = self.write(scratch)?.into_os_string();
        Ok(heap.into_iter().chain([program]).collect())
    }

    fn write(&self, scratch: &Path) -> Result<PathBuf, Failure> {
        let path = scratch.join(self.file_name);
        fs::write(&path, self.source).map_err(|error| {
            Failure::new(
                FailureKind::Crashed,
                "SpawnFailed",
                format!("`{}` could not be written: {error}", path.display()),
            )
        })?;
        Ok(path)
    }
}

pub(super) fn python(
    name: &str,
    path: &Path,
    handler: Option<&str>,
) -> Result<Lambda, LambdaError> {
    let (folder, handler) = located(path, handler)?;
    // The last word is the function's, the others are the module's and its packages'.
    let module = handler.rsplit_once('.').filter(|(module, function)| {
        !module.is_empty() && !module.ends_with('.') && !function.is_empty()
    });
    let Some((module, _)) = module else {
        return Err(LambdaError::BadHandler { handler });
    };
    PYTHON.check(&folder, &module.replace('.', "/"))?;
    PYTHON.function(name, &folder, handler)
}

pub(super) fn node(name: &str, path: &Path, handler: Option<&str>) -> Result<Lambda, LambdaError> {
    let (folder, handler) = located(path, handler)?;
    // After the last `/` the first word is the module's, the others are its exports'.
    let base = handler.rfind('/').map_or(0, |slash| slash + 1);
    let module = handler[base..]
        .split_once('.')
        .filter(|(module, function)| !module.is_empty() && !function.is_empty());
    let Some((module, _)) = module else {
        return Err(LambdaError::BadHandler { handler });
    };
    NODE.check(&folder, &handler[..base + module.len()])?;
    NODE.function(name, &folder, handler)
}

/// The function's folder and handler. A file is its own module, its function called `handler` if
/// no other is named.
fn located(path: &Path, handler: Option<&str>) -> Result<(PathBuf, String), LambdaError> {
    let path = existing(path)?;
    let module = path.file_stem().unwrap_or_default().to_string_lossy();
    let default = format!("{module}.handler");
    if path.is_dir() {
        let handler = handler.unwrap_or_default().to_owned();
        return Ok((path, handler));
    }
    let handler = handler.map_or(default, |handler| {
        if handler.contains('.') {
            handler.to_owned()
        } else {
            format!("{module}.{handler}")
        }
    });
    Ok((folder_of(&path), handler))
}

/// The folder that a file lies in.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("/")).to_owned()
}

impl Language {
    /// Looks for the module, so that a wrong name is known before a job meets it.
    fn check(&self, folder: &Path, module: &str) -> Result<(), LambdaError> {
        let with = |ending: &str| folder.join(format!("{module}{ending}"));
        if with("").is_dir() || self.endings.iter().any(|ending| with(ending).is_file()) {
            return Ok(());
        }
        let tried: Vec<String> = self
            .endings
            .iter()
            .chain(&["/"])
            .map(|ending| format!("`{module}{ending}`"))
            .collect();
        Err(LambdaError::NoModule {
            module: module.to_owned(),
            folder: folder.to_owned(),
            tried: tried.join(", "),
        })
    }

    fn function(&self, name: &str, folder: &Path, handler: String) -> Result<Lambda, LambdaError> {
        let interpreter = self.interpreter_path()?;
        utf8(folder)?;
        let program = Program::new([utf8(&interpreter)?])?.with_working_dir(folder);
        Ok(Lambda::new(name, program, handler, Some(self.bootstrap)))
    }

    /// The interpreter itself. Version managers put a script in its place, which would be asked
    /// again at every cold start; it is asked once, here.
    fn interpreter_path(&self) -> Result<PathBuf, LambdaError> {
        let none = |why: String| LambdaError::NoInterpreter {
            interpreter: self.interpreter.to_owned(),
            why,
        };
        let found = Program::new([self.interpreter])?
            .locate()
            .map_err(|failure| none(failure.message))?;
        if !is_script(&found) {
            return Ok(found);
        }
        let asked = Command::new(&found)
            .args(self.own_path)
            .output()
            .map_err(|error| none(format!("`{}`: {error}", found.display())))?;
        let answer = String::from_utf8_lossy(&asked.stdout);
        let path = PathBuf::from(answer.trim());
        if asked.status.success() && path.is_file() {
            return Ok(path);
        }
        Err(none(format!(
            "`{}` ends with {} and names none: {}",
            found.display(),
            asked.status,
            String::from_utf8_lossy(&asked.stderr).trim()
        )))
    }
}

fn is_script(path: &Path) -> bool {
    let mut begin = [0; 2];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut begin).is_ok() && begin == *b"#!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_own_module_and_a_folder_needs_its_handler() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("app.py");
        fs::write(&file, "").unwrap();

        let by_file = |handler| located(&file, handler).unwrap();
        assert_eq!(by_file(None), (root.clone(), "app.handler".to_owned()));
        assert_eq!(by_file(Some("main")).1, "app.main");
        assert_eq!(by_file(Some("other.main")).1, "other.main");
        assert_eq!(located(&root, Some("app.run")).unwrap().1, "app.run");
        for handler in [
            None,
            Some("app"),
            Some(".run"),
            Some("app."),
            Some("app..run"),
        ] {
            let refused = python("f", &root, handler);
            assert!(
                matches!(refused, Err(LambdaError::BadHandler { .. })),
                "{handler:?}"
            );
        }
    }

    #[test]
    fn a_module_that_is_not_there_is_named_with_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = node("f", folder.path(), Some("src/app.handler")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`src/app.mjs`"), "{text}");
        let error = python("f", folder.path(), Some("a.b.handler")).unwrap_err();
        assert!(error.to_string().contains("`a/b.py`"), "{error}");
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let error = python("f", Path::new("/no/such"), None).unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}
