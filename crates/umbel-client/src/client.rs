//! The connection to a coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use umbel_core::limit::MESSAGE_BYTES_MAX;
use umbel_proto::v1::cluster_service_client::ClusterServiceClient;
use umbel_proto::v1::function_service_client::FunctionServiceClient;
use umbel_proto::v1::job_service_client::JobServiceClient;
use uuid::Uuid;

use crate::{Error, JobSpec, Submission};

/// How long a link may stay broken before uploads, watches and results give up.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(300);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A host that vanished without a word is noticed after these two.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(10);
/// Results flow at the speed of the reader, not of the round trip.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A coordinator, seen from outside. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    shared: Arc<Shared>,
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    url: String,
    /// Whether the coordinator ever answered: before that nothing is tried twice.
    reached: AtomicBool,
    /// Chance for the waits, so that clients do not come back in step.
    chance: AtomicU64,
}

impl Client {
    /// Makes a client of the coordinator at `url`. It connects when it is first used.
    ///
    /// # Errors
    /// [`Error::Address`] if `url` is none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::connect_over(url, |endpoint| endpoint.connect_lazy())
    }

    /// The same over another network than TCP: `channel` makes a channel of the endpoint, such as
    /// by [`Endpoint::connect_with_connector_lazy`].
    ///
    /// # Errors
    /// [`Error::Address`] if `url` is none.
    pub fn connect_over(
        url: impl Into<String>,
        channel: impl FnOnce(Endpoint) -> Channel,
    ) -> Result<Self, Error> {
        let url = url.into();
        let wrong = |cause: String| Error::Address {
            url: url.clone(),
            cause,
        };
        if !url.starts_with("http://") {
            return Err(wrong("it does not begin with http://".to_owned()));
        }
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| wrong(error.to_string()))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(SIGN_OF_LIFE_EVERY)
            .keep_alive_timeout(SIGN_OF_LIFE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let channel = channel(endpoint);
        let shared = Arc::new(Shared {
            url,
            reached: AtomicBool::new(false),
            chance: AtomicU64::new(Uuid::new_v4().as_u64_pair().1),
        });
        Ok(Self {
            channel,
            shared,
            patience: PATIENCE_DEFAULT,
        })
    }

    /// The same client with another patience for broken links than [`PATIENCE_DEFAULT`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same client, whose waits are chosen by this number instead of by chance.
    #[doc(hidden)]
    #[must_use]
    pub fn with_chance(self, chance: u64) -> Self {
        self.shared.chance.store(chance, Ordering::Relaxed);
        self
    }

    /// The next number, of 256, that decides how long a wait is.
    pub(crate) fn chance(&self) -> u8 {
        // A step that is odd and large visits all numbers; the high bits change the most.
        let step = 0x9e37_79b9_7f4a_7c15;
        let chance = self.shared.chance.fetch_add(step, Ordering::Relaxed);
        chance.to_be_bytes()[0]
    }

    /// The coordinator's address.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Begins to submit a job; its inputs come next.
    pub fn submit(&self, spec: JobSpec) -> Submission {
        Submission::new(self.clone(), spec)
    }

    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn was_reached(&self) -> bool {
        self.shared.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_reached(&self) {
        self.shared.reached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn function_service(&self) -> FunctionServiceClient<Channel> {
        FunctionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// What an RPC answered, in this library's words.
    pub(crate) fn answer<T>(&self, answer: Result<T, Status>) -> Result<T, Error> {
        match answer {
            Ok(answer) => {
                self.mark_reached();
                Ok(answer)
            }
            Err(status) => Err(Error::from_status(self.url(), &status)),
        }
    }

    pub(crate) fn nonsense(&self, what: impl Into<String>) -> Error {
        Error::Nonsense {
            url: self.url().to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn broken(&self, cause: &str) -> Error {
        Error::Unreachable {
            url: self.url().to_owned(),
            cause: cause.to_owned(),
        }
    }

    /// A message that must be there but that proto3 cannot oblige anybody to send.
    pub(crate) fn present<T>(&self, value: Option<T>, what: &str) -> Result<T, Error> {
        value.ok_or_else(|| self.nonsense(format!("no {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_without_a_scheme_says_how_to_write_it() {
        for url in ["127.0.0.1:7600", "", "ftp://host", "http://"] {
            let error = Client::connect(url).unwrap_err();
            assert!(
                error.to_string().ends_with("write http://HOST:PORT"),
                "{url}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::connect(&url)
            .unwrap()
            .get("last")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&url), "{error}");
    }
}
