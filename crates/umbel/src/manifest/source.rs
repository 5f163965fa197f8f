//! Finds a function on this machine: its code, and what is said about it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use umbel_artifact::{is_zip, pack, unpack};
use umbel_core::function::Digest;
use umbel_runtime::Runtime;

use super::flags::OptionArgs;
use super::{FILE_NAME, Manifest};
use crate::config;
use crate::exit::Exit;

/// A function as it lies here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// What its `umbel.toml` says, filled up with what its code can only mean.
    pub(crate) manifest: Manifest,
    /// A folder, or a file that is all there is to it.
    pub(crate) code: PathBuf,
    /// Where its manifest and its cases lie.
    pub(crate) folder: PathBuf,
    /// The folder, if it was made for what is in a zip.
    pub(crate) unpacked: Option<Unpacked>,
}

/// A folder that lies here as long as somebody speaks of what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked(Arc<TempDir>);

impl PartialEq for Unpacked {
    fn eq(&self, other: &Self) -> bool {
        self.0.path() == other.0.path()
    }
}

impl Eq for Unpacked {}

impl Source {
    /// Reads what lies at `path`: a folder, with or without an `umbel.toml`; such a file itself;
    /// a zip of such a folder; or a single file of code.
    ///
    /// What the manifest then says is true of the code wherever it is copied to: a file is named
    /// as lying in its folder. `options` go before the file's.
    pub(crate) fn at(path: &Path, options: &OptionArgs) -> Result<Self, Exit> {
        Self::at_or(path, options, Manifest::default())
    }

    /// The same, where `known` is what is to be taken for code without an `umbel.toml`.
    pub(crate) fn at_or(path: &Path, options: &OptionArgs, known: Manifest) -> Result<Self, Exit> {
        let path = path
            .canonicalize()
            .map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))?;
        if path.is_file() && is_zip(&path).map_err(wrong)? {
            return Self::in_zip(&path, options, known);
        }
        let (folder, file) = if path.is_dir() {
            let file = path.join(FILE_NAME);
            (path.clone(), file.exists().then_some(file))
        } else if path.file_name().is_some_and(|name| name == FILE_NAME) {
            (folder_of(&path), Some(path.clone()))
        } else {
            (folder_of(&path), None)
        };
        let manifest = match &file {
            Some(file) => read(file)?,
            None => known,
        };
        let code = match &manifest.path {
            Some(within) => inside(&folder, within)?,
            None if file.is_some() => folder.clone(),
            None => path,
        };
        let mut source = Self {
            manifest,
            code,
            folder,
            unpacked: None,
        };
        options.overrule(&mut source.manifest)?;
        source.fill_up();
        Ok(source)
    }

    /// What is in a zip is looked at as the folder that it is.
    fn in_zip(zip: &Path, options: &OptionArgs, known: Manifest) -> Result<Self, Exit> {
        let internal = |error: std::io::Error| Exit::internal(error.to_string());
        let folder = tempfile::tempdir().map_err(internal)?;
        let packed = pack(zip).map_err(wrong)?;
        unpack(&packed.bytes[..], folder.path()).map_err(wrong)?;
        let mut source = Self::at_or(folder.path(), options, known)?;
        let unnamed = text(folder.path().file_name());
        if unnamed.is_some_and(|unnamed| unnamed == source.manifest.name) {
            text(zip.file_stem())
                .unwrap_or_default()
                .clone_into(&mut source.manifest.name);
        }
        source.unpacked = Some(Unpacked(Arc::new(folder)));
        Ok(source)
    }

    /// What is in the artifact of this digest, where `known` is what is to be taken for code without an
    /// `umbel.toml`.
    pub(crate) fn in_artifact(
        packed: &[u8],
        digest: Digest,
        options: &OptionArgs,
        known: Manifest,
    ) -> Result<Self, Exit> {
        let internal = |error: std::io::Error| Exit::internal(error.to_string());
        let folder = tempfile::tempdir().map_err(internal)?;
        let found = unpack(packed, folder.path()).map_err(wrong)?.digest;
        if found != digest {
            return Err(Exit::internal(format!(
                "the coordinator sent artifact {found} in place of {digest}"
            )));
        }
        let mut source = Self::at_or(folder.path(), options, known)?;
        source.unpacked = Some(Unpacked(Arc::new(folder)));
        Ok(source)
    }

    /// Adds what the code says by itself.
    fn fill_up(&mut self) {
        let Self { manifest, code, .. } = self;
        // The code's own place is told by `code` from here on.
        manifest.path = None;
        manifest.runtime = manifest.runtime.or_else(|| Runtime::of(code));
        let is_file = code.is_file();
        if manifest.name.is_empty() {
            let name = if is_file {
                text(code.file_stem())
            } else {
                text(code.file_name())
            };
            manifest.name = name.unwrap_or_default().to_owned();
        }
        let (Some(file), Some(module)) = (text(code.file_name()), text(code.file_stem())) else {
            return;
        };
        match manifest.runtime {
            Some(Runtime::Python | Runtime::Node) if is_file => {
                let function = manifest.handler.as_deref().unwrap_or("handler");
                if !function.contains('.') {
                    manifest.handler = Some(format!("{module}.{function}"));
                }
            }
            Some(Runtime::Exec | Runtime::Lambda) if is_file && manifest.command.is_empty() => {
                manifest.command = vec![format!("./{file}")];
            }
            Some(Runtime::Wasm) if is_file && manifest.command.is_empty() => {
                manifest.command = vec![file.to_owned()];
            }
            _ => {}
        }
    }
}

fn wrong(error: umbel_artifact::Error) -> Exit {
    Exit::usage(error.to_string())
}

fn text(part: Option<&OsStr>) -> Option<&str> {
    part.and_then(OsStr::to_str)
}

fn read(file: &Path) -> Result<Manifest, Exit> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Exit::usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(config::parse(file, &text)?)
}

/// The code that a manifest names must lie beside or below it: it is what gets published.
fn inside(folder: &Path, within: &Path) -> Result<PathBuf, Exit> {
    let shown = within.display();
    let code = folder.join(within).canonicalize().map_err(|error| {
        Exit::usage(format!(
            "`path` {shown} in {} cannot be read: {error}",
            folder.join(FILE_NAME).display()
        ))
    })?;
    if code.starts_with(folder) {
        Ok(code)
    } else {
        Err(Exit::usage(format!(
            "`path` {shown} in {} leads out of its folder; put the manifest above the code",
            folder.join(FILE_NAME).display()
        )))
    }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn at(path: &Path) -> Result<Source, Exit> {
        Source::at(path, &OptionArgs::default())
    }

    fn refused(path: &Path) -> String {
        at(path).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_manifest_beside_the_code_says_it_all() {
        let folder = folder(&[(
            FILE_NAME,
            "name = \"resize\"\nruntime = \"python\"\nhandler = \"app.run\"\nmemory_mb = 64\nwarm = 2\npure = true\n[environment]\nLEVEL = \"3\"\n",
        )]);
        let source = at(folder.path()).expect("a function");
        assert_eq!(source.code, folder.path().canonicalize().expect("a path"));
        let Manifest {
            name, warm, pure, ..
        } = &source.manifest;
        assert_eq!(
            (name.as_str(), *warm, *pure),
            ("resize", Some(2), Some(true))
        );
        let spec = source.manifest.spec().expect("sound");
        assert_eq!(
            (spec.runtime, spec.environment["LEVEL"].as_str()),
            (Runtime::Python, "3")
        );
        let by_file = at(&folder.path().join(FILE_NAME)).expect("the same");
        assert_eq!(by_file, source);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
        let folder = folder(&[(
            FILE_NAME,
            "name = \"a\"\nruntime = \"python\"\nhandeler = \"app.run\"\n",
        )]);
        let said = refused(folder.path());
        assert!(
            said.ends_with("umbel.toml:3: unknown option `handeler`; did you mean `handler`?"),
            "{said}"
        );
    }

    #[test]
    fn a_runtime_that_does_not_exist_is_named_with_those_that_do() {
        let folder = folder(&[(FILE_NAME, "name = \"a\"\nruntime = \"pyhton\"\n")]);
        let said = refused(folder.path());
        assert!(
            said.contains("umbel.toml:2: ") && said.contains("`python`"),
            "{said}"
        );
    }

    #[test]
    fn what_code_can_only_mean_need_not_be_said() {
        let folder = folder(&[
            ("lam/bootstrap", "#!/bin/sh\n"),
            ("one.py", ""),
            ("two.wasm", ""),
            ("plain", ""),
        ]);
        let manifest = |name: &str| at(&folder.path().join(name)).expect("readable").manifest;
        assert_eq!(manifest("lam").runtime, None);
        let bootstrap = folder.path().join("lam/bootstrap");
        fs::set_permissions(bootstrap, fs::Permissions::from_mode(0o755)).expect("chmod");
        assert_eq!(
            (manifest("lam").runtime, manifest("lam").name.as_str()),
            (Some(Runtime::Lambda), "lam")
        );
        let python = manifest("one.py");
        assert_eq!(
            (python.name.as_str(), python.handler.as_deref()),
            ("one", Some("one.handler"))
        );
        assert_eq!(manifest("two.wasm").command, ["two.wasm"]);
        let said = manifest("plain")
            .spec()
            .expect_err("no runtime")
            .to_string();
        assert!(said.contains("one of exec, lambda, python"), "{said}");
    }

    #[test]
    fn the_code_lies_below_its_manifest() {
        let folder = folder(&[
            ("in/umbel.toml", "path = \"code.wasm\"\n"),
            ("in/code.wasm", ""),
            ("out/umbel.toml", "path = \"../in/code.wasm\"\n"),
            ("gone/umbel.toml", "path = \"nothing\"\n"),
        ]);
        let source = at(&folder.path().join("in")).expect("a function");
        assert!(source.code.ends_with("in/code.wasm"));
        assert_eq!(source.manifest.runtime, Some(Runtime::Wasm));
        let said = refused(&folder.path().join("out"));
        assert!(said.contains("leads out of its folder"), "{said}");
        assert!(refused(&folder.path().join("gone")).contains("`path` nothing"));
        assert!(refused(Path::new("/no/such")).contains("cannot read /no/such"));
    }
}
