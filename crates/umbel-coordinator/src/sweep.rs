//! What happens now and then beside the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use umbel_store::{Error, Store};

use crate::engine::Engine;
use crate::room::Room;

/// How often figures are folded, the disk is looked at, and deleted jobs are looked for.
const EVERY: Duration = Duration::from_millis(500);
/// The pause between two steps, so that a large deletion leaves the disk to the living.
const PAUSE: Duration = Duration::from_millis(20);

/// Removes what was deleted, step by step, and tells the machine how much is left, until `over`.
pub(crate) async fn run(
    store: Store,
    room: Room,
    engine: Engine,
    keep_bytes: u64,
    over: CancellationToken,
) {
    let signals = Arc::clone(engine.signals());
    let work = async {
        loop {
            signals.metrics.fold();
            let pause = match step(&store, &room).await {
                Ok(Step::More) => PAUSE,
                Ok(Step::Busy) => EVERY,
                Ok(Step::Clean) => {
                    let live_bytes = store.live_bytes();
                    if engine.stored(live_bytes).await.is_err() {
                        return;
                    }
                    // Told once a turn: what it lets go is marked before the next look.
                    if engine.look(|_, _| ()).await.is_err() {
                        return;
                    }
                    // What the machine lets go for room is removed at once, and the next follows.
                    let too_much = keep_bytes > 0 && live_bytes > keep_bytes;
                    if too_much { PAUSE } else { EVERY }
                }
                Err(error) => {
                    tracing::warn!(%error, "deleted jobs cannot be removed from disk now");
                    EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = over.cancelled() => {}
        () = signals.ended.cancelled() => {}
        () = work => {}
    }
}

/// What a step has found.
enum Step {
    /// It removed something, and there may be more.
    More,
    /// What lives has to go first.
    Busy,
    /// Nothing is left of deleted jobs.
    Clean,
}

async fn step(store: &Store, room: &Room) -> Result<Step, Error> {
    let (store, room) = (store.clone(), room.clone());
    let step = tokio::task::spawn_blocking(move || {
        room.look();
        // A sweep never adds to a full line.
        if store.undurable_bytes() > store.undurable_bytes_max() / 2 {
            return Ok(Step::Busy);
        }
        let more = store.sweep_step()?;
        Ok(if more { Step::More } else { Step::Clean })
    });
    // A step that broke has told why.
    step.await.unwrap_or(Ok(Step::Busy))
}
