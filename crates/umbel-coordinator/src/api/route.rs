//! `RouteService`, and what is shown of a published function.

use tonic::{Request, Response, Status};
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::limit::VERSIONS_PAGE_MAX;
use umbel_proto::convert::Invalid;
use umbel_proto::v1::route_service_server::RouteService;
use umbel_proto::{convert, status, v1};

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
            let view = machine.function(&function, None, 1)?;
            let aliases: Vec<String> = view.aliases.iter().map(|one| one.name.clone()).collect();
            let mut found = view.aliases.into_iter();
            found
                .find(|alias| alias.name == name)
                .ok_or(Refusal::UnknownAlias {
                    function,
                    alias: name,
                    aliases,
                })
        });
        let found = found.await.map_err(|closed| self.gone(closed))?;
        let alias = found.map_err(|refusal| status::refused(&refusal))?;
        let alias = Some(convert::alias(&alias));
        Ok(Response::new(v1::GetRouteResponse { alias }))
    }
}

fn names(function: String, alias: String) -> Result<(String, String), Invalid> {
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
