//! Published functions: what a client asks about them, and what it is shown.

use bytes::Bytes;
use prost::Message;
use umbel_core::function::{
    Artifact, Digest, Qualifier, Runtime, Runtimes, UploadId, Version, VersionId, VersionSpec,
};
use umbel_core::limit::{
    ALIAS_BYTES_MAX, ARTIFACT_PACKED_BYTES_MAX, BY_BYTES_MAX, DURATION_MS_MAX,
    VERSION_SPEC_BYTES_MAX, VERSION_WARM_MAX,
};
use umbel_core::route::ArmId;
use umbel_core::view::{FiguresView, FunctionView, PublishedView, Spread, VersionView};

use super::name::{check_plain, is_function_name};
use super::route::alias;
use super::view::timestamp;
use super::{Invalid, head};
use crate::status::Reason;
use crate::v1;

/// Names that begin so are umbel's own.
const RESERVED_PREFIX: &str = "umbel.";

/// What a client publishes, before its artifact has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The function.
    pub function: String,
    /// How it is run.
    pub spec: VersionSpec,
    /// The digest of the artifact.
    pub digest: Digest,
    /// The artifact's length as it is sent.
    pub packed_bytes: u64,
    /// Who publishes.
    pub by: String,
}

impl Publish {
    /// What makes two publications of a function the same version, as bytes to be digested:
    /// artifact, name and spec. By the name too, since code may see it, and no two functions share
    /// instances.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = self.digest.0.to_vec();
        // No name has this byte.
        content.extend(self.function.bytes().chain([0]));
        content.extend(wire_version_spec(&self.spec).encode_to_vec());
        content
    }
}

/// Reads a `Publication`.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn publication(wire: v1::Publication) -> Result<Publish, Invalid> {
    let function = function_name("publication.function", wire.function)?;
    if function.starts_with(RESERVED_PREFIX) {
        return Err(Invalid::bad(
            "publication.function",
            format!(
                "{function:?} is a name of umbel's own; choose one that does not begin with {RESERVED_PREFIX:?}"
            ),
        ));
    }
    check_by("publication.published_by", &wire.published_by)?;
    let spec = wire
        .spec
        .ok_or_else(|| Invalid::bad("publication.spec", "it is missing"))?;
    if wire.packed_bytes > ARTIFACT_PACKED_BYTES_MAX {
        return Err(artifact_too_large(wire.packed_bytes));
    }
    Ok(Publish {
        function,
        spec: version_spec("publication.spec", spec)?,
        digest: digest("publication.artifact_digest", &wire.artifact_digest)?,
        packed_bytes: wire.packed_bytes,
        by: wire.published_by,
    })
}

/// The refusal of an artifact that is longer than may be sent.
#[must_use]
pub fn artifact_too_large(bytes: u64) -> Invalid {
    let limit = ARTIFACT_PACKED_BYTES_MAX;
    Invalid::new(
        Reason::ArtifactTooLarge,
        "data",
        format!(
            "the artifact has {bytes} bytes packed, the limit is {limit}; leave out what the function does not need"
        ),
        &[("bytes", &bytes), ("limit", &limit)],
    )
}

/// Reads the name of a function that is to be there.
///
/// # Errors
/// When nothing can be named so.
pub fn function_name(field: &str, name: String) -> Result<String, Invalid> {
    if is_function_name(&name) {
        return Ok(name);
    }
    let shown = head(&name, 255);
    Err(Invalid::bad(
        field,
        format!(
            "{shown:?} cannot name a function: at most 255 letters, digits, `.`, `_` and `-`, a letter first"
        ),
    ))
}

/// Reads the name of an alias.
///
/// # Errors
/// When no alias can be named so.
pub fn alias_name(field: &str, name: String) -> Result<String, Invalid> {
    if is_alias_name(&name) {
        return Ok(name);
    }
    let shown = head(&name, 255);
    Err(Invalid::bad(
        field,
        format!(
            "{shown:?} cannot name an alias: at most {ALIAS_BYTES_MAX} letters, digits, `.`, `_` and `-`, a letter first"
        ),
    ))
}

fn is_alias_name(name: &str) -> bool {
    name.len() <= ALIAS_BYTES_MAX && is_function_name(name)
}

/// What stands behind the `@` of a target, if it can stand there.
pub(super) fn qualifier(text: &str) -> Option<Qualifier> {
    if is_alias_name(text) {
        return Some(Qualifier::Alias(text.to_owned()));
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number > 0 && digits);
    number.map(Qualifier::Version)
}

/// Reads the number of a version.
///
/// # Errors
/// When it is 0.
pub fn version_number(field: &str, number: u32) -> Result<u32, Invalid> {
    if number == 0 {
        return Err(Invalid::bad(field, "versions are numbered from 1"));
    }
    Ok(number)
}

/// Reads who asks.
///
/// # Errors
/// When it is longer than it may be.
pub fn check_by(field: &str, by: &str) -> Result<(), Invalid> {
    const { assert!(BY_BYTES_MAX == umbel_core::limit::NAME_BYTES_MAX) }
    check_plain(field, by)
}

/// Reads a digest.
///
/// # Errors
/// When it has not 32 bytes.
pub fn digest(field: &str, bytes: &Bytes) -> Result<Digest, Invalid> {
    let digest = <[u8; 32]>::try_from(&bytes[..]).map(Digest);
    digest.map_err(|_| {
        let length = bytes.len();
        Invalid::bad(field, format!("a digest has 32 bytes, this one {length}"))
    })
}

/// Reads how a version is run.
///
/// # Errors
/// When a field is outside its limits.
pub fn version_spec(field: &str, wire: v1::VersionSpec) -> Result<VersionSpec, Invalid> {
    let Some(runtime) = parse_runtime(wire.runtime) else {
        let known = Runtime::ALL.map(Runtime::as_str).join(", ");
        let field = format!("{field}.runtime");
        return Err(Invalid::bad(field, format!("it is none of {known}")));
    };
    check_texts(field, &wire)?;
    check_numbers(field, &wire)?;
    Ok(VersionSpec {
        runtime,
        handler: wire.handler,
        command: wire.command,
        environment: wire.environment,
        memory_bytes: wire.memory_bytes,
        timeout_ms: wire.timeout_ms,
        files_max: wire.files_max,
        processes_max: wire.processes_max,
        init_timeout_ms: wire.init_timeout_ms,
        idle_timeout_ms: wire.idle_timeout_ms,
        warm: wire.warm,
        pure: wire.pure,
    })
}

fn check_texts(field: &str, wire: &v1::VersionSpec) -> Result<(), Invalid> {
    let bad = |name: &str, problem: String| Err(Invalid::bad(format!("{field}.{name}"), problem));
    let texts = [&wire.handler].into_iter().chain(&wire.command);
    let pairs = wire.environment.iter().flat_map(|(k, v)| [k, v]);
    let length: usize = texts.clone().chain(pairs).map(|text| text.len() + 1).sum();
    if length > VERSION_SPEC_BYTES_MAX {
        return bad(
            "environment",
            format!(
                "handler, command and environment have {length} bytes, the limit is {VERSION_SPEC_BYTES_MAX}"
            ),
        );
    }
    if texts.clone().any(|text| text.contains('\0')) {
        let problem = "it holds a NUL byte, which no program can take";
        return bad("command", problem.to_owned());
    }
    if wire.command.first().is_some_and(String::is_empty) {
        return bad("command", "it names no program".to_owned());
    }
    for (name, value) in &wire.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let shown = head(name, 255);
            return bad(
                "environment",
                format!(
                    "{shown:?} cannot be set: a name is not empty and holds no `=`, and neither holds a NUL byte"
                ),
            );
        }
    }
    Ok(())
}

fn check_numbers(field: &str, wire: &v1::VersionSpec) -> Result<(), Invalid> {
    let bad = |name: &str, problem: String| Err(Invalid::bad(format!("{field}.{name}"), problem));
    for (name, value, least) in [
        ("timeout_ms", wire.timeout_ms, 1),
        ("init_timeout_ms", wire.init_timeout_ms, 1),
        ("idle_timeout_ms", wire.idle_timeout_ms, 0),
    ] {
        if value.is_some_and(|ms| !(least..=DURATION_MS_MAX).contains(&ms)) {
            return bad(name, format!("allowed are {least} to {DURATION_MS_MAX}"));
        }
    }
    for (name, value) in [
        ("memory_bytes", wire.memory_bytes),
        ("files_max", wire.files_max),
        ("processes_max", wire.processes_max),
    ] {
        if value == Some(0) {
            return bad(name, "with 0 nothing runs; leave it out".to_owned());
        }
    }
    if wire.warm > VERSION_WARM_MAX {
        let problem = format!("it is {}, the limit is {VERSION_WARM_MAX}", wire.warm);
        return bad("warm", problem);
    }
    Ok(())
}

/// How a version is run.
#[must_use]
pub fn wire_version_spec(spec: &VersionSpec) -> v1::VersionSpec {
    v1::VersionSpec {
        runtime: wire_runtime(spec.runtime).into(),
        handler: spec.handler.clone(),
        command: spec.command.clone(),
        environment: spec.environment.clone(),
        memory_bytes: spec.memory_bytes,
        timeout_ms: spec.timeout_ms,
        warm: spec.warm,
        pure: spec.pure,
        files_max: spec.files_max,
        processes_max: spec.processes_max,
        init_timeout_ms: spec.init_timeout_ms,
        idle_timeout_ms: spec.idle_timeout_ms,
    }
}

fn wire_runtime(runtime: Runtime) -> v1::Runtime {
    match runtime {
        Runtime::Exec => v1::Runtime::Exec,
        Runtime::Lambda => v1::Runtime::Lambda,
        Runtime::Python => v1::Runtime::Python,
        Runtime::Node => v1::Runtime::Node,
        Runtime::Wasm => v1::Runtime::Wasm,
    }
}

fn parse_runtime(wire: i32) -> Option<Runtime> {
    Some(match v1::Runtime::try_from(wire).ok()? {
        v1::Runtime::Unspecified => return None,
        v1::Runtime::Exec => Runtime::Exec,
        v1::Runtime::Lambda => Runtime::Lambda,
        v1::Runtime::Python => Runtime::Python,
        v1::Runtime::Node => Runtime::Node,
        v1::Runtime::Wasm => Runtime::Wasm,
    })
}

/// The runtimes that a worker says it has; one of a newer protocol is passed over.
pub(super) fn parse_runtimes(wire: &[i32]) -> Runtimes {
    wire.iter().copied().filter_map(parse_runtime).collect()
}

/// The runtimes as the wire bears them.
pub(super) fn wire_runtimes(runtimes: Runtimes) -> Vec<i32> {
    runtimes
        .iter()
        .map(|one| wire_runtime(one).into())
        .collect()
}

/// The word for a runtime; nothing for one that is not known.
#[must_use]
pub fn runtime_word(wire: v1::Runtime) -> &'static str {
    parse_runtime(wire.into()).map_or("", Runtime::as_str)
}

/// A version, as it is told to a worker.
pub(super) fn wire_notice(version: &Version) -> v1::VersionNotice {
    v1::VersionNotice {
        id: version.id.0,
        function: version.function.clone(),
        number: version.number,
        content: version.content.0.to_vec().into(),
        spec: Some(wire_version_spec(&version.spec)),
        artifact_digest: version.artifact.digest.0.to_vec().into(),
        packed_bytes: version.artifact.packed_bytes,
        unpacked_bytes: version.artifact.unpacked_bytes,
        file_count: version.artifact.file_count,
    }
}

/// The same at the worker's door, where nobody asks who published it or where it lies.
pub(super) fn parse_notice(wire: v1::VersionNotice) -> Result<Version, Invalid> {
    let spec = wire
        .spec
        .ok_or_else(|| Invalid::broken("version.spec", "it is missing"))?;
    Ok(Version {
        id: VersionId(wire.id),
        function: function_name("version.function", wire.function)?,
        number: wire.number,
        content: digest("version.content", &wire.content)?,
        spec: version_spec("version.spec", spec)?,
        artifact: Artifact {
            digest: digest("version.artifact_digest", &wire.artifact_digest)?,
            upload: UploadId([0; 16]),
            packed_bytes: wire.packed_bytes,
            unpacked_bytes: wire.unpacked_bytes,
            file_count: wire.file_count,
        },
        epoch: 0,
        published_ms: 0,
        published_by: String::new(),
    })
}

/// A version id on the wire, where 0 is none.
pub(super) fn wire_id(version: Option<VersionId>) -> u32 {
    version.map_or(0, |version| version.0)
}

pub(super) fn parse_id(wire: u32) -> Option<VersionId> {
    Some(VersionId(wire)).filter(|version| version.0 > 0)
}

/// An arm on the wire, where 0 is none.
pub(super) fn wire_arm(arm: Option<ArmId>) -> u32 {
    arm.map_or(0, |arm| arm.0)
}

pub(super) fn parse_arm(wire: u32) -> Option<ArmId> {
    Some(ArmId(wire)).filter(|arm| arm.0 > 0)
}

/// A version as it is shown.
#[must_use]
pub fn version(version: &Version) -> v1::Version {
    let (spec, artifact) = (&version.spec, &version.artifact);
    v1::Version {
        function: version.function.clone(),
        number: version.number,
        runtime: wire_runtime(spec.runtime).into(),
        handler: spec.handler.clone(),
        command: spec.command.clone(),
        environment_names: spec.environment.keys().cloned().collect(),
        memory_bytes: spec.memory_bytes,
        timeout_ms: spec.timeout_ms,
        warm: spec.warm,
        pure: spec.pure,
        artifact_digest: artifact.digest.to_string(),
        packed_bytes: artifact.packed_bytes,
        unpacked_bytes: artifact.unpacked_bytes,
        file_count: artifact.file_count,
        published_at: Some(timestamp(version.published_ms)),
        published_by: version.published_by.clone(),
        retired_at: None,
        workers: 0,
        warm_workers: 0,
        kept_instances: 0,
        ready_instances: 0,
        figures: None,
    }
}

fn version_of(view: &VersionView) -> v1::Version {
    v1::Version {
        retired_at: view.retired_ms.map(timestamp),
        workers: view.workers,
        warm_workers: view.warm_workers,
        kept_instances: view.kept_instances,
        ready_instances: view.ready_instances,
        figures: view.figures.as_ref().map(figures),
        ..version(&view.version)
    }
}

fn figures(view: &FiguresView) -> v1::Figures {
    let [fetch, load, init, first_call] = view.parts.map(|part| Some(spread(part)));
    v1::Figures {
        since: Some(timestamp(view.since_ms)),
        warm: Some(spread(view.warm)),
        cold: Some(spread(view.cold)),
        fetch,
        load,
        init,
        first_call,
    }
}

fn spread(view: Spread) -> v1::Spread {
    v1::Spread {
        count: view.count,
        p50_us: view.p50_us,
        p95_us: view.p95_us,
        p99_us: view.p99_us,
    }
}

/// A function as it is shown in a list.
#[must_use]
pub fn function(view: &FunctionView) -> v1::Function {
    v1::Function {
        name: view.name.clone(),
        workers: view.workers,
        live: view.live.as_ref().map(|live| version(live)),
        version_count: view.version_count,
        deleted: false,
    }
}

/// A published function; `live` is what its bare name means.
#[must_use]
pub fn published(view: &PublishedView, of: Option<&FunctionView>) -> v1::GetFunctionResponse {
    let shown = of.map(function).unwrap_or_default();
    v1::GetFunctionResponse {
        function: Some(v1::Function {
            name: view.name.clone(),
            deleted: view.deleted,
            ..shown
        }),
        versions: view.versions.iter().map(version_of).collect(),
        aliases: view.aliases.iter().map(alias).collect(),
        next_page_token: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> v1::Publication {
        v1::Publication {
            function: "resize".into(),
            spec: Some(v1::VersionSpec {
                runtime: v1::Runtime::Python.into(),
                handler: "app.handler".into(),
                environment: [("KEY".to_owned(), "value".to_owned())].into(),
                ..v1::VersionSpec::default()
            }),
            artifact_digest: vec![7; 32].into(),
            packed_bytes: 10,
            published_by: "me@desk".into(),
        }
    }

    fn refused(change: impl FnOnce(&mut v1::Publication)) -> Invalid {
        let mut wire = asked();
        change(&mut wire);
        publication(wire).unwrap_err()
    }

    #[test]
    fn what_is_outside_its_limits_is_named() {
        assert!(publication(asked()).is_ok());
        for (field, change) in [
            (
                "publication.function",
                (|p| p.function = "a@b".into()) as fn(&mut v1::Publication),
            ),
            ("publication.function", |p| p.function = "umbel.mine".into()),
            ("publication.spec", |p| p.spec = None),
            ("publication.spec.runtime", |p| {
                p.spec = Some(v1::VersionSpec::default())
            }),
            ("publication.spec.environment", |p| {
                let spec = p.spec.as_mut().unwrap();
                spec.environment.insert("A=B".into(), String::new());
            }),
            ("publication.spec.environment", |p| {
                let spec = p.spec.as_mut().unwrap();
                spec.environment
                    .insert("A".into(), "x".repeat(VERSION_SPEC_BYTES_MAX));
            }),
            ("publication.spec.timeout_ms", |p| {
                p.spec.as_mut().unwrap().timeout_ms = Some(0)
            }),
            ("publication.spec.warm", |p| {
                p.spec.as_mut().unwrap().warm = 4_097
            }),
            ("publication.artifact_digest", |p| {
                p.artifact_digest = Bytes::new()
            }),
            ("publication.published_by", |p| {
                p.published_by = "x".repeat(256)
            }),
        ] {
            assert_eq!(refused(change).field, field);
        }
        let large = refused(|p| p.packed_bytes = ARTIFACT_PACKED_BYTES_MAX + 1);
        assert_eq!(large.reason, Reason::ArtifactTooLarge);
    }

    #[test]
    fn content_is_artifact_name_and_spec_and_not_who_published_it() {
        let content = |wire| publication(wire).unwrap().content();
        let base = content(asked());
        let by = v1::Publication {
            published_by: "you@desk".into(),
            ..asked()
        };
        assert_eq!(content(by), base);
        let name = v1::Publication {
            function: "other".into(),
            ..asked()
        };
        assert_ne!(content(name), base);
        let artifact = v1::Publication {
            artifact_digest: vec![8; 32].into(),
            ..asked()
        };
        assert_ne!(content(artifact), base);
        let mut spec = asked();
        spec.spec.as_mut().unwrap().pure = true;
        assert_ne!(content(spec), base);
    }

    #[test]
    fn behind_the_at_stands_a_number_or_an_alias() {
        assert_eq!(qualifier("7"), Some(Qualifier::Version(7)));
        assert_eq!(qualifier("canary"), Some(Qualifier::Alias("canary".into())));
        for bad in ["", "0", "7a", "+7", "99999999999", "a b", "a@b"] {
            assert_eq!(qualifier(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn values_of_the_environment_are_shown_to_nobody() {
        let publish = publication(asked()).unwrap();
        let shown = version(&Version {
            id: VersionId(1),
            function: publish.function,
            number: 1,
            content: publish.digest,
            spec: publish.spec,
            artifact: Artifact {
                digest: publish.digest,
                upload: UploadId([0; 16]),
                packed_bytes: 1,
                unpacked_bytes: 2,
                file_count: 1,
            },
            epoch: 1,
            published_ms: 1_000,
            published_by: publish.by,
        });
        assert_eq!(shown.environment_names, ["KEY"]);
        assert!(!format!("{shown:?}").contains("value"));
    }
}
