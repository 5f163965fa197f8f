//! `FunctionService`.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::job::Target;
use umbel_core::limit::INPUT_BYTES_MAX;
use umbel_core::policy::Labels;
use umbel_core::route::{Decision, RouteTally, Routing};
use umbel_proto::v1::function_service_server::FunctionService;
use umbel_proto::{convert, status, v1};
use umbel_route::Input;
use uuid::Uuid;

use super::token::{self, List};
use super::{Api, INVOKES_KIB_MAX, accepted, list, unexpected};

/// How long an invoke may wait and run when it does not say.
const TIMEOUT_MS: u64 = 60_000;

const _: () = assert!(INPUT_BYTES_MAX >> 10 < INVOKES_KIB_MAX);

/// How often an invoke asks a route anew that is set again meanwhile.
const ROUTES_MAX: u32 = 5;

impl Api {
    /// Runs an invocation; where an alias has a route, asks that first.
    async fn invoked(
        &self,
        target: Target,
        input: Bytes,
        timeout_ms: u64,
    ) -> Result<Reply, Status> {
        let mut decided = None;
        for _ in 0..ROUTES_MAX {
            let (target, input) = (target.clone(), input.clone());
            let asked = input.clone();
            let reply = self.engine.invoke(|reply, id| Event::Invoke {
                reply,
                id,
                target,
                input,
                timeout_ms,
                decided,
            });
            let reply = accepted(reply.await.map_err(|closed| self.gone(closed))?)?;
            let Reply::Undecided(routing) = reply else {
                return Ok(reply);
            };
            // It has no index: without a key it goes anywhere.
            let index = u64::from(Uuid::new_v4().as_fields().0);
            decided = Some(self.decide(routing, asked, index).await?);
        }
        Err(Status::aborted(
            "the route of the alias was set again and again; invoke again",
        ))
    }

    async fn decide(
        &self,
        routing: Arc<Routing>,
        input: Bytes,
        index: u64,
    ) -> Result<(u64, Decision), Status> {
        let decision = self.evaluator.run(move |routers| {
            let router = routers.ready(&routing);
            let labels = Labels::new();
            let bytes = &input[..];
            let mut tally = RouteTally::default();
            let decision = router
                .asker(&labels)
                .decide(Input { bytes, index }, &mut tally);
            (routing.revision, decision)
        });
        decision.await.ok_or_else(no_evaluator)
    }
}

/// Nothing can be evaluated.
pub(super) fn no_evaluator() -> Status {
    Status::internal("routes cannot be asked now; the coordinator's log says why")
}

#[tonic::async_trait]
impl FunctionService for Api {
    async fn invoke(
        &self,
        request: Request<v1::InvokeRequest>,
    ) -> Result<Response<v1::InvokeResponse>, Status> {
        let v1::InvokeRequest {
            target,
            program,
            input,
            timeout_ms,
        } = request.into_inner();
        let target = convert::invoke_target(target, program, &input).map_err(status::invalid)?;
        let timeout_ms = if timeout_ms == 0 {
            TIMEOUT_MS
        } else {
            timeout_ms
        };
        let kib = u32::try_from((input.len() >> 10).max(1)).unwrap_or(u32::MAX);
        // Its input lives in memory alone until it has ended.
        let Ok(_room) = self.invokes.try_acquire_many(kib) else {
            let refusal = Refusal::NoSlot {
                target: target.display(),
                timeout_ms: 0,
            };
            return Err(status::refused(&refusal));
        };
        let reply = self.invoked(target, input, timeout_ms).await?;
        let Reply::Invoked {
            outcome,
            worker,
            duration_us,
            cpu_us,
            cold_start,
            version,
            function,
            arm,
        } = reply
        else {
            return Err(unexpected(&reply));
        };
        let outcome = match outcome {
            Ok(output) => v1::invoke_response::Outcome::Output(output),
            Err(failure) => v1::invoke_response::Outcome::Failure(convert::failure(failure)),
        };
        Ok(Response::new(v1::InvokeResponse {
            outcome: Some(outcome),
            worker,
            duration_us,
            cpu_us,
            cold_start: cold_start.map(convert::wire_cold_start),
            version,
            function,
            arm: arm.as_deref().unwrap_or_default().to_owned(),
        }))
    }

    async fn publish_version(
        &self,
        request: Request<Streaming<v1::PublishVersionRequest>>,
    ) -> Result<Response<v1::PublishVersionResponse>, Status> {
        self.publish(request.into_inner()).await.map(Response::new)
    }

    async fn warm_version(
        &self,
        request: Request<v1::WarmVersionRequest>,
    ) -> Result<Response<v1::WarmVersionResponse>, Status> {
        let v1::WarmVersionRequest { function, version } = request.into_inner();
        let function = convert::function_name("function", function).map_err(status::invalid)?;
        let number = convert::version_number("version", version).map_err(status::invalid)?;
        let asked = self.ask(|reply| Event::Warm {
            reply,
            function,
            number,
        });
        match asked.await? {
            Reply::Warm {
                workers,
                kept,
                ready,
            } => Ok(Response::new(v1::WarmVersionResponse {
                workers,
                kept_instances: kept,
                ready_instances: ready,
            })),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn get_function(
        &self,
        request: Request<v1::GetFunctionRequest>,
    ) -> Result<Response<v1::GetFunctionResponse>, Status> {
        let found = self.published(request.into_inner());
        found.await.map(Response::new)
    }

    async fn retire_version(
        &self,
        request: Request<v1::RetireVersionRequest>,
    ) -> Result<Response<v1::RetireVersionResponse>, Status> {
        let v1::RetireVersionRequest { function, version } = request.into_inner();
        let function = convert::function_name("function", function).map_err(status::invalid)?;
        let retired = self.ask(|reply| Event::Retire {
            reply,
            function,
            number: Some(version).filter(|version| *version > 0),
        });
        match retired.await? {
            Reply::Done => Ok(Response::new(v1::RetireVersionResponse {})),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn list_functions(
        &self,
        request: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        let v1::ListFunctionsRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let limit = list::page_size(page_size)?;
        let after = list::name(token::decode(
            List::Functions,
            &[],
            "page_token",
            &page_token,
        )?)?;
        // One more than the page tells whether there is another.
        let functions = self
            .engine
            .look(move |machine, _| machine.functions(&after, limit + 1));
        let mut functions = functions.await.map_err(|closed| self.gone(closed))?;
        let more = functions.len() > limit;
        functions.truncate(limit);
        let last = functions.last().filter(|_| more);
        let next = last.map(|view| token::encode(List::Functions, &[], view.name.as_bytes()));
        let functions = functions.into_iter();
        Ok(Response::new(v1::ListFunctionsResponse {
            functions: functions.map(|view| convert::function(&view)).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}
