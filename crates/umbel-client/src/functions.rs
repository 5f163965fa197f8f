//! Publishing functions, and moving their aliases.

use bytes::{Bytes, BytesMut};
use umbel_core::limit::{ARTIFACT_PACKED_BYTES_MAX, MESSAGE_BYTES_MAX};
use umbel_proto::v1;
use umbel_proto::v1::publish_version_request::Part;
use umbel_proto::v1::session_service_client::SessionServiceClient;

use crate::client::Client;
use crate::error::Error;

/// Bytes of an artifact in one message.
const PAGE_BYTES: usize = 512 << 10;

impl Client {
    /// Publishes a version of a function; the artifact is as `proto/ARTIFACT.md` says, and as
    /// long as the publication says. The version is durable when this returns.
    ///
    /// # Errors
    /// `ARTIFACT_BROKEN`, `ARTIFACT_TOO_LARGE`, `FUNCTION_BROUGHT`, or the coordinator cannot be
    /// reached.
    pub async fn publish(
        &self,
        publication: v1::Publication,
        artifact: Bytes,
    ) -> Result<v1::PublishVersionResponse, Error> {
        let first = std::iter::once(Part::Publication(publication));
        let mut rest = artifact;
        let pages = std::iter::from_fn(move || {
            let page = rest.split_to(rest.len().min(PAGE_BYTES));
            (!page.is_empty()).then_some(Part::Data(page))
        });
        let messages = first
            .chain(pages)
            .map(|part| v1::PublishVersionRequest { part: Some(part) });
        let messages = futures::stream::iter(messages);
        let answer = self.function_service().publish_version(messages).await;
        Ok(self.answer(answer)?.into_inner())
    }

    /// The bytes of an artifact, packed, by its digest: the code of every version that is made of it.
    /// What comes is not checked against the digest.
    ///
    /// # Errors
    /// `ARTIFACT_BROKEN` when no version is made of it any more, or the coordinator cannot be
    /// reached.
    pub async fn artifact(&self, digest: [u8; 32]) -> Result<Bytes, Error> {
        let mut service =
            SessionServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = v1::FetchArtifactRequest {
            digest: digest.to_vec().into(),
        };
        let mut pages = self
            .answer(service.fetch_artifact(request).await)?
            .into_inner();
        let mut bytes = BytesMut::new();
        while let Some(page) = self.answer(pages.message().await)? {
            if (bytes.len() + page.data.len()) as u64 > ARTIFACT_PACKED_BYTES_MAX {
                return Err(self.broken("an artifact that is longer than one may be"));
            }
            bytes.extend_from_slice(&page.data);
        }
        Ok(bytes.freeze())
    }

    /// A published function with its aliases and at most so many of its newest versions.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `NOT_PUBLISHED`, or the coordinator cannot be reached.
    pub async fn function(
        &self,
        name: &str,
        versions: i32,
    ) -> Result<v1::GetFunctionResponse, Error> {
        let request = v1::GetFunctionRequest {
            function: name.to_owned(),
            page_size: versions,
            page_token: String::new(),
        };
        let answer = self.function_service().get_function(request).await;
        Ok(self.answer(answer)?.into_inner())
    }

    /// Has a version made ready before an alias points at it, for a minute from now, and tells how
    /// far that is.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_VERSION`, or the coordinator cannot be reached.
    pub async fn warm(
        &self,
        function: &str,
        version: u32,
    ) -> Result<v1::WarmVersionResponse, Error> {
        let request = v1::WarmVersionRequest {
            function: function.to_owned(),
            version,
        };
        let answer = self.function_service().warm_version(request).await;
        Ok(self.answer(answer)?.into_inner())
    }

    /// Takes a version away from new jobs, or the whole function.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_VERSION`, `VERSION_IN_USE`, or the coordinator cannot be
    /// reached.
    pub async fn retire(&self, function: &str, version: Option<u32>) -> Result<(), Error> {
        let request = v1::RetireVersionRequest {
            function: function.to_owned(),
            version: version.unwrap_or(0),
        };
        self.answer(self.function_service().retire_version(request).await)?;
        Ok(())
    }

    /// Points an alias at a version; `by` is who asks, such as `user@host`.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_VERSION`, or the coordinator cannot be reached.
    pub async fn point(
        &self,
        function: &str,
        alias: &str,
        version: u32,
        by: &str,
    ) -> Result<v1::Alias, Error> {
        let request = v1::PointAliasRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
            version,
            by: by.to_owned(),
        };
        let answer = self.answer(self.routes().point_alias(request).await)?;
        Ok(answer.into_inner().alias.unwrap_or_default())
    }

    /// Points an alias back to where it pointed before.
    ///
    /// # Errors
    /// `UNKNOWN_ALIAS`, `NOTHING_TO_ROLL_BACK`, or the coordinator cannot be reached.
    pub async fn roll_back(
        &self,
        function: &str,
        alias: &str,
        by: &str,
    ) -> Result<v1::Alias, Error> {
        let request = v1::RollbackAliasRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
            by: by.to_owned(),
        };
        let answer = self.answer(self.routes().rollback_alias(request).await)?;
        Ok(answer.into_inner().alias.unwrap_or_default())
    }
}
