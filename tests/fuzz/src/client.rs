//! What clients send, and the results that they hear.

use bytes::Bytes;
use prost::Message as _;
use umbel_core::limit::{
    ARTIFACT_PACKED_BYTES_MAX, DURATION_MS_MAX, INLINE_BYTES_MAX, INLINE_INPUTS_MAX,
    INPUT_BYTES_MAX, METRICS_MAX, ROLLOUT_GUARDS_MAX, ROLLOUT_STEPS_MAX, ROUTE_RULES_MAX,
};
use umbel_core::route::{ArmId, BUCKETS, Split};
use umbel_proto::block::Block;
use umbel_proto::convert::{self, OpenedResults, StagedBlock};
use umbel_proto::v1;

/// The first byte says which request the others are.
pub(crate) fn request(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else {
        return false;
    };
    match kind % 13 {
        0 => create(rest),
        1 => append(rest),
        2 => invoke(rest),
        3 => job_ref(rest),
        4 => range(rest),
        5 => redrive(rest),
        6 => publish(rest),
        7 => point(rest),
        8 => route(rest),
        9 => start_rollout(rest),
        10 => move_rollout(rest),
        11 => shadow(rest),
        _ => experiment(rest),
    }
}

fn create(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::CreateJobRequest::decode(bytes) else {
        return false;
    };
    let Ok(request) = convert::request(wire) else {
        return false;
    };
    let inline: usize = request.inline.iter().map(Bytes::len).sum();
    assert!(request.inline.len() <= INLINE_INPUTS_MAX && inline <= INLINE_BYTES_MAX);
    assert!(request.spec.policy.max_attempts >= 1);
    // What two requests of one id are compared by must be readable as the same request.
    let again = v1::CreateJobRequest::decode(&request.content()[..]);
    let again = convert::request(again.expect("it was encoded")).expect("it was accepted");
    assert_eq!(
        (&again.spec, &again.source),
        (&request.spec, &request.source)
    );
    let blocks = convert::encode_blocks(0, &request.inline).expect("within the limits");
    hold(&blocks, Some(request.inline.len()));
    true
}

fn append(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::AppendInputsRequest::decode(bytes) else {
        return false;
    };
    let Ok(append) = convert::append(wire) else {
        return false;
    };
    hold(&append.blocks, None);
    true
}

/// Blocks follow each other, and each holds what it says.
fn hold(blocks: &[StagedBlock], inputs: Option<usize>) {
    let mut next = blocks.first().map_or(0, |block| u64::from(block.first));
    let begin = next;
    for staged in blocks {
        assert_eq!(u64::from(staged.first), next);
        let block = Block::parse(staged.bytes.clone(), INPUT_BYTES_MAX).expect("it was checked");
        assert_eq!(
            (block.count(), block.entries().iter().count()),
            (staged.count, staged.count as usize)
        );
        next += u64::from(staged.count);
    }
    if let Some(inputs) = inputs {
        assert_eq!(next - begin, inputs as u64);
    }
}

fn route(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::SetRouteRequest::decode(bytes) else {
        return false;
    };
    let Ok(wish) = convert::set_route(wire, 7) else {
        return false;
    };
    assert!(wish.rules.len() <= ROUTE_RULES_MAX);
    if let Some(split) = &wish.split {
        let sum: u32 = split
            .arms
            .iter()
            .map(|(.., weight)| u32::from(*weight))
            .sum();
        assert_eq!(sum, u32::from(BUCKETS));
        let arms = split.arms.iter().zip(1..);
        let arms = arms
            .map(|((name, target, weight), id)| (ArmId(id), name.clone(), target.clone(), *weight));
        assert!(Split::succeed(None, split.key.clone(), 7, arms.collect()).is_whole());
    }
    true
}

fn start_rollout(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::StartRolloutRequest::decode(bytes) else {
        return false;
    };
    let Ok(wish) = convert::start_rollout(wire, 7) else {
        return false;
    };
    let plan = &wish.plan;
    assert!(plan.steps.len() <= ROLLOUT_STEPS_MAX && plan.guards.len() <= ROLLOUT_GUARDS_MAX);
    assert!(plan.complaint().is_none() && plan.bake_ms <= DURATION_MS_MAX);
    // Guards are stored as their words.
    for guard in &plan.guards {
        assert_eq!(guard.to_string().parse().as_ref(), Ok(guard));
    }
    true
}

fn move_rollout(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::PauseRolloutRequest::decode(bytes) else {
        return false;
    };
    convert::move_rollout(wire.function, wire.alias, wire.by).is_ok()
}

fn shadow(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::StartShadowRequest::decode(bytes) else {
        return false;
    };
    let Ok(wish) = convert::start_shadow(wire, 7) else {
        return false;
    };
    assert!((1..=BUCKETS).contains(&wish.sample));
    true
}

fn experiment(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::GetExperimentRequest::decode(bytes) else {
        return false;
    };
    let Ok(asked) = convert::experiment(wire) else {
        return false;
    };
    assert!(asked.metrics.len() <= METRICS_MAX);
    for within in [asked.within_rate, asked.within_part] {
        assert!(within.is_finite() && within >= 0.0);
    }
    true
}

fn invoke(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::InvokeRequest::decode(bytes) else {
        return false;
    };
    convert::invoke_target(wire.target, wire.program, &wire.input).is_ok()
}

fn job_ref(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(found) = convert::job_ref(&text) else {
        return false;
    };
    if let convert::JobRef::Id(id) = found {
        assert_eq!(convert::job_id(&id.to_string()), Some(id));
    }
    true
}

fn range(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::IndexRange::decode(bytes) else {
        return false;
    };
    let Ok(range) = convert::index_range("range", wire) else {
        return false;
    };
    assert!(range.start <= range.end);
    true
}

fn redrive(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::RedriveJobRequest::decode(bytes) else {
        return false;
    };
    let Ok(wish) = convert::redrive(wire) else {
        return false;
    };
    let filter = &wish.filter;
    // It asks for something, by whatever it is named.
    let states = filter.failed || filter.cancelled || !filter.types.is_empty();
    assert!(states || filter.indices.is_some() || filter.arm.is_some());
    v1::RedriveJobRequest::decode(&wish.content()[..]).expect("it was encoded");
    true
}

fn publish(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::Publication::decode(bytes) else {
        return false;
    };
    let Ok(asked) = convert::publication(wire) else {
        return false;
    };
    assert!(asked.packed_bytes <= ARTIFACT_PACKED_BYTES_MAX);
    // What is kept of it is read as the same when it is published again.
    let again = v1::Publication {
        function: asked.function.clone(),
        spec: Some(convert::wire_version_spec(&asked.spec)),
        artifact_digest: asked.digest.0.to_vec().into(),
        packed_bytes: asked.packed_bytes,
        published_by: asked.by.clone(),
    };
    let again = convert::publication(again).expect("it was accepted");
    assert_eq!(again.content(), asked.content());
    assert_eq!(again, asked);
    true
}

fn point(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::PointAliasRequest::decode(bytes) else {
        return false;
    };
    let function = convert::function_name("function", wire.function);
    let alias = convert::alias_name("alias", wire.alias);
    let version = convert::version_number("version", wire.version);
    let (Ok(function), Ok(alias)) = (function, alias) else {
        return false;
    };
    // A job may name what may be published and pointed at.
    let target = format!("{function}@{alias}");
    convert::invoke_target(target, None, &Bytes::new()).expect("it is a target");
    version.is_ok() && convert::check_by("by", &wire.by).is_ok()
}

/// Results in columns, as a client reads them: by the row as by themselves.
pub(crate) fn results(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::StreamResultsResponse::decode(bytes) else {
        return false;
    };
    let opened = wire.columns.into_iter().map(OpenedResults::open);
    let Ok(opened) = opened.collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    for columns in &opened {
        assert_eq!(columns.rows().count() as u64, columns.len());
        for (row, result) in columns.rows().zip(columns.results()) {
            assert_eq!(u64::from(row.index), result.index);
            assert_eq!(row.output, result.output);
        }
    }
    !opened.is_empty()
}
