//! What the tests of this crate share.

use std::env;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use crate::exec::Program;

/// The tools that a test needs and a machine may lack. A test whose tool is missing says so and
/// passes, unless `UMBEL_TEST_REQUIRE` (such as `python,node`) names what it needs.
pub(crate) fn tool(test: &str, feature: &str, program: &str) -> Option<PathBuf> {
    let located = Program::new([program]).unwrap().locate();
    if let Err(failure) = &located {
        let required = env::var("UMBEL_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|one| one.trim() == feature),
            "{test} needs {program}, which UMBEL_TEST_REQUIRE asks for: {failure}"
        );
        println!("SKIPPED {test}: {failure}");
    }
    located.ok()
}

/// Set in the process that is these tests' supervisor.
const ROLE: &str = "UMBEL_TEST_ROLE";

/// Has these tests, started again, be their own supervisor.
pub(crate) fn install_supervisor() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture", "testing::supervisor", "--skip"])
            .env(ROLE, "supervisor");
        crate::process::install_supervisor(command).unwrap();
    });
}

#[test]
fn supervisor() {
    if env::var_os(ROLE).is_some() {
        let scratch = env::args().next_back().unwrap();
        let socket = io::stdin().as_fd().try_clone_to_owned().unwrap();
        crate::process::supervise(socket, Path::new(&scratch)).unwrap();
    }
}
