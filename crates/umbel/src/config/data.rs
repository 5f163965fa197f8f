//! Where the data lives when nobody says.

use std::env;
use std::path::{Path, PathBuf};

use super::Error;

/// The directory that was named, or the default one.
pub(crate) fn directory(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    named.map_or_else(default_directory, Ok)
}

/// `$XDG_DATA_HOME/umbel`, else `~/.local/share/umbel`.
pub(super) fn default_directory() -> Result<PathBuf, Error> {
    // Only absolute paths count in these variables: a relative one would move the data with the
    // directory that the command was typed in.
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    directory_under(
        absolute("XDG_DATA_HOME").as_deref(),
        absolute("HOME").as_deref(),
    )
}

/// Where artifacts are kept when nobody says: `$XDG_CACHE_HOME/umbel`, else `~/.cache/umbel`.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    let dir = absolute("XDG_CACHE_HOME").or_else(home)?;
    Some(dir.join("umbel"))
}

fn directory_under(data_home: Option<&Path>, home: Option<&Path>) -> Result<PathBuf, Error> {
    match (data_home, home) {
        (Some(data_home), _) => Ok(data_home.join("umbel")),
        (None, Some(home)) => Ok(home.join(".local/share/umbel")),
        (None, None) => Err(Error::option(
            "data",
            "neither XDG_DATA_HOME nor HOME names a directory to keep the data in; say one with --data DIR",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_home_goes_before_the_home() {
        let found = directory_under(Some(Path::new("/x")), Some(Path::new("/h")));
        assert_eq!(found.expect("a directory"), Path::new("/x/umbel"));
        let found = directory_under(None, Some(Path::new("/h")));
        assert_eq!(
            found.expect("a directory"),
            Path::new("/h/.local/share/umbel")
        );
    }

    #[test]
    fn without_any_home_the_flag_is_named() {
        let error = directory_under(None, None).expect_err("no home");
        assert!(error.to_string().contains("--data DIR"), "{error}");
    }
}
