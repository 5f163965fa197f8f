//! The corpus, through the targets, without a fuzzer: so the targets live, and what was found
//! once stays mended.

use std::fs;
use std::path::{Path, PathBuf};

use umbel_fuzz::{TARGETS, run, seeds};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target)
}

/// `UMBEL_WRITE_SEEDS=1` writes the seeds to where the fuzzers begin with them.
#[test]
fn every_seed_means_something_to_its_target() {
    let write = std::env::var_os("UMBEL_WRITE_SEEDS").is_some();
    let mut without = TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    for (target, name, bytes) in seeds() {
        assert!(
            run(target, &bytes),
            "{target} does not understand {name}: {bytes:?}"
        );
        without.retain(|one| *one != target);
        if write {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
    assert!(without.is_empty(), "no seeds: {without:?}");
}

/// A name of a file that begins with `found-` is what a fuzzer once fell over.
#[test]
fn the_corpus_is_replayed_and_nobody_falls_over_it() {
    for (target, _) in TARGETS {
        let files =
            fs::read_dir(corpus(target)).map(|files| files.map(|file| file.unwrap().path()));
        let files: Vec<PathBuf> = files.map(Iterator::collect).unwrap_or_default();
        assert!(!files.is_empty(), "there is no corpus of {target}");
        let mut understood = 0;
        for file in files {
            let bytes = fs::read(&file).unwrap();
            understood += usize::from(run(target, &bytes));
            // Cut anywhere, and with any bit turned, it is refused or understood.
            for at in 0..bytes.len().min(512) {
                let _ = run(target, &bytes[..at]);
                let mut turned = bytes.clone();
                turned[at] ^= 1 << (at % 8);
                let _ = run(target, &turned);
            }
        }
        assert!(understood > 0, "{target} understands nothing of its corpus");
    }
}

/// Each target has its program for libFuzzer, by the same name.
#[test]
fn every_target_can_be_fuzzed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        let program = fs::read_to_string(dir.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("\"{target}\"")), "{target}");
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
    }
}
