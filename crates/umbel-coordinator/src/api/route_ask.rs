//! What a route would say of inputs: nothing runs, and nothing is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tonic::{Status, Streaming};
use umbel_core::command::Refusal;
use umbel_core::function::VersionId;
use umbel_core::limit::{INPUT_BYTES_MAX, LABELS_MAX};
use umbel_core::policy::Labels;
use umbel_core::route::{ArmId, Decision, RouteTally, Routing};
use umbel_proto::convert::{self, Invalid};
use umbel_proto::v1::simulate_route_request::Part;
use umbel_proto::{status, v1};
use umbel_route::{Chosen, Input, Key, Step, Told};

use super::Api;
use super::function::no_evaluator;
use super::route::{alias_of, names};

/// An alias as it is asked, with the names of whatever it may answer.
#[derive(Debug)]
struct Asked {
    function: String,
    alias: String,
    /// The number of the version that it points at.
    to: u32,
    /// Its rules and split; none: everything goes to `to`.
    routing: Option<Arc<Routing>>,
    versions: BTreeMap<VersionId, (String, u32)>,
    arms: BTreeMap<ArmId, String>,
}

impl Asked {
    /// Function, version and arm of a decision.
    fn named(&self, decision: Decision) -> (String, u32, String) {
        let version = self.versions.get(&decision.version).cloned();
        let (function, number) = version.unwrap_or_else(|| (self.function.clone(), self.to));
        let arm = decision.arm.and_then(|arm| self.arms.get(&arm).cloned());
        (function, number, arm.unwrap_or_default())
    }
}

impl Api {
    async fn asked(&self, function: String, alias: String) -> Result<Asked, Status> {
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let found = self.engine.look(move |machine, _| {
            let found = alias_of(machine, function.clone(), alias.clone())?;
            let target = convert::target_of(function.clone(), alias.clone());
            let routing = machine.routing(&target)?;
            let versions = routing.iter().flat_map(|routing| routing.versions());
            let versions = versions.filter_map(|id| {
                let version = machine.version(id)?;
                Some((id, (version.function.clone(), version.number)))
            });
            Ok(Asked {
                versions: versions.collect(),
                function,
                alias,
                to: found.route.to,
                routing,
                arms: found.arms,
            })
        });
        let found = found.await.map_err(|closed| self.gone(closed))?;
        found.map_err(|refusal: Refusal| status::refused(&refusal))
    }

    pub(super) async fn explain(
        &self,
        request: v1::ExplainRouteRequest,
    ) -> Result<v1::ExplainRouteResponse, Status> {
        let v1::ExplainRouteRequest {
            function,
            alias,
            input,
            labels,
            index,
        } = request;
        check_input(&input)?;
        let labels = labels_of(labels)?;
        let asked = self.asked(function, alias).await?;
        let Some(routing) = asked.routing.clone() else {
            let step = v1::RouteStep {
                function: asked.function.clone(),
                alias: asked.alias,
                ..v1::RouteStep::default()
            };
            return Ok(v1::ExplainRouteResponse {
                function: asked.function,
                version: asked.to,
                arm: String::new(),
                steps: vec![step],
            });
        };
        let explained = self.evaluator.run(move |routers| {
            let router = routers.ready(&routing);
            let bytes = &input[..];
            router.asker(&labels).explain(Input { bytes, index })
        });
        let (decision, steps) = explained.await.ok_or_else(no_evaluator)?;
        let (function, version, arm) = asked.named(decision);
        Ok(v1::ExplainRouteResponse {
            function,
            version,
            arm,
            steps: steps.into_iter().map(wire_step).collect(),
        })
    }

    pub(super) async fn simulate(
        &self,
        mut stream: Streaming<v1::SimulateRouteRequest>,
    ) -> Result<v1::SimulateRouteResponse, Status> {
        let first = stream.message().await?;
        let Some(Part::Simulation(simulation)) = first.and_then(|first| first.part) else {
            let words = "the first message says which alias is asked";
            return Err(status::invalid(Invalid::bad("simulation", words)));
        };
        let labels = Arc::new(labels_of(simulation.labels)?);
        let asked = self.asked(simulation.function, simulation.alias).await?;
        let mut counts: BTreeMap<Option<Decision>, u64> = BTreeMap::new();
        let (mut figures, mut index) = (RouteTally::default(), 0);
        while let Some(message) = stream.message().await? {
            let Some(Part::Inputs(v1::SimulatedInputs { inputs })) = message.part else {
                let words = "behind the first message there are inputs only";
                return Err(status::invalid(Invalid::bad("inputs", words)));
            };
            inputs.iter().try_for_each(check_input)?;
            let count = inputs.len() as u64;
            let Some(routing) = asked.routing.clone() else {
                figures.inputs += count;
                *counts.entry(None).or_default() += count;
                continue;
            };
            let labels = Arc::clone(&labels);
            let decided = self.evaluator.run(move |routers| {
                let router = routers.ready(&routing);
                let mut asker = router.asker(&labels);
                let mut tally = RouteTally::default();
                let decided = inputs
                    .iter()
                    .zip(index..)
                    .map(|(bytes, index)| asker.decide(Input { bytes, index }, &mut tally));
                (decided.collect::<Vec<_>>(), tally)
            });
            let (decided, tally) = decided.await.ok_or_else(no_evaluator)?;
            figures.add(&tally);
            index += count;
            for decision in decided {
                *counts.entry(Some(decision)).or_default() += 1;
            }
        }
        Ok(simulated(&asked, counts, &figures))
    }
}

fn simulated(
    asked: &Asked,
    counts: BTreeMap<Option<Decision>, u64>,
    figures: &RouteTally,
) -> v1::SimulateRouteResponse {
    let arms = counts.into_iter().map(|(decision, inputs)| {
        let plain = (asked.function.clone(), asked.to, String::new());
        let (function, version, arm) = decision.map_or(plain, |decision| asked.named(decision));
        v1::SimulatedArm {
            arm,
            function,
            version,
            inputs,
        }
    });
    let mut arms: Vec<_> = arms.collect();
    arms.sort_by_key(|arm| std::cmp::Reverse(arm.inputs));
    v1::SimulateRouteResponse {
        arms,
        figures: Some(convert::figures(figures)),
    }
}

fn check_input(input: &Bytes) -> Result<(), Status> {
    if input.len() > INPUT_BYTES_MAX {
        let words = format!(
            "it has {} bytes, the limit is {INPUT_BYTES_MAX}",
            input.len()
        );
        return Err(status::invalid(Invalid::bad("input", words)));
    }
    Ok(())
}

fn labels_of(labels: BTreeMap<String, String>) -> Result<Labels, Status> {
    if labels.len() > LABELS_MAX {
        let words = format!("there are {}, the limit is {LABELS_MAX}", labels.len());
        return Err(status::invalid(Invalid::bad("labels", words)));
    }
    Ok(labels)
}

fn wire_step(step: Step) -> v1::RouteStep {
    let rules = step.rules.into_iter().map(|(when, told)| v1::RuleOutcome {
        when,
        matched: told == Told::Matched,
        failure: match told {
            Told::Failed(why) => why,
            Told::Matched | Told::Unmatched => String::new(),
        },
    });
    let rules = rules.collect();
    let (split, target) = match step.chosen {
        Chosen::Rule { target, .. } => (None, target),
        Chosen::Otherwise => (None, String::new()),
        Chosen::Split {
            key,
            digest,
            salt,
            bucket,
            arm,
            target,
        } => {
            let (key, not_sticky) = match key {
                Key::Sticky(key) => (Some(key), String::new()),
                Key::Index(_, why) => (None, why),
            };
            let split = v1::SplitOutcome {
                key,
                not_sticky,
                digest: digest.to_string(),
                salt: salt.to_string(),
                bucket: bucket.into(),
                arm,
            };
            (Some(split), target)
        }
    };
    v1::RouteStep {
        function: step.function,
        alias: step.alias,
        rules,
        split,
        target,
    }
}
