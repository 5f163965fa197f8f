//! Routes, as they are printed.

use serde::Serialize;
use umbel_client::v1;

use super::Alias;

/// Rules and a split.
#[derive(Debug, Serialize)]
pub(crate) struct Route<'a> {
    rules: Vec<Rule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<Split<'a>>,
}

#[derive(Debug, Serialize)]
struct Rule<'a> {
    when: &'a str,
    target: &'a str,
    arm: String,
}

#[derive(Debug, Serialize)]
struct Split<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    salt: &'a str,
    arms: Vec<Arm<'a>>,
}

#[derive(Debug, Serialize)]
struct Arm<'a> {
    arm: &'a str,
    target: &'a str,
    weight_percent: f64,
    buckets: Vec<[u32; 2]>,
}

impl<'a> From<&'a v1::Route> for Route<'a> {
    fn from(route: &'a v1::Route) -> Self {
        let rules = route.rules.iter().map(|rule| Rule {
            when: &rule.when,
            target: &rule.target,
            arm: format!("rule:{}", rule.name),
        });
        let split = route.split.as_ref().map(|split| Split {
            key: &split.key,
            salt: &split.salt,
            arms: split.arms.iter().map(Arm::from).collect(),
        });
        Self {
            rules: rules.collect(),
            split,
        }
    }
}

impl<'a> From<&'a v1::Arm> for Arm<'a> {
    fn from(arm: &'a v1::Arm) -> Self {
        let buckets = arm.buckets.iter().map(|run| [run.begin, run.end]);
        Self {
            arm: &arm.name,
            target: &arm.target,
            weight_percent: f64::from(arm.weight) / 100.0,
            buckets: buckets.collect(),
        }
    }
}

/// An alias, and what happened to inputs that it was asked about.
#[derive(Debug, Serialize)]
pub(crate) struct GotRoute<'a> {
    #[serde(flatten)]
    alias: Alias<'a>,
    figures: Figures<'a>,
}

#[derive(Debug, Default, Serialize)]
struct Figures<'a> {
    inputs: u64,
    rule_failures: u64,
    not_sticky: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    last_failure: &'a str,
}

impl<'a> From<&'a v1::RouteFigures> for Figures<'a> {
    fn from(figures: &'a v1::RouteFigures) -> Self {
        Self {
            inputs: figures.inputs,
            rule_failures: figures.rule_failures,
            not_sticky: figures.not_sticky,
            last_failure: &figures.last_failure,
        }
    }
}

impl<'a> GotRoute<'a> {
    /// An alias that was asked for.
    pub(crate) fn new(alias: &'a v1::Alias, figures: Option<&'a v1::RouteFigures>) -> Self {
        Self {
            alias: alias.into(),
            figures: figures.map(Figures::from).unwrap_or_default(),
        }
    }
}

/// Where an input would go.
#[derive(Debug, Serialize)]
pub(crate) struct Explained<'a> {
    function: &'a str,
    version: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    arm: &'a str,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    alias: String,
    rules: Vec<RuleOutcome<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<SplitOutcome<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: &'a str,
}

#[derive(Debug, Serialize)]
struct RuleOutcome<'a> {
    when: &'a str,
    matched: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    failure: &'a str,
}

#[derive(Debug, Serialize)]
struct SplitOutcome<'a> {
    sticky: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    not_sticky: &'a str,
    digest: &'a str,
    salt: &'a str,
    bucket: u32,
    arm: &'a str,
}

impl<'a> From<&'a v1::ExplainRouteResponse> for Explained<'a> {
    fn from(explained: &'a v1::ExplainRouteResponse) -> Self {
        Self {
            function: &explained.function,
            version: explained.version,
            arm: &explained.arm,
            steps: explained.steps.iter().map(Step::from).collect(),
        }
    }
}

impl<'a> From<&'a v1::RouteStep> for Step<'a> {
    fn from(step: &'a v1::RouteStep) -> Self {
        let rules = step.rules.iter().map(|rule| RuleOutcome {
            when: &rule.when,
            matched: rule.matched,
            failure: &rule.failure,
        });
        let split = step.split.as_ref().map(|split| SplitOutcome {
            sticky: split.key.is_some(),
            key: split.key.as_deref(),
            not_sticky: &split.not_sticky,
            digest: &split.digest,
            salt: &split.salt,
            bucket: split.bucket,
            arm: &split.arm,
        });
        Self {
            alias: format!("{}@{}", step.function, step.alias),
            rules: rules.collect(),
            split,
            target: &step.target,
        }
    }
}

/// Where inputs would go.
#[derive(Debug, Serialize)]
pub(crate) struct Simulated<'a> {
    arms: Vec<SimulatedArm<'a>>,
    figures: Figures<'a>,
}

#[derive(Debug, Serialize)]
struct SimulatedArm<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    arm: &'a str,
    function: &'a str,
    version: u32,
    inputs: u64,
}

impl<'a> From<&'a v1::SimulateRouteResponse> for Simulated<'a> {
    fn from(simulated: &'a v1::SimulateRouteResponse) -> Self {
        let arms = simulated.arms.iter().map(|arm| SimulatedArm {
            arm: &arm.arm,
            function: &arm.function,
            version: arm.version,
            inputs: arm.inputs,
        });
        Self {
            arms: arms.collect(),
            figures: simulated
                .figures
                .as_ref()
                .map(Figures::from)
                .unwrap_or_default(),
        }
    }
}
