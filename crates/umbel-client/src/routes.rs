//! Where aliases send invocations: setting, showing and asking routes.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use umbel_proto::v1;
use umbel_proto::v1::route_service_client::RouteServiceClient;
use umbel_proto::v1::simulate_route_request::Part;

use crate::client::Client;
use crate::error::Error;

/// Bytes of inputs in one message of a simulation, unless a single one is longer.
const PAGE_BYTES: usize = 512 << 10;
/// Inputs in one message of a simulation.
const PAGE_INPUTS: usize = 4_096;

impl Client {
    /// Sets the rules and the split of an alias, all at once.
    ///
    /// # Errors
    /// `BAD_RULE`, `BAD_WEIGHTS`, `ROUTE_LOOP` and what else makes a route unusable, or the
    /// coordinator cannot be reached.
    pub async fn set_route(&self, request: v1::SetRouteRequest) -> Result<v1::Alias, Error> {
        let answer = self.answer(self.routes().set_route(request).await)?;
        Ok(answer.into_inner().alias.unwrap_or_default())
    }

    /// Where an alias points, how it came to, and what happened to inputs that it was asked about.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_ALIAS`, or the coordinator cannot be reached.
    pub async fn route(&self, function: &str, alias: &str) -> Result<v1::GetRouteResponse, Error> {
        let request = v1::GetRouteRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
        };
        Ok(self
            .answer(self.routes().get_route(request).await)?
            .into_inner())
    }

    /// Where an input would go, and why.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_ALIAS`, or the coordinator cannot be reached.
    pub async fn explain_route(
        &self,
        request: v1::ExplainRouteRequest,
    ) -> Result<v1::ExplainRouteResponse, Error> {
        let answer = self.routes().explain_route(request).await;
        Ok(self.answer(answer)?.into_inner())
    }

    /// Counts where inputs would go; they are sent as they come.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `UNKNOWN_ALIAS`, or the coordinator cannot be reached.
    pub async fn simulate_route(
        &self,
        simulation: v1::Simulation,
        inputs: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<v1::SimulateRouteResponse, Error> {
        let first = futures::stream::iter([Part::Simulation(simulation)]);
        let pages =
            pages(inputs.boxed()).map(|inputs| Part::Inputs(v1::SimulatedInputs { inputs }));
        let messages = first
            .chain(pages)
            .map(|part| v1::SimulateRouteRequest { part: Some(part) });
        let answer = self.routes().simulate_route(messages).await;
        Ok(self.answer(answer)?.into_inner())
    }

    /// The arms of an alias side by side, over the same time.
    ///
    /// # Errors
    /// `NO_EXPERIMENT` when its route has no two arms, `UNKNOWN_ALIAS`, `UNKNOWN_JOB`, or the
    /// coordinator cannot be reached.
    pub async fn experiment(
        &self,
        request: v1::GetExperimentRequest,
    ) -> Result<v1::GetExperimentResponse, Error> {
        let answer = self.routes().get_experiment(request).await;
        Ok(self.answer(answer)?.into_inner())
    }

    pub(crate) fn routes(&self) -> RouteServiceClient<tonic::transport::Channel> {
        RouteServiceClient::new(self.channel())
    }
}

/// Inputs in messages.
fn pages(
    inputs: futures::stream::BoxStream<'static, Bytes>,
) -> impl Stream<Item = Vec<Bytes>> + Send {
    let next = |(mut inputs, mut first): (
        futures::stream::BoxStream<'static, Bytes>,
        Option<Bytes>,
    )| async move {
        let mut page: Vec<Bytes> = first.take().into_iter().collect();
        let mut bytes: usize = page.iter().map(Bytes::len).sum();
        while page.len() < PAGE_INPUTS {
            let Some(input) = inputs.next().await else {
                break;
            };
            if !page.is_empty() && bytes + input.len() > PAGE_BYTES {
                first = Some(input);
                break;
            }
            bytes += input.len();
            page.push(input);
        }
        (!page.is_empty()).then_some((page, (inputs, first)))
    };
    futures::stream::unfold((inputs, None), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_holds_no_more_than_it_may_but_one_input_however_long() {
        let sizes = [PAGE_BYTES - 1, 1, 1, PAGE_BYTES * 2, 5];
        let inputs = sizes.map(|size| Bytes::from(vec![7; size]));
        let pages: Vec<_> = pages(futures::stream::iter(inputs).boxed()).collect().await;
        let counts: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        let many = futures::stream::repeat(Bytes::new()).take(PAGE_INPUTS + 1);
        let pages: Vec<_> = super::pages(many.boxed()).collect().await;
        assert_eq!(pages.len(), 2);
    }
}
