# `just` lists the recipes; `just verify` does what CI does.

default:
    @just --list

# The main job on this machine.
demo:
    cargo run --release -- demo

# Everything that must hold before a change lands.
verify:
    .ci/run

fmt:
    cargo fmt --all

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Licences, bans and sources of the dependencies (needs cargo-deny).
deny:
    cargo deny check licenses bans sources

# The wire and disk schema (needs buf).
proto:
    buf lint

# Invocations a second, processor time and memory, on real processes.
bench n="1000000" workers="2":
    cargo run --release -- bench fanout --n {{n}} --workers {{workers}}

# One simulated cluster, twice.
sim seed:
    cargo run -p umbel-sim --release -- run {{seed}} --shrink

# Simulated clusters for some minutes, and how many.
sim-soak minutes="10":
    cargo run -p umbel-sim --release -- soak {{minutes}}
