//! `RolloutService`.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::rollout::{RolloutMove, RolloutView, RolloutWish};
use umbel_core::route::Key;
use umbel_proto::convert::Invalid;
use umbel_proto::v1::rollout_service_server::RolloutService;
use umbel_proto::{convert, status, v1};
use umbel_route::Pointer;
use uuid::Uuid;

use super::job::{ANSWERS_MAX, Answers, answers};
use super::route::names;
use super::{Api, opened, shadow, unexpected};
use crate::rollout::shown;

/// How often a rollout is looked at for its watchers.
const EVERY: Duration = Duration::from_secs(1);

#[tonic::async_trait]
impl RolloutService for Api {
    type WatchRolloutStream = Answers<v1::WatchRolloutResponse>;
    type ListShadowDifferencesStream = Answers<v1::ListShadowDifferencesResponse>;

    async fn start_rollout(
        &self,
        request: Request<v1::StartRolloutRequest>,
    ) -> Result<Response<v1::StartRolloutResponse>, Status> {
        let salt = Uuid::new_v4().as_u64_pair().1;
        let wish = convert::start_rollout(request.into_inner(), salt).map_err(status::invalid)?;
        check(&wish).map_err(status::invalid)?;
        let wish = Box::new(wish);
        let reply = self
            .ask(|reply| Event::StartRollout { reply, wish })
            .await?;
        let rollout = Some(computed(view_of(reply)?).await?);
        Ok(Response::new(v1::StartRolloutResponse { rollout }))
    }

    async fn get_rollout(
        &self,
        request: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<v1::GetRolloutResponse>, Status> {
        let v1::GetRolloutRequest { function, alias } = request.into_inner();
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let rollout = Some(computed(self.rollout(&function, &alias).await?).await?);
        Ok(Response::new(v1::GetRolloutResponse { rollout }))
    }

    async fn watch_rollout(
        &self,
        request: Request<v1::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let open = opened(&self.watches)?;
        let v1::WatchRolloutRequest { function, alias } = request.into_inner();
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        // What is not there is refused at once, and not in the stream.
        self.rollout(&function, &alias).await?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(watch(self.clone(), (function, alias), to));
        Ok(answers(open, from))
    }

    async fn pause_rollout(
        &self,
        request: Request<v1::PauseRolloutRequest>,
    ) -> Result<Response<v1::PauseRolloutResponse>, Status> {
        let v1::PauseRolloutRequest {
            function,
            alias,
            by,
        } = request.into_inner();
        let moved = self.move_rollout((function, alias, by), RolloutMove::Pause);
        let rollout = Some(moved.await?);
        Ok(Response::new(v1::PauseRolloutResponse { rollout }))
    }

    async fn resume_rollout(
        &self,
        request: Request<v1::ResumeRolloutRequest>,
    ) -> Result<Response<v1::ResumeRolloutResponse>, Status> {
        let v1::ResumeRolloutRequest {
            function,
            alias,
            by,
        } = request.into_inner();
        let moved = self.move_rollout((function, alias, by), RolloutMove::Resume);
        let rollout = Some(moved.await?);
        Ok(Response::new(v1::ResumeRolloutResponse { rollout }))
    }

    async fn promote_rollout(
        &self,
        request: Request<v1::PromoteRolloutRequest>,
    ) -> Result<Response<v1::PromoteRolloutResponse>, Status> {
        let v1::PromoteRolloutRequest {
            function,
            alias,
            by,
        } = request.into_inner();
        let moved = self.move_rollout((function, alias, by), RolloutMove::Promote);
        let rollout = Some(moved.await?);
        Ok(Response::new(v1::PromoteRolloutResponse { rollout }))
    }

    async fn roll_back_rollout(
        &self,
        request: Request<v1::RollBackRolloutRequest>,
    ) -> Result<Response<v1::RollBackRolloutResponse>, Status> {
        let v1::RollBackRolloutRequest {
            function,
            alias,
            by,
        } = request.into_inner();
        let moved = self.move_rollout((function, alias, by), RolloutMove::RollBack);
        let rollout = Some(moved.await?);
        Ok(Response::new(v1::RollBackRolloutResponse { rollout }))
    }

    async fn start_shadow(
        &self,
        request: Request<v1::StartShadowRequest>,
    ) -> Result<Response<v1::StartShadowResponse>, Status> {
        self.set_shadow(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn stop_shadow(
        &self,
        request: Request<v1::StopShadowRequest>,
    ) -> Result<Response<v1::StopShadowResponse>, Status> {
        self.end_shadow(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_shadow(
        &self,
        request: Request<v1::GetShadowRequest>,
    ) -> Result<Response<v1::GetShadowResponse>, Status> {
        self.shadow(request.into_inner()).await.map(Response::new)
    }

    async fn list_shadow_differences(
        &self,
        request: Request<v1::ListShadowDifferencesRequest>,
    ) -> Result<Response<Self::ListShadowDifferencesStream>, Status> {
        let open = opened(&self.results)?;
        let jobs = self.differing(request.into_inner()).await?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(shadow::send_differences(self.clone(), jobs, to));
        Ok(answers(open, from))
    }
}

/// Checks what only the language of keys knows.
fn check(wish: &RolloutWish) -> Result<(), Invalid> {
    if let Some(Key::Pointer(pointer)) = &wish.key {
        let checked = Pointer::parse(pointer);
        checked.map_err(|problem| Invalid::bad("key", problem))?;
    }
    Ok(())
}

fn view_of(reply: Reply) -> Result<RolloutView, Status> {
    match reply {
        Reply::Rollout(view) => Ok(*view),
        reply => Err(unexpected(&reply)),
    }
}

/// A rollout as it is shown; intervals are computed off the threads that serve.
async fn computed(view: RolloutView) -> Result<v1::Rollout, Status> {
    let computed = tokio::task::spawn_blocking(move || shown(&view));
    computed
        .await
        .map_err(|error| Status::internal(error.to_string()))
}

impl Api {
    async fn rollout(&self, function: &str, alias: &str) -> Result<RolloutView, Status> {
        let (function, alias) = (function.to_owned(), alias.to_owned());
        let view = self
            .engine
            .look(move |machine, _| machine.rollout(&function, &alias));
        let view = view.await.map_err(|closed| self.gone(closed))?;
        view.map_err(|refusal: Refusal| status::refused(&refusal))
    }

    async fn move_rollout(
        &self,
        (function, alias, by): (String, String, String),
        to: RolloutMove,
    ) -> Result<v1::Rollout, Status> {
        let asked = convert::move_rollout(function, alias, by).map_err(status::invalid)?;
        let (function, alias, by) = asked;
        let moved = self.ask(|reply| Event::MoveRollout {
            reply,
            function,
            alias,
            to,
            by,
        });
        computed(view_of(moved.await?)?).await
    }
}

type Told = mpsc::Sender<Result<v1::WatchRolloutResponse, Status>>;

/// Tells about a rollout until it has ended, the client is gone or the coordinator stops.
async fn watch(api: Api, alias: (String, String), answers: Told) {
    let ended = tokio::select! {
        () = answers.closed() => return,
        () = api.engine.signals().draining.cancelled() => Err(super::gone(api.engine.signals())),
        ended = tell(&api, alias, &answers) => ended,
    };
    if let Err(status) = ended {
        // Who is gone needs no words.
        let _ = answers.send(Err(status)).await;
    }
}

async fn tell(
    api: &Api,
    (function, alias): (String, String),
    answers: &Told,
) -> Result<(), Status> {
    let mut last = None;
    loop {
        let view = api.rollout(&function, &alias).await?;
        let is_over = view.rollout.state.is_over();
        if last.as_ref() != Some(&view) {
            let rollout = Some(computed(view.clone()).await?);
            let answer = v1::WatchRolloutResponse { rollout };
            if answers.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
            last = Some(view);
        }
        if is_over {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}
