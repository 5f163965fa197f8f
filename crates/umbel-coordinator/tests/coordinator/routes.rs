//! Routes over gRPC: what is refused when it is set, and what is said of inputs.

use tonic::Status;
use umbel_core::limit;
use umbel_proto::v1;

use crate::published::{cluster_with, routes};
use crate::support::Cluster;

fn rule(when: &str, target: &str) -> v1::Rule {
    v1::Rule {
        when: when.to_owned(),
        target: target.to_owned(),
        name: String::new(),
    }
}

fn arm(target: &str, weight: u32) -> v1::Arm {
    v1::Arm {
        target: target.to_owned(),
        weight,
        ..v1::Arm::default()
    }
}

fn wish(alias: &str, rules: Vec<v1::Rule>, arms: Vec<v1::Arm>) -> v1::SetRouteRequest {
    let split = (!arms.is_empty()).then(|| v1::Split {
        key: "/user/id".to_owned(),
        arms,
        salt: String::new(),
    });
    v1::SetRouteRequest {
        function: "f".to_owned(),
        alias: alias.to_owned(),
        route: Some(v1::Route { rules, split }),
        by: "a test".to_owned(),
        ..v1::SetRouteRequest::default()
    }
}

async fn set(cluster: &Cluster, wish: v1::SetRouteRequest) -> Result<v1::Alias, Status> {
    let set = routes(cluster).await.set_route(wish).await?;
    Ok(set.into_inner().alias.unwrap_or_default())
}

async fn refused(wish: v1::SetRouteRequest) -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    set(&cluster, wish).await.expect_err("it is refused")
}

pub(crate) async fn bad_rule() -> Status {
    refused(wish(
        "live",
        vec![rule("input.country = \"DE\"", "1")],
        Vec::new(),
    ))
    .await
}

pub(crate) async fn bad_weights() -> Status {
    refused(wish(
        "live",
        Vec::new(),
        vec![arm("1", 9_000), arm("2", 500)],
    ))
    .await
}

pub(crate) async fn route_loop() -> Status {
    refused(wish("live", vec![rule("true", "@live")], Vec::new())).await
}

pub(crate) async fn route_too_long() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let mut last = "1".to_owned();
    for step in 0..=limit::ROUTE_NODES_MAX {
        let alias = format!("a{step}");
        let wish = wish(&alias, vec![rule("true", &last)], Vec::new());
        if let Err(refusal) = set(&cluster, wish).await {
            return refusal;
        }
        last = format!("@{alias}");
    }
    panic!("it is refused in the end");
}

pub(crate) async fn route_too_large() -> Status {
    let long = format!("input == \"{}\"", "x".repeat(limit::RULE_BYTES_MAX - 16));
    let rules = limit::ROUTE_BYTES_MAX / limit::RULE_BYTES_MAX + 1;
    refused(wish("live", vec![rule(&long, "1"); rules], Vec::new())).await
}

pub(crate) async fn route_in_use() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let leads = wish("canary", Vec::new(), vec![arm("1", 10_000)]);
    let moved = set(&cluster, leads).await.expect("it is set");
    assert_eq!(moved.version, 1);
    let rules = vec![rule("input == 1", "1")];
    let mut leads = wish("canary", rules, Vec::new());
    leads.version = 2;
    set(&cluster, leads).await.expect("it is set");
    let wish = v1::RetireVersionRequest {
        function: "f".to_owned(),
        version: 1,
    };
    let retired = cluster.functions().await.retire_version(wish).await;
    retired.expect_err("it is refused")
}

pub(crate) async fn no_experiment() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let wish = wish("canary", Vec::new(), vec![arm("1", 10_000)]);
    set(&cluster, wish).await.expect("it is set");
    let asked = v1::GetExperimentRequest {
        function: "f".to_owned(),
        alias: "canary".to_owned(),
        ..v1::GetExperimentRequest::default()
    };
    let compared = routes(&cluster).await.get_experiment(asked).await;
    compared.expect_err("one arm is no experiment")
}

#[tokio::test]
async fn what_is_said_of_an_input_is_what_a_simulation_counts() {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let rules = vec![rule("input.country == \"DE\"", "2")];
    let wish = wish("live", rules, vec![arm("1", 9_000), arm("2", 1_000)]);
    set(&cluster, wish).await.expect("it is set");
    let mut client = routes(&cluster).await;
    let input = |user: u32| format!("{{\"user\":{{\"id\":{user}}}}}").into_bytes();
    let mut second = 0;
    for user in 0..50 {
        let ask = v1::ExplainRouteRequest {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            input: input(user).into(),
            ..v1::ExplainRouteRequest::default()
        };
        let said = client
            .explain_route(ask)
            .await
            .expect("it is said")
            .into_inner();
        let split = said.steps[0].split.as_ref().expect("the split decides");
        assert_eq!(split.key.as_deref(), Some(&*user.to_string()));
        assert_eq!(said.arm, said.version.to_string());
        second += u64::from(said.version == 2);
    }
    let first = v1::simulate_route_request::Part::Simulation(v1::Simulation {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        ..v1::Simulation::default()
    });
    let inputs = (0..50).map(|user| input(user).into());
    let inputs = inputs.chain([
        br#"{"country":"DE"}"#.to_vec().into(),
        b"text".to_vec().into(),
    ]);
    let inputs = v1::simulate_route_request::Part::Inputs(v1::SimulatedInputs {
        inputs: inputs.collect(),
    });
    let parts = [first, inputs].map(|part| v1::SimulateRouteRequest { part: Some(part) });
    let said = client.simulate_route(tokio_stream::iter(parts)).await;
    let said = said.expect("it is counted").into_inner();
    let of = |arm: &str| {
        said.arms
            .iter()
            .filter(|one| one.arm == arm)
            .map(|one| one.inputs)
            .sum::<u64>()
    };
    let text_to_second = of("2") - second;
    assert!(text_to_second <= 1);
    assert_eq!(of("1") + of("2"), 51);
    assert_eq!(of("rule:2"), 1);
    let figures = said.figures.expect("figures");
    assert_eq!((figures.inputs, figures.not_sticky), (52, 1));
    // Of the 50 none has a country, and the text is no JSON.
    assert_eq!(figures.rule_failures, 51);
}
