//! Published functions, their versions and their aliases.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use umbel_core::function::{
    Alias, Artifact, Digest, FunctionRecord, Move, MoveKind, Runtime, UploadId, Version, VersionId,
    VersionSpec,
};
use umbel_core::rollout::WHOLE;
use umbel_core::route::{ArmId, Route};
use umbel_core::shadow::Shadow;

use super::route::{decode_plan, encode_plan};
use super::{Error, parse, wire};

/// Encodes what is kept of a function for ever; its name is its key.
#[must_use]
pub fn encode_function(record: &FunctionRecord) -> Bytes {
    let record = wire::FunctionRecord {
        last_number: record.last_number,
        last_id: record.last_id.0,
        deleted: record.deleted,
        last_arm: record.last_arm.0,
    };
    record.encode_to_vec().into()
}

/// Decodes what is kept of the function `name`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_function(name: String, bytes: Bytes) -> Result<FunctionRecord, Error> {
    let record: wire::FunctionRecord = parse("FunctionRecord", bytes)?;
    Ok(FunctionRecord {
        name,
        last_number: record.last_number,
        last_id: VersionId(record.last_id),
        deleted: record.deleted,
        last_arm: ArmId(record.last_arm),
    })
}

/// Encodes a version; its id is its key.
#[must_use]
pub fn encode_version(version: &Version) -> Bytes {
    let (spec, artifact) = (&version.spec, &version.artifact);
    let record = wire::VersionRecord {
        function: version.function.clone(),
        number: version.number,
        content: version.content.0.to_vec().into(),
        runtime: encode_runtime(spec.runtime),
        handler: spec.handler.clone(),
        command: spec.command.clone(),
        environment: spec.environment.clone(),
        memory_bytes: spec.memory_bytes,
        timeout_ms: spec.timeout_ms,
        warm: spec.warm,
        pure: spec.pure,
        artifact_digest: artifact.digest.0.to_vec().into(),
        upload: artifact.upload.0.to_vec().into(),
        packed_bytes: artifact.packed_bytes,
        unpacked_bytes: artifact.unpacked_bytes,
        file_count: artifact.file_count,
        published_ms: version.published_ms,
        published_by: version.published_by.clone(),
        files_max: spec.files_max,
        processes_max: spec.processes_max,
        init_timeout_ms: spec.init_timeout_ms,
        idle_timeout_ms: spec.idle_timeout_ms,
        epoch: version.epoch,
    };
    record.encode_to_vec().into()
}

/// Decodes the version `id`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_version(id: VersionId, bytes: Bytes) -> Result<Version, Error> {
    const KIND: &str = "VersionRecord";
    let record: wire::VersionRecord = parse(KIND, bytes)?;
    let digest = |bytes: &[u8]| {
        let digest = <[u8; 32]>::try_from(bytes).map(Digest);
        digest.map_err(|_| Error::new(KIND, "a digest has not 32 bytes"))
    };
    let upload = <[u8; 16]>::try_from(&record.upload[..]).map(UploadId);
    let runtime = decode_runtime(record.runtime)
        .ok_or_else(|| Error::new(KIND, format!("its runtime {} is not known", record.runtime)))?;
    Ok(Version {
        id,
        function: record.function,
        number: record.number,
        content: digest(&record.content)?,
        spec: VersionSpec {
            runtime,
            handler: record.handler,
            command: record.command,
            environment: record.environment,
            memory_bytes: record.memory_bytes,
            timeout_ms: record.timeout_ms,
            files_max: record.files_max,
            processes_max: record.processes_max,
            init_timeout_ms: record.init_timeout_ms,
            idle_timeout_ms: record.idle_timeout_ms,
            warm: record.warm,
            pure: record.pure,
        },
        artifact: Artifact {
            digest: digest(&record.artifact_digest)?,
            upload: upload.map_err(|_| Error::new(KIND, "its upload has not 16 bytes"))?,
            packed_bytes: record.packed_bytes,
            unpacked_bytes: record.unpacked_bytes,
            file_count: record.file_count,
        },
        epoch: record.epoch,
        published_ms: record.published_ms,
        published_by: record.published_by,
    })
}

/// The numbers of umbel.v1.Runtime.
fn encode_runtime(runtime: Runtime) -> u32 {
    match runtime {
        Runtime::Exec => 1,
        Runtime::Lambda => 2,
        Runtime::Python => 3,
        Runtime::Node => 4,
        Runtime::Wasm => 5,
    }
}

fn decode_runtime(number: u32) -> Option<Runtime> {
    let mut all = Runtime::ALL.into_iter();
    all.find(|runtime| encode_runtime(*runtime) == number)
}

/// Encodes when a version was retired; its id is its key.
#[must_use]
pub fn encode_retired(at_ms: u64) -> Bytes {
    wire::RetiredRecord { at_ms }.encode_to_vec().into()
}

/// Decodes when a version was retired.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_retired(bytes: Bytes) -> Result<u64, Error> {
    let record: wire::RetiredRecord = parse("RetiredRecord", bytes)?;
    Ok(record.at_ms)
}

/// Encodes where an alias points; function and name are its key.
#[must_use]
pub fn encode_alias(alias: &Alias) -> Bytes {
    let moves = alias.moves.iter().map(|one| wire::MoveRecord {
        kind: encode_kind(one.kind),
        by: one.by.clone(),
        at_ms: one.at_ms,
        from: one.from.unwrap_or(0),
        to: one.to,
        plan: one.plan.as_deref().map(encode_plan),
    });
    let plan_at = |(at, route): (usize, &Route)| {
        // A trail is short.
        let at = u32::try_from(at).ok()?;
        Some((at, encode_plan(route.plan.as_deref()?)))
    };
    let record = wire::AliasRecord {
        to: alias.route.to,
        follows: alias.follows,
        trail: alias.trail.iter().map(|route| route.to).collect(),
        moves: moves.collect(),
        plan: alias.route.plan.as_deref().map(encode_plan),
        trail_plans: alias.trail.iter().enumerate().filter_map(plan_at).collect(),
        arms: alias
            .arms
            .iter()
            .map(|(id, name)| (id.0, name.clone()))
            .collect(),
        shadow: alias.shadow.as_ref().map(|shadow| wire::ShadowRecord {
            to: shadow.to,
            sample: shadow.sample.into(),
            salt: shadow.salt,
            since_ms: shadow.since_ms,
            by: shadow.by.clone(),
        }),
    };
    record.encode_to_vec().into()
}

/// Decodes where an alias points.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_alias(function: String, name: String, bytes: Bytes) -> Result<Alias, Error> {
    const KIND: &str = "AliasRecord";
    let record: wire::AliasRecord = parse(KIND, bytes)?;
    let plan = |plan: Option<wire::PlanRecord>| {
        let plan = plan.map(|plan| decode_plan(KIND, plan).map(Arc::new));
        plan.transpose()
    };
    let moves = record.moves.into_iter().map(|one| {
        Ok(Move {
            kind: decode_kind(one.kind).ok_or_else(|| {
                Error::new(KIND, format!("a move's kind {} is not known", one.kind))
            })?,
            by: one.by,
            at_ms: one.at_ms,
            from: Some(one.from).filter(|from| *from > 0),
            to: one.to,
            plan: plan(one.plan)?,
        })
    });
    let mut plans = record.trail_plans;
    let trail = record.trail.into_iter().zip(0..).map(|(to, at)| {
        let plan = plan(plans.remove(&at))?;
        Ok(Route { to, plan })
    });
    Ok(Alias {
        function,
        name,
        route: Route {
            to: record.to,
            plan: plan(record.plan)?,
        },
        follows: record.follows,
        trail: trail.collect::<Result<_, Error>>()?,
        moves: moves.collect::<Result<_, Error>>()?,
        arms: record
            .arms
            .into_iter()
            .map(|(id, name)| (ArmId(id), name))
            .collect(),
        shadow: record.shadow.map(|it| shadow(KIND, it)).transpose()?,
    })
}

fn shadow(kind: &'static str, record: wire::ShadowRecord) -> Result<Shadow, Error> {
    Ok(Shadow {
        to: record.to,
        sample: sample(kind, record.sample)?,
        salt: record.salt,
        since_ms: record.since_ms,
        by: record.by,
    })
}

/// A part of inputs, in hundredths of a percent.
pub(super) fn sample(kind: &'static str, sample: u32) -> Result<u16, Error> {
    let whole = u16::try_from(sample).ok();
    whole
        .filter(|sample| *sample <= WHOLE)
        .ok_or_else(|| Error::new(kind, format!("a sample of {sample} is more than a whole")))
}

/// The numbers of umbel.v1.MoveKind.
fn encode_kind(kind: MoveKind) -> u32 {
    match kind {
        MoveKind::Published => 1,
        MoveKind::Pointed => 2,
        MoveKind::RolledBack => 3,
        MoveKind::RouteSet => 4,
        MoveKind::RolloutStarted => 5,
        MoveKind::RolloutStepped => 6,
        MoveKind::Promoted => 7,
        MoveKind::RolloutRolledBack => 8,
    }
}

fn decode_kind(number: u32) -> Option<MoveKind> {
    let kinds = [
        MoveKind::Published,
        MoveKind::Pointed,
        MoveKind::RolledBack,
        MoveKind::RouteSet,
        MoveKind::RolloutStarted,
        MoveKind::RolloutStepped,
        MoveKind::Promoted,
        MoveKind::RolloutRolledBack,
    ];
    kinds.into_iter().find(|kind| encode_kind(*kind) == number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::testing;

    proptest! {
        #[test]
        fn versions_come_back(version in testing::version()) {
            let back = decode_version(version.id, encode_version(&version)).unwrap();
            prop_assert_eq!(back, version);
        }

        #[test]
        fn aliases_come_back(alias in testing::alias()) {
            let (function, name) = (alias.function.clone(), alias.name.clone());
            let stored = encode_alias(&alias);
            prop_assert!(stored.len() <= alias.bytes(), "a bound: {} bytes", stored.len());
            let back = decode_alias(function, name, stored).unwrap();
            prop_assert_eq!(back, alias);
        }

        #[test]
        fn functions_come_back(
            name: String, last_number: u32, last_id: u32, deleted: bool, last_arm: u32,
        ) {
            let (last_id, last_arm) = (VersionId(last_id), ArmId(last_arm));
            let record = FunctionRecord { name, last_number, last_id, deleted, last_arm };
            let back = decode_function(record.name.clone(), encode_function(&record)).unwrap();
            prop_assert_eq!(back, record);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = decode_version(VersionId(1), bytes.clone());
            let _ = decode_function(String::new(), bytes.clone());
            let _ = decode_retired(bytes.clone());
            let _ = decode_alias(String::new(), String::new(), bytes);
        }
    }

    #[test]
    fn numbers_are_those_of_the_wire() {
        use crate::generated::v1;
        for (runtime, wire) in Runtime::ALL.into_iter().zip([
            v1::Runtime::Exec,
            v1::Runtime::Lambda,
            v1::Runtime::Python,
            v1::Runtime::Node,
            v1::Runtime::Wasm,
        ]) {
            assert_eq!(
                i64::from(encode_runtime(runtime)),
                i64::from(i32::from(wire))
            );
        }
        assert_eq!(decode_runtime(9), None);
        assert_eq!(decode_retired(encode_retired(7)).unwrap(), 7);
    }
}
