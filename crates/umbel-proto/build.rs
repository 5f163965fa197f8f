//! Generates the wire and disk types from `proto/`, with no protoc on the machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const ROOT: &str = "../../proto";
const FILES: [&str; 12] = [
    "umbel/v1/common.proto",
    "umbel/v1/job.proto",
    "umbel/v1/function.proto",
    "umbel/v1/experiment.proto",
    "umbel/v1/route.proto",
    "umbel/v1/rollout.proto",
    "umbel/v1/shadow.proto",
    "umbel/v1/session.proto",
    "umbel/v1/cluster.proto",
    "umbel/disk/v1/record.proto",
    "umbel/disk/v1/arm.proto",
    "umbel/disk/v1/rollout.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(FILES)?;
    fs::write(
        out.join("umbel.descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // Rare, and much longer than what a session says else.
        .boxed(".umbel.v1.ConnectResponse.message.version")
        .extern_path(
            ".umbel.v1.StreamResultsResponse",
            "crate::results::StreamResultsResponse",
        )
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
