//! `umbel function publish`: a version of a function out of what lies here.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use umbel_artifact::{Packed, pack};
use umbel_client::{Client, v1};
use umbel_runtime::{LambdaError, Spec, SpecError};

use super::who;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::manifest::{OptionArgs, Source};
use crate::output::{self, Published};

const EXAMPLES: &str = "\
Prints NAME@NUMBER of the version on stdout once it is on the coordinator's disk. The same code and
options published again are the same version. NAME alone means the newest version from then on,
unless it was pointed elsewhere (umbel function point).

A folder's umbel.toml can say all of it, its name too (see config/umbel.toml); flags go before it.
Left out of a folder: .git and the like, __pycache__, .cache, umbel.toml. At most 64 MiB packed,
256 MiB unpacked, 32,768 files.

Examples:
  umbel function publish resize --runtime python --handler app.handler ./resize/
  umbel function publish ./resize/
  umbel function publish count --runtime exec ./count.sh
  umbel function publish checksum --runtime lambda --env LEVEL=3 ./checksum.zip";

/// The arguments of `function publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(override_usage = "umbel function publish [OPTIONS] [NAME] PATH")]
pub(super) struct Args {
    /// The function's name, if its umbel.toml does not say it; then its folder, a file or a zip
    #[arg(value_names = ["NAME", "PATH"], num_args = 1..=2, required = true)]
    names: Vec<String>,
    #[command(flatten)]
    options: OptionArgs,
    /// Instances that each worker keeps ready, up to its slots, while an alias leads to the version
    #[arg(long, value_name = "N")]
    warm: Option<u32>,
    /// Equal inputs have equal outputs, and nothing else comes of an invocation
    #[arg(long)]
    pure: bool,
}

/// Packs it, sends it, and prints what became of it.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let (name, path) = match &args.names[..] {
        [name, path] => (Some(name.clone()), PathBuf::from(path)),
        [path] => (None, PathBuf::from(path)),
        _ => return Err(Exit::usage("name the function and its path")),
    };
    let client = Client::connect(&global.coordinator)?;
    let response = send(&client, name, path, args).await?;
    if global.output == OutputForm::Json {
        return output::document(&Published::from(&response));
    }
    let version = response.version.unwrap_or_default();
    let (name, number) = (&version.function, version.number);
    output::line(&format!("{name}@{number}"))?;
    let files = match version.file_count {
        1 => "1 file".to_owned(),
        count => format!("{} files", output::count(count.into())),
    };
    let what = if response.existed {
        "was published before; this is the same version".to_owned()
    } else {
        format!(
            "published: {files}, {}",
            output::size(version.unpacked_bytes)
        )
    };
    let live = match response.live {
        live if live == number => format!("{name} means it"),
        live => format!("{name} means {name}@{live} (umbel function point {name}@live {number})"),
    };
    output::remark(&format!("{name}@{number} {what}; {live}"));
    Ok(())
}

/// Publishes what lies at `path` under a name, with what its own `umbel.toml` says and `options`.
pub(crate) async fn publish(
    client: &Client,
    name: String,
    path: PathBuf,
    options: OptionArgs,
) -> Result<v1::PublishVersionResponse, Exit> {
    let args = Args {
        names: Vec::new(),
        options,
        warm: None,
        pure: false,
    };
    send(client, Some(name), path, args).await
}

async fn send(
    client: &Client,
    name: Option<String>,
    path: PathBuf,
    args: Args,
) -> Result<v1::PublishVersionResponse, Exit> {
    let packing = tokio::task::spawn_blocking(move || prepare(name, &path, &args));
    let prepared = packing.await;
    let (name, spec, packed) = prepared.map_err(|error| Exit::internal(error.to_string()))??;
    let publication = v1::Publication {
        function: name,
        spec: Some(spec),
        artifact_digest: Bytes::copy_from_slice(&packed.contents.digest.0),
        packed_bytes: packed.bytes.len() as u64,
        published_by: who(),
    };
    Ok(client.publish(publication, packed.bytes.into()).await?)
}

fn prepare(
    name: Option<String>,
    path: &Path,
    args: &Args,
) -> Result<(String, v1::VersionSpec, Packed), Exit> {
    let source = Source::at(path, &args.options)?;
    let packed = pack(&source.code).map_err(|error| Exit::usage(error.to_string()))?;
    let (name, spec) = declared(name, source, args)?;
    Ok((name, spec, packed))
}

/// The name and the spec, looked through for what can be known to be wrong here.
fn declared(
    name: Option<String>,
    mut source: Source,
    args: &Args,
) -> Result<(String, v1::VersionSpec), Exit> {
    if let Some(name) = name {
        source.manifest.name = name;
    }
    let spec = source.manifest.spec()?;
    match spec.executable(Some(&source.code)) {
        // That is the workers' to have.
        Ok(_) | Err(SpecError::NoWasm | SpecError::Lambda(LambdaError::NoInterpreter { .. })) => {}
        Err(error) => return Err(Exit::usage(format!("function `{}`: {error}", spec.name))),
    }
    let warm = args.warm.or(source.manifest.warm).unwrap_or(0);
    let pure = args.pure || source.manifest.pure.unwrap_or(false);
    Ok((spec.name.clone(), wire(spec, warm, pure)))
}

fn wire(spec: Spec, warm: u32, pure: bool) -> v1::VersionSpec {
    use umbel_runtime::Runtime;
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let runtime = match spec.runtime {
        Runtime::Exec => v1::Runtime::Exec,
        Runtime::Lambda => v1::Runtime::Lambda,
        Runtime::Python => v1::Runtime::Python,
        Runtime::Node => v1::Runtime::Node,
        Runtime::Wasm => v1::Runtime::Wasm,
    };
    v1::VersionSpec {
        runtime: runtime.into(),
        handler: spec.handler.unwrap_or_default(),
        command: spec.command,
        environment: spec.environment,
        memory_bytes: spec.bounds.memory_bytes_max,
        files_max: spec.bounds.files_max,
        processes_max: spec.bounds.processes_max,
        timeout_ms: spec.timeout.map(ms),
        init_timeout_ms: spec.init_timeout.map(ms),
        idle_timeout_ms: spec.idle_timeout.map(ms),
        warm,
        pure,
    }
}
