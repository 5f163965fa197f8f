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

# The real services, sessions and clients over a simulated network: one seed, twice.
net seed:
    cargo run -p umbel-net --release -- run {{seed}}

# Seeds of the simulated network for some minutes, and how many.
net-soak minutes="10":
    cargo run -p umbel-net --release -- soak {{minutes}}

# One fuzzer for some seconds, or all (needs cargo-fuzz; stable will do). What it finds goes to
# fuzz/seeds/TARGET as found-..., and stays mended from then on.
fuzz target="all" seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    export RUSTC_BOOTSTRAP=1
    targets={{target}}
    [ "$targets" = all ] && targets=$(cargo fuzz list)
    for target in $targets; do
        mkdir -p "fuzz/corpus/$target"
        cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
            -max_total_time={{seconds}} -timeout=10 -rss_limit_mb=2048
    done

# The seeds of the fuzzers, as today's code writes them.
fuzz-seeds:
    UMBEL_WRITE_SEEDS=1 cargo test -p umbel-fuzz

# Real processes killed, stopped, cut off and starved at random for some minutes; a table in the end.
drill minutes="30":
    UMBEL_TEST_PATIENCE=600 UMBEL_DRILL_MINUTES={{minutes}} cargo test -p umbel --test e2e drill:: -- --nocapture
