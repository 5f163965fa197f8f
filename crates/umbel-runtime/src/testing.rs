//! What the tests of this crate share.

use std::env;
use std::path::PathBuf;

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
