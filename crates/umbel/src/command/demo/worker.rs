//! A worker that knows the demo's function: what a Rust program does to be a worker with
//! functions of its own.

use umbel_runtime::Catalog;

use super::primes;
use crate::command::worker_start::{self, Args};
use crate::exit::Exit;
use crate::global::Global;

/// Runs the worker until it is told to leave.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let own = |catalog: &mut Catalog| catalog.register(primes::FUNCTION, primes::count);
    worker_start::serve(args, global, own).await
}
