//! From a version to what runs it: the one place where the coordinator's words about a
//! published function become the runtime's.

use std::path::Path;
use std::time::Duration;

use umbel_core::function::{Runtime, Runtimes, Version};
use umbel_runtime::{Bounds, Executable, Program, Spec};

/// The runtime as `umbel-runtime` calls it.
fn named(runtime: Runtime) -> umbel_runtime::Runtime {
    match runtime {
        Runtime::Exec => umbel_runtime::Runtime::Exec,
        Runtime::Lambda => umbel_runtime::Runtime::Lambda,
        Runtime::Python => umbel_runtime::Runtime::Python,
        Runtime::Node => umbel_runtime::Runtime::Node,
        Runtime::Wasm => umbel_runtime::Runtime::Wasm,
    }
}

/// What runs a version whose artifact lies in a folder, or in words why nothing can.
pub(crate) fn executable(version: &Version, folder: &Path) -> Result<Executable, String> {
    let spec = &version.spec;
    let mut environment = spec.environment.clone();
    if !matches!(spec.runtime, Runtime::Exec | Runtime::Wasm) {
        // Lambda tells it too.
        environment
            .entry("AWS_LAMBDA_FUNCTION_VERSION".to_owned())
            .or_insert_with(|| version.number.to_string());
    }
    let spec = Spec {
        handler: Some(spec.handler.clone()).filter(|handler| !handler.is_empty()),
        command: spec.command.clone(),
        environment,
        bounds: Bounds {
            memory_bytes_max: spec.memory_bytes,
            files_max: spec.files_max,
            processes_max: spec.processes_max,
        },
        timeout: spec.timeout_ms.map(Duration::from_millis),
        init_timeout: spec.init_timeout_ms.map(Duration::from_millis),
        idle_timeout: spec.idle_timeout_ms.map(Duration::from_millis),
        ..Spec::new(&version.function, named(spec.runtime))
    };
    spec.executable(Some(folder))
        .map_err(|error| error.to_string())
}

/// The runtimes that this host has: programs run anywhere, a language needs its interpreter, and
/// WebAssembly a build with it.
#[must_use]
pub fn runtimes() -> Runtimes {
    let has = |interpreter: &str| {
        let program = Program::new([interpreter]);
        program.is_ok_and(|program| program.is_startable())
    };
    let mut runtimes = Runtimes::from_iter([Runtime::Exec, Runtime::Lambda]);
    runtimes.extend(has("python3").then_some(Runtime::Python));
    runtimes.extend(has("node").then_some(Runtime::Node));
    let wasm = umbel_runtime::Runtime::Wasm.is_built();
    runtimes.extend(wasm.then_some(Runtime::Wasm));
    runtimes
}
