//! `RouteService`, and what is shown of a published function.

use tonic::{Request, Response, Status, Streaming};
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::function::Alias;
use umbel_core::limit::VERSIONS_PAGE_MAX;
use umbel_core::machine::Machine;
use umbel_core::route::{Key, RouteWish};
use umbel_proto::convert::Invalid;
use umbel_proto::v1::route_service_server::RouteService;
use umbel_proto::{convert, status, v1};
use umbel_route::Pointer;
use uuid::Uuid;

use super::token::{self, List};
use super::{Api, unexpected};

/// Versions on a page when the request names no number.
const PAGE_DEFAULT: usize = 20;

#[tonic::async_trait]
impl RouteService for Api {
    async fn point_alias(
        &self,
        request: Request<v1::PointAliasRequest>,
    ) -> Result<Response<v1::PointAliasResponse>, Status> {
        let v1::PointAliasRequest {
            function,
            alias,
            version,
            by,
        } = request.into_inner();
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let to = convert::version_number("version", version).map_err(status::invalid)?;
        convert::check_by("by", &by).map_err(status::invalid)?;
        let alias = self.moved(|reply| Event::Point {
            reply,
            function,
            alias,
            to,
            by,
        });
        let alias = Some(alias.await?);
        Ok(Response::new(v1::PointAliasResponse { alias }))
    }

    async fn rollback_alias(
        &self,
        request: Request<v1::RollbackAliasRequest>,
    ) -> Result<Response<v1::RollbackAliasResponse>, Status> {
        let v1::RollbackAliasRequest {
            function,
            alias,
            by,
        } = request.into_inner();
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        convert::check_by("by", &by).map_err(status::invalid)?;
        let alias = self.moved(|reply| Event::RollBack {
            reply,
            function,
            alias,
            by,
        });
        let alias = Some(alias.await?);
        Ok(Response::new(v1::RollbackAliasResponse { alias }))
    }

    async fn get_route(
        &self,
        request: Request<v1::GetRouteRequest>,
    ) -> Result<Response<v1::GetRouteResponse>, Status> {
        let v1::GetRouteRequest { function, alias } = request.into_inner();
        let (function, name) = names(function, alias).map_err(status::invalid)?;
        let found = self.engine.look(move |machine, _| {
            let tally = machine.route_tally(&function, &name);
            Ok((alias_of(machine, function, name)?, tally))
        });
        let found = found.await.map_err(|closed| self.gone(closed))?;
        let (alias, tally) = found.map_err(|refusal: Refusal| status::refused(&refusal))?;
        Ok(Response::new(v1::GetRouteResponse {
            alias: Some(convert::alias_history(&alias)),
            figures: Some(convert::figures(&tally)),
        }))
    }

    async fn set_route(
        &self,
        request: Request<v1::SetRouteRequest>,
    ) -> Result<Response<v1::SetRouteResponse>, Status> {
        let salt = Uuid::new_v4().as_u64_pair().1;
        let wish = convert::set_route(request.into_inner(), salt).map_err(status::invalid)?;
        // Off the threads that serve: a long expression takes some time to be read.
        let checked = tokio::task::spawn_blocking(move || check(&wish).map(|()| wish));
        let checked = checked
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let wish = Box::new(checked.map_err(status::invalid)?);
        let alias = self.moved(|reply| Event::SetRoute { reply, wish });
        let alias = Some(alias.await?);
        Ok(Response::new(v1::SetRouteResponse { alias }))
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        let explained = self.explain(request.into_inner());
        explained.await.map(Response::new)
    }

    async fn get_experiment(
        &self,
        request: Request<v1::GetExperimentRequest>,
    ) -> Result<Response<v1::GetExperimentResponse>, Status> {
        let compared = self.experiment(request.into_inner());
        compared.await.map(Response::new)
    }

    async fn simulate_route(
        &self,
        request: Request<Streaming<v1::SimulateRouteRequest>>,
    ) -> Result<Response<v1::SimulateRouteResponse>, Status> {
        let simulated = self.simulate(request.into_inner());
        simulated.await.map(Response::new)
    }
}

/// Checks what only the language of rules and keys knows.
fn check(wish: &RouteWish) -> Result<(), Invalid> {
    for (at, rule) in wish.rules.iter().enumerate() {
        umbel_route::check(&rule.when).map_err(|mistake| {
            let place = (mistake.line, mistake.column);
            convert::bad_rule(at + 1, place, &mistake.message)
        })?;
    }
    let key = wish.split.as_ref().and_then(|split| split.key.as_ref());
    if let Some(Key::Pointer(pointer)) = key {
        let checked = Pointer::parse(pointer);
        checked.map_err(|problem| Invalid::bad("route.split.key", problem))?;
    }
    Ok(())
}

/// An alias of a published function.
pub(super) fn alias_of(
    machine: &Machine,
    function: String,
    name: String,
) -> Result<Alias, Refusal> {
    let view = machine.function(&function, None, 1)?;
    let aliases: Vec<String> = view.aliases.iter().map(|one| one.name.clone()).collect();
    let found = view.aliases.into_iter().find(|alias| alias.name == name);
    found.ok_or(Refusal::UnknownAlias {
        function,
        alias: name,
        aliases,
    })
}

pub(super) fn names(function: String, alias: String) -> Result<(String, String), Invalid> {
    let function = convert::function_name("function", function)?;
    Ok((function, convert::alias_name("alias", alias)?))
}

impl Api {
    async fn moved(
        &self,
        event: impl FnOnce(umbel_core::id::ReplyId) -> Event,
    ) -> Result<v1::Alias, Status> {
        match self.ask(event).await? {
            Reply::Alias(alias) => Ok(convert::alias(&alias)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A published function, with a page of its versions.
    pub(super) async fn published(
        &self,
        request: v1::GetFunctionRequest,
    ) -> Result<v1::GetFunctionResponse, Status> {
        let v1::GetFunctionRequest {
            function,
            page_size,
            page_token,
        } = request;
        let name = convert::function_name("function", function).map_err(status::invalid)?;
        let limit = match usize::try_from(page_size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(size) if size <= VERSIONS_PAGE_MAX => size,
            _ => {
                let problem = format!("it is {page_size}, the limit is {VERSIONS_PAGE_MAX}");
                return Err(status::invalid(Invalid::bad("page_size", problem)));
            }
        };
        let scope = name.clone();
        let last = token::decode(List::Versions, scope.as_bytes(), "page_token", &page_token)?;
        let before = last.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
        let view = self.engine.look(move |machine, _| {
            let view = machine.function(&name, before, limit)?;
            let listed = machine.function_view(&name);
            Ok((view, listed))
        });
        let view = view.await.map_err(|closed| self.gone(closed))?;
        let (view, listed) = view.map_err(|refusal: Refusal| status::refused(&refusal))?;
        let last = view.versions.last().filter(|_| view.more);
        let next = last.map(|last| {
            let number = last.version.number.to_be_bytes();
            token::encode(List::Versions, scope.as_bytes(), &number)
        });
        Ok(v1::GetFunctionResponse {
            next_page_token: next.unwrap_or_default(),
            ..convert::published(&view, listed.as_ref())
        })
    }
}
