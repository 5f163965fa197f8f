//! How long a broken link is borne, and how the waits grow.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Client, Error};

const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Bears a broken link for a while, counted from the first failure behind any progress.
///
/// A client that never had an answer from its coordinator has none: a wrong address should be
/// known at once.
#[derive(Debug)]
pub(crate) struct Patience {
    client: Client,
    broken_since: Option<Instant>,
    wait: Duration,
}

impl Patience {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            broken_since: None,
            wait: WAIT_FIRST,
        }
    }

    /// Something was heard, so that the next failure is a first one again.
    pub(crate) fn progress(&mut self) {
        self.broken_since = None;
        self.wait = WAIT_FIRST;
    }

    /// Waits before the next attempt, or gives the error back when there is no point in one.
    pub(crate) async fn bear(&mut self, error: Error) -> Result<(), Error> {
        let since = *self.broken_since.get_or_insert_with(Instant::now);
        if !error.is_passing()
            || !self.client.was_reached()
            || since.elapsed() >= self.client.patience()
        {
            return Err(error);
        }
        tracing::debug!(%error, wait = ?self.wait, "the link broke; connecting again");
        sleep(jittered(self.wait, self.client.chance())).await;
        self.wait = (self.wait * 2).min(WAIT_MAX);
        Ok(())
    }
}

/// Half of the wait and a random part of the other half: clients that lost the same coordinator
/// do not come back in step.
fn jittered(wait: Duration, chance: u8) -> Duration {
    let dice = f64::from(chance) / 255.0;
    wait.mul_f64(0.5 + dice / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_loses_at_most_half() {
        for chance in 0..=u8::MAX {
            let wait = jittered(WAIT_MAX, chance);
            assert!(wait >= WAIT_MAX / 2 && wait <= WAIT_MAX, "{wait:?}");
        }
    }

    fn broken() -> Error {
        Error::Unreachable {
            url: String::new(),
            cause: String::new(),
        }
    }

    #[tokio::test]
    async fn patience_ends_after_its_time_and_progress_renews_it() {
        let client = Client::connect("http://127.0.0.1:1").unwrap();
        let client = client.with_patience(Duration::from_millis(1));
        client.mark_reached();
        let mut patience = Patience::new(&client);
        patience.bear(broken()).await.unwrap();
        assert!(
            patience.bear(broken()).await.is_err(),
            "the wait was longer than the patience"
        );
        patience.progress();
        patience.bear(broken()).await.unwrap();
    }

    #[tokio::test]
    async fn who_was_never_reached_is_not_waited_for() {
        let client = Client::connect("http://127.0.0.1:1").unwrap();
        assert!(Patience::new(&client).bear(broken()).await.is_err());
    }
}
