//! What happens now and then beside the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use umbel_store::Store;

use crate::engine::Signals;

/// How often deleted jobs are looked for, and figures folded.
const EVERY: Duration = Duration::from_secs(2);
/// The pause between two steps, so that a large deletion leaves the disk to the living.
const PAUSE: Duration = Duration::from_millis(20);

/// Removes what was deleted, step by step, until `over`.
pub(crate) async fn run(store: Store, signals: Arc<Signals>, over: CancellationToken) {
    let work = async {
        loop {
            signals.metrics.fold();
            let store = store.clone();
            let step = tokio::task::spawn_blocking(move || {
                // What lives goes first: a sweep never adds to a full line.
                if store.undurable_bytes() > store.undurable_bytes_max() / 2 {
                    return Ok(false);
                }
                store.sweep_step()
            });
            let more = match step.await {
                Ok(Ok(more)) => more,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "deleted jobs cannot be removed from disk now");
                    false
                }
                Err(_) => false,
            };
            tokio::time::sleep(if more { PAUSE } else { EVERY }).await;
        }
    };
    tokio::select! {
        () = over.cancelled() => {}
        () = signals.ended.cancelled() => {}
        () = work => {}
    }
}
