//! Does one thing of the hot path a number of times, for `benches/gate` to count instructions: what
//! a run with many times needs more than one with none is the cost of the thing itself.

mod fleet;

use std::process::ExitCode;
use std::sync::Arc;

use fleet::Fleet;
use prost::Message as _;
use umbel_core::event::Event;
use umbel_core::function::{Qualifier, VersionId};
use umbel_core::job::Target;
use umbel_core::policy::Labels;
use umbel_core::ranges::Ranges;
use umbel_core::route::{ArmId, Key, Lead, Node, Plan, RouteTally, Routing, Rule, Split};
use umbel_proto::columns::{Columns, ColumnsBuilder};
use umbel_proto::convert::{self, OpenedResults, Provenance};
use umbel_proto::results::ResultsEncoder;
use umbel_proto::v1;
use umbel_route::{Input, Router};

/// Workers whose sessions are held during a turn.
const WORKERS: u32 = 10_000;
/// Of how many of them a turn hears something, and how many of them report.
const HEARD: u64 = 1_000;
const REPORTING: u64 = 24;
/// Inputs of a job whose chunks are placed.
const INPUTS: u32 = 10_000_000;
/// Invocations of one report.
const REPORTED: u32 = 1_000;

/// Inputs that a route is asked about at a time.
const ROUTED: u32 = 1_000;

const USAGE: &str = "instructions turn|report|place|results|columns|route TIMES";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let times = arguments.nth(1).and_then(|times| times.parse().ok());
    let (Some(scenario), Some(times)) = (std::env::args().nth(1), times) else {
        return usage();
    };
    match scenario.as_str() {
        "turn" => turn(times),
        "report" => report(times),
        "place" => place(times),
        "results" => results(times),
        "route" => route(times),
        "columns" => columns(times),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "it is a program for a script")]
fn usage() -> ExitCode {
    eprintln!("usage: {USAGE}");
    ExitCode::from(2)
}

/// Turns of a coordinator with very many workers, each of which takes in signs of life and some
/// reports, and places new work.
fn turn(times: u64) {
    let mut fleet = Fleet::new(WORKERS);
    fleet.submit_range(INPUTS);
    for turn in 0..times {
        let heard = (0..HEARD).map(|n| Event::Heard(fleet.session(turn * HEARD + n)));
        let mut events: Vec<Event> = heard.collect();
        for n in 0..REPORTING {
            let session = fleet.session(turn * REPORTING + n);
            events.extend(fleet.report_of(session, None));
        }
        fleet.turn(events);
    }
}

/// Reports of 1,000 outcomes, from the worker's columns over the wire through the coordinator's
/// machine.
fn report(times: u64) {
    let mut fleet = Fleet::new(1);
    fleet.submit_range(INPUTS);
    let session = fleet.session(0);
    // Chunks grow until they hold what is measured.
    for _ in 0..20 {
        let report = fleet.report_of(session, None);
        fleet.turn(report);
    }
    for _ in 0..times {
        let report = fleet.report_of(session, Some(REPORTED));
        fleet.turn(report.map(fleet::over_the_wire));
    }
}

/// Chunks of a job of very many inputs in blocks.
fn place(times: u64) {
    let mut fleet = Fleet::new(2);
    fleet.submit_blocks(INPUTS);
    for n in 0..times {
        let session = fleet.session(n);
        let report = fleet.report_of(session, None);
        fleet.turn(report);
    }
}

/// Results on their way from their columns to a client.
fn results(times: u64) {
    let mut builder = ColumnsBuilder::new();
    fleet::fill(&mut builder, &Ranges::one(0..REPORTED));
    let bytes = builder.finish();
    let from = Provenance {
        function: "umbel.increment",
        version: None,
        arm: "",
        worker: "worker-1",
    };
    for _ in 0..times {
        let Ok(columns) = Columns::parse_stored(bytes.clone()) else {
            return;
        };
        let mut encoder = ResultsEncoder::new();
        for (index, row) in (0..).zip(columns.rows()) {
            encoder.succeeded(index, row, 1, from);
        }
        std::hint::black_box(encoder.finish());
    }
}

/// JSON inputs that a rule and a split by a key in them are asked about.
fn route(times: u64) {
    let router = router();
    let inputs: Vec<String> = (0..ROUTED)
        .map(|id| {
            let country = if id % 10 == 0 { "DE" } else { "FR" };
            format!(
                r#"{{"country":"{country}","user":{{"id":{id},"plan":"pro"}},"image":"s3://bucket/{id:08}.png","box":640}}"#
            )
        })
        .collect();
    let labels = Labels::new();
    for _ in 0..times {
        let mut asker = router.asker(&labels);
        let mut tally = RouteTally::default();
        for (index, input) in (0..).zip(&inputs) {
            let bytes = input.as_bytes();
            std::hint::black_box(asker.decide(Input { bytes, index }, &mut tally));
        }
    }
}

fn router() -> Router {
    let lead = |number| Target::Version("resize".to_owned(), Qualifier::Version(number));
    let arm = |id, weight| (ArmId(id), id.to_string(), lead(id), weight);
    let key = Some(Key::Pointer("/user/id".to_owned()));
    let plan = Plan {
        rules: vec![Rule {
            arm: ArmId(1),
            name: "rule:resize-rust".to_owned(),
            when: "input.country == \"DE\"".to_owned(),
            target: Target::Function("resize-rust".to_owned()),
        }],
        split: Some(Split::succeed(
            None,
            key,
            7,
            vec![arm(7, 9_000), arm(8, 1_000)],
        )),
    };
    let node = Node {
        function: "resize".to_owned(),
        alias: "live".to_owned(),
        plan: Arc::new(plan),
        leads: [9, 7, 8].map(VersionId).map(Lead::Version).into(),
        otherwise: VersionId(7),
    };
    Router::new(Arc::new(Routing {
        revision: 1,
        nodes: vec![node],
    }))
}

/// The same in columns, as far as the client that opens them.
fn columns(times: u64) {
    let reported = Ranges::one(0..REPORTED);
    let mut builder = ColumnsBuilder::new();
    fleet::fill(&mut builder, &reported);
    let bytes = builder.finish();
    let from = Provenance {
        function: "umbel.increment",
        version: None,
        worker: "worker-1",
        arm: "",
    };
    for _ in 0..times {
        let indices = (&reported, &reported);
        let columns = convert::results_in_columns(indices, bytes.clone(), 1, from);
        let response = v1::StreamResultsResponse {
            columns: vec![columns],
            ..v1::StreamResultsResponse::default()
        };
        let Ok(heard) = v1::StreamResultsResponse::decode(&response.encode_to_vec()[..]) else {
            return;
        };
        for columns in heard.columns {
            let Ok(opened) = OpenedResults::open(columns) else {
                return;
            };
            for row in opened.rows() {
                std::hint::black_box(row);
            }
        }
    }
}
