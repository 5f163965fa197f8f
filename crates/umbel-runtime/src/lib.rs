//! Runs one input through one function: native Rust functions, programs, warm processes, and (with
//! the feature `wasm`) WebAssembly.
//!
//! The crate knows no network and no job. A worker looks a target up in its [`Catalog`] once for
//! a whole chunk, then invokes the [`Executable`] that it found for each input, on the thread of
//! a slot. All of it is synchronous: a native function is a plain call (no task, timer, span or
//! allocation), a program is attended to by one `poll` loop, and a warm process ([`Lambda`]) by an
//! endpoint that runs on that same thread, for as long as an invocation does.
//!
//! Every process that is started runs under a supervisor, a process too ([`install_supervisor`]),
//! which ends all that descends from it with its invocation, its instance, and the worker.
//!
//! ```
//! use umbel_runtime::{CancelFlag, Catalog, Context, Limits};
//!
//! let mut catalog = Catalog::with_builtins(false);
//! catalog.register("upper", |input: &[u8]| {
//!     std::str::from_utf8(input).map(|text| text.to_uppercase())
//! })?;
//!
//! let cancel = CancelFlag::new();
//! let context = Context {
//!     job_id: "0192f0c1-0000-7000-8000-000000000000",
//!     index: 0,
//!     attempt: 1,
//!     cancel: &cancel,
//!     deadline: None,
//!     limits: Limits::default(),
//! };
//! let mut outputs = Vec::new();
//! let upper = catalog.find("upper").ok_or("registered above")?;
//! let execution = upper.invoke(b"umbel", &mut outputs, &context);
//! assert!(execution.outcome.is_ok());
//! assert_eq!(outputs, b"UMBEL");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catalog;
mod clock;
mod context;
mod exec;
mod executable;
mod failure;
mod lambda;
mod native;
mod output;
mod process;
mod spec;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(feature = "wasm")]
mod wasm;

pub use catalog::{Catalog, Error};
pub use context::{CancelFlag, Context, Limits};
pub use exec::{Program, ProgramError};
pub use executable::{ColdStart, Executable, Execution};
pub use failure::{Failure, FailureKind};
pub use lambda::{Instances, Lambda, LambdaError};
pub use native::NativeFunction;
pub use output::Output;
pub use process::{Bounds, ConfineError, Confinement, confine, install_supervisor, supervise};
pub use spec::{Runtime, Spec, SpecError};
#[cfg(feature = "wasm")]
pub use wasm::Wasm;
