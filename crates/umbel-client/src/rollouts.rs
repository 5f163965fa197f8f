//! Rollouts: starting, watching and moving them.

use futures::stream::{self, Stream, StreamExt as _};
use tonic::Streaming;
use umbel_proto::v1;
use umbel_proto::v1::rollout_service_client::RolloutServiceClient;

use crate::patience::Patience;
use crate::{Client, Error};

impl Client {
    /// Begins to roll a version out.
    ///
    /// # Errors
    /// `ROLLOUT_UNDER_WAY`, `ROLLOUT_IMPOSSIBLE` and what else stands against it, or the
    /// coordinator cannot be reached.
    pub async fn start_rollout(
        &self,
        request: v1::StartRolloutRequest,
    ) -> Result<v1::Rollout, Error> {
        let answer = self.answer(self.rollouts().start_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// The rollout of an alias that is under way, or the last that was.
    ///
    /// # Errors
    /// `NO_ROLLOUT`, or the coordinator cannot be reached.
    pub async fn rollout(&self, function: &str, alias: &str) -> Result<v1::Rollout, Error> {
        let request = v1::GetRolloutRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
        };
        let answer = self.answer(self.rollouts().get_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// The rollout of an alias now, and whenever it has changed, until it has ended. Connects
    /// again when the link breaks.
    pub fn watch_rollout(
        &self,
        function: &str,
        alias: &str,
    ) -> impl Stream<Item = Result<v1::Rollout, Error>> + Send + use<> {
        let watch = Watch {
            client: self.clone(),
            request: v1::WatchRolloutRequest {
                function: function.to_owned(),
                alias: alias.to_owned(),
            },
            link: None,
            ended: false,
            patience: Patience::new(self),
        };
        stream::try_unfold(watch, |mut watch| async move {
            Ok(watch.next().await?.map(|rollout| (rollout, watch)))
        })
        .boxed()
    }

    /// Stays at the step.
    ///
    /// # Errors
    /// `NO_ROLLOUT`, `ROLLOUT_OVER`, or the coordinator cannot be reached.
    pub async fn pause_rollout(
        &self,
        request: v1::PauseRolloutRequest,
    ) -> Result<v1::Rollout, Error> {
        let answer = self.answer(self.rollouts().pause_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// Goes on.
    ///
    /// # Errors
    /// `NO_ROLLOUT`, `ROLLOUT_OVER`, or the coordinator cannot be reached.
    pub async fn resume_rollout(
        &self,
        request: v1::ResumeRolloutRequest,
    ) -> Result<v1::Rollout, Error> {
        let answer = self.answer(self.rollouts().resume_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// Replaces the old version now, whatever the guards say.
    ///
    /// # Errors
    /// `NO_ROLLOUT`, `ROLLOUT_OVER`, or the coordinator cannot be reached.
    pub async fn promote_rollout(
        &self,
        request: v1::PromoteRolloutRequest,
    ) -> Result<v1::Rollout, Error> {
        let answer = self.answer(self.rollouts().promote_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// Gives the old version back what it had.
    ///
    /// # Errors
    /// `NO_ROLLOUT`, `ROLLOUT_OVER`, or the coordinator cannot be reached.
    pub async fn roll_back_rollout(
        &self,
        request: v1::RollBackRolloutRequest,
    ) -> Result<v1::Rollout, Error> {
        let answer = self.answer(self.rollouts().roll_back_rollout(request).await)?;
        Ok(answer.into_inner().rollout.unwrap_or_default())
    }

    /// Lets copies of a sample of what is submitted over an alias run on another version too.
    ///
    /// # Errors
    /// `NOT_PURE` and what else stands against it, or the coordinator cannot be reached.
    pub async fn start_shadow(&self, request: v1::StartShadowRequest) -> Result<v1::Shadow, Error> {
        let answer = self.answer(self.rollouts().start_shadow(request).await)?;
        self.present(answer.into_inner().shadow, "shadow")
    }

    /// Copies nothing more.
    ///
    /// # Errors
    /// `NO_SHADOW`, or the coordinator cannot be reached.
    pub async fn stop_shadow(&self, function: &str, alias: &str) -> Result<(), Error> {
        let request = v1::StopShadowRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
        };
        self.answer(self.rollouts().stop_shadow(request).await)
            .map(drop)
    }

    /// Where copies of what is submitted over an alias go, and what came of the latest.
    ///
    /// # Errors
    /// When there is no such alias, or the coordinator cannot be reached.
    pub async fn shadow(
        &self,
        function: &str,
        alias: &str,
    ) -> Result<v1::GetShadowResponse, Error> {
        let request = v1::GetShadowRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
        };
        let answer = self.answer(self.rollouts().get_shadow(request).await)?;
        Ok(answer.into_inner())
    }

    /// What came out otherwise of copies, by job and index. A link that breaks ends it with an
    /// error: what there is may be asked for again.
    ///
    /// # Errors
    /// When there is no such alias or job, or the coordinator cannot be reached.
    pub async fn shadow_differences(
        &self,
        request: v1::ListShadowDifferencesRequest,
    ) -> Result<impl Stream<Item = Result<v1::ShadowDifference, Error>> + Send + use<>, Error> {
        let answer = self.rollouts().list_shadow_differences(request).await;
        let messages = self.answer(answer)?.into_inner();
        let client = self.clone();
        Ok(messages.map(move |message| {
            let difference = client.answer(message)?.difference;
            client.present(difference, "difference")
        }))
    }

    fn rollouts(&self) -> RolloutServiceClient<tonic::transport::Channel> {
        RolloutServiceClient::new(self.channel())
    }
}

struct Watch {
    client: Client,
    request: v1::WatchRolloutRequest,
    link: Option<Streaming<v1::WatchRolloutResponse>>,
    ended: bool,
    patience: Patience,
}

impl Watch {
    async fn next(&mut self) -> Result<Option<v1::Rollout>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match self.heard().await {
                Ok(rollout) => {
                    self.patience.progress();
                    self.ended = rollout.ended_at.is_some();
                    return Ok(Some(rollout));
                }
                Err(error) => {
                    self.link = None;
                    self.patience.bear(error).await?;
                }
            }
        }
    }

    async fn heard(&mut self) -> Result<v1::Rollout, Error> {
        if self.link.is_none() {
            let request = self.request.clone();
            let answer = self.client.rollouts().watch_rollout(request).await;
            self.link = Some(self.client.answer(answer)?.into_inner());
        }
        let link = self.client.present(self.link.as_mut(), "link")?;
        let response = self.client.answer(link.message().await)?;
        let response =
            response.ok_or_else(|| self.client.broken("the stream ended before the rollout"))?;
        self.client.present(response.rollout, "rollout")
    }
}
