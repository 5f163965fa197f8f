//! Functions, their versions and aliases.

use serde::Serialize;
use umbel_client::v1;

use super::route::Route;
use super::shown;

/// The word for a runtime.
pub(crate) const fn runtime_word(runtime: v1::Runtime) -> &'static str {
    match runtime {
        v1::Runtime::Exec => "exec",
        v1::Runtime::Lambda => "lambda",
        v1::Runtime::Python => "python",
        v1::Runtime::Node => "node",
        v1::Runtime::Wasm => "wasm",
        v1::Runtime::Unspecified => "unknown",
    }
}

/// Functions, by name.
#[derive(Debug, Serialize)]
pub(crate) struct Functions<'a> {
    functions: Vec<Function<'a>>,
}

impl<'a> From<&'a [v1::Function]> for Functions<'a> {
    fn from(functions: &'a [v1::Function]) -> Self {
        Self {
            functions: functions.iter().map(Function::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    workers: u32,
    /// Absent of what workers bring themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<u32>,
}

impl<'a> From<&'a v1::Function> for Function<'a> {
    fn from(function: &'a v1::Function) -> Self {
        let live = function.live.as_ref();
        Self {
            name: &function.name,
            workers: function.workers,
            runtime: live.map(|live| runtime_word(live.runtime())),
            live: live.map(|live| live.number),
            versions: live.map(|_| function.version_count),
        }
    }
}

/// A published function.
#[derive(Debug, Serialize)]
pub(crate) struct PublishedFunction<'a> {
    name: &'a str,
    deleted: bool,
    aliases: Vec<Alias<'a>>,
    versions: Vec<Version<'a>>,
}

impl<'a> From<&'a v1::GetFunctionResponse> for PublishedFunction<'a> {
    fn from(found: &'a v1::GetFunctionResponse) -> Self {
        let function = found.function.as_ref();
        Self {
            name: function.map_or("", |function| &function.name),
            deleted: function.is_some_and(|function| function.deleted),
            aliases: found.aliases.iter().map(Alias::from).collect(),
            versions: found.versions.iter().map(Version::from).collect(),
        }
    }
}

/// What became of a publication.
#[derive(Debug, Serialize)]
pub(crate) struct Published<'a> {
    function: &'a str,
    version: u32,
    existed: bool,
    live: u32,
    artifact_digest: &'a str,
}

impl<'a> From<&'a v1::PublishVersionResponse> for Published<'a> {
    fn from(response: &'a v1::PublishVersionResponse) -> Self {
        let version = response.version.as_ref();
        Self {
            function: version.map_or("", |version| &version.function),
            version: version.map_or(0, |version| version.number),
            existed: response.existed,
            live: response.live,
            artifact_digest: version.map_or("", |version| &version.artifact_digest),
        }
    }
}

/// A version.
#[derive(Debug, Serialize)]
struct Version<'a> {
    number: u32,
    runtime: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    handler: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    command: &'a [String],
    environment_names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    warm: u32,
    pure: bool,
    artifact_digest: &'a str,
    packed_bytes: u64,
    unpacked_bytes: u64,
    file_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
    published_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<String>,
    workers: u32,
    warm_workers: u32,
    kept_instances: u64,
    ready_instances: u64,
    /// Absent when it did not run since the coordinator started.
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
}

/// How long a version ran.
#[derive(Debug, Serialize)]
struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// The part of all runs that were cold starts.
    cold_share: f64,
    warm: Spread,
    cold: Spread,
    cold_parts: ColdParts,
}

/// The parts of the cold starts.
#[derive(Debug, Serialize)]
struct ColdParts {
    fetch: Spread,
    load: Spread,
    init: Spread,
    first_call: Spread,
}

/// How some times are spread.
#[derive(Debug, Serialize)]
struct Spread {
    count: u64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
}

impl From<Option<v1::Spread>> for Spread {
    fn from(spread: Option<v1::Spread>) -> Self {
        let spread = spread.unwrap_or_default();
        Self {
            count: spread.count,
            p50_us: spread.p50_us,
            p95_us: spread.p95_us,
            p99_us: spread.p99_us,
        }
    }
}

impl From<&v1::Figures> for Figures {
    fn from(figures: &v1::Figures) -> Self {
        let (warm, cold) = (Spread::from(figures.warm), Spread::from(figures.cold));
        Self {
            since: shown(figures.since.as_ref()),
            cold_share: cold.count as f64 / (warm.count + cold.count).max(1) as f64,
            warm,
            cold,
            cold_parts: ColdParts {
                fetch: figures.fetch.into(),
                load: figures.load.into(),
                init: figures.init.into(),
                first_call: figures.first_call.into(),
            },
        }
    }
}

impl<'a> From<&'a v1::Version> for Version<'a> {
    fn from(version: &'a v1::Version) -> Self {
        Self {
            number: version.number,
            runtime: runtime_word(version.runtime()),
            state: match version.retired_at {
                Some(_) => "retired",
                None => "published",
            },
            handler: &version.handler,
            command: &version.command,
            environment_names: &version.environment_names,
            memory_bytes: version.memory_bytes,
            timeout_ms: version.timeout_ms,
            warm: version.warm,
            pure: version.pure,
            artifact_digest: &version.artifact_digest,
            packed_bytes: version.packed_bytes,
            unpacked_bytes: version.unpacked_bytes,
            file_count: version.file_count,
            published_at: shown(version.published_at.as_ref()),
            published_by: &version.published_by,
            retired_at: shown(version.retired_at.as_ref()),
            workers: version.workers,
            warm_workers: version.warm_workers,
            kept_instances: version.kept_instances,
            ready_instances: version.ready_instances,
            figures: version.figures.as_ref().map(Figures::from),
        }
    }
}

/// An alias, with how it came to point where it does.
#[derive(Debug, Serialize)]
pub(crate) struct Alias<'a> {
    name: &'a str,
    version: u32,
    follows: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Route<'a>>,
    moves: Vec<Move<'a>>,
}

impl<'a> From<&'a v1::Alias> for Alias<'a> {
    fn from(alias: &'a v1::Alias) -> Self {
        Self {
            name: &alias.name,
            version: alias.version,
            follows: alias.follows,
            route: alias.route.as_ref().map(Route::from),
            moves: alias.moves.iter().map(Move::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Move<'a> {
    kind: &'static str,
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    to: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Route<'a>>,
}

impl<'a> From<&'a v1::AliasMove> for Move<'a> {
    fn from(one: &'a v1::AliasMove) -> Self {
        Self {
            kind: match one.kind() {
                v1::MoveKind::Published => "published",
                v1::MoveKind::Pointed => "pointed",
                v1::MoveKind::RolledBack => "rolled_back",
                v1::MoveKind::RouteSet => "route_set",
                v1::MoveKind::RolloutStarted => "rollout_started",
                v1::MoveKind::RolloutStepped => "rollout_stepped",
                v1::MoveKind::Promoted => "promoted",
                v1::MoveKind::RolloutRolledBack => "rollout_rolled_back",
                v1::MoveKind::Unspecified => "unknown",
            },
            by: &one.by,
            at: shown(one.at.as_ref()),
            from: Some(one.from_version).filter(|from| *from > 0),
            to: one.to_version,
            route: one.route.as_ref().map(Route::from),
        }
    }
}
