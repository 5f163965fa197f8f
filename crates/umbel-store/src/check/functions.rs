//! Published functions: whether versions have their artifacts, and aliases their versions.

use std::collections::{BTreeMap, BTreeSet};

use umbel_core::function::{UploadId, VersionId};
use umbel_core::limit::ARTIFACT_PART_BYTES;
use umbel_proto::disk;

use super::Checker;
use crate::Error;
use crate::key::{self, Key, Kind, Whole};
use crate::store::scan::Item;

impl Checker<'_> {
    pub(super) fn functions(&mut self) -> Result<(), Error> {
        let mut functions = BTreeMap::new();
        for (key, value) in self.short(Kind::Published)? {
            let Key::Published(name) = key else { continue };
            match disk::decode_function(name.clone(), value) {
                Ok(record) => drop(functions.insert(name, record)),
                Err(error) => self.wrong(format!("function {name}"), &error.to_string()),
            }
        }
        let mut versions: BTreeMap<(String, u32), VersionId> = BTreeMap::new();
        let mut ids: BTreeSet<VersionId> = BTreeSet::new();
        let mut uploads: BTreeMap<UploadId, u64> = BTreeMap::new();
        for (key, value) in self.short(Kind::Version)? {
            let Key::Version(id) = key else { continue };
            let version = match disk::decode_version(id, value) {
                Ok(version) => version,
                Err(error) => {
                    self.wrong(format!("version {}", id.0), &error.to_string());
                    continue;
                }
            };
            let name = format!("{}@{}", version.function, version.number);
            let record = functions.get(&version.function);
            if record.is_none_or(|record| record.last_number < version.number) {
                self.wrong(name, "its function does not know of it");
            }
            ids.insert(id);
            versions.insert((version.function, version.number), id);
            uploads.insert(version.artifact.upload, version.artifact.packed_bytes);
        }
        let mut retired: BTreeSet<VersionId> = BTreeSet::new();
        for (key, value) in self.short(Kind::Retired)? {
            let Key::Retired(id) = key else { continue };
            retired.insert(id);
            let name = format!("retired version {}", id.0);
            if let Err(error) = disk::decode_retired(value) {
                self.wrong(name, &error.to_string());
            } else if !ids.contains(&id) {
                self.wrong(name, "there is no such version");
            }
        }
        let mut aliases = BTreeSet::new();
        for (key, value) in self.short(Kind::Alias)? {
            let Key::Alias(function, alias) = key else {
                continue;
            };
            let name = format!("alias {function}@{alias}");
            aliases.insert((function.clone(), alias.clone()));
            let alias = match disk::decode_alias(function.clone(), alias, value) {
                Ok(alias) => alias,
                Err(error) => {
                    self.wrong(name, &error.to_string());
                    continue;
                }
            };
            let to = alias.route.to;
            let why = match versions.get(&(function, to)) {
                None => "is not there",
                Some(id) if retired.contains(id) => "takes no jobs any more",
                Some(_) => continue,
            };
            self.wrong(name, &format!("it points at version {to}, which {why}"));
        }
        self.rollouts(&aliases)?;
        self.arms()?;
        self.artifacts(&uploads)
    }

    /// Each rollout can be read, and is one of an alias that is there.
    fn rollouts(&mut self, aliases: &BTreeSet<(String, String)>) -> Result<(), Error> {
        for (key, value) in self.short(Kind::Rollout)? {
            let Key::Rollout(function, alias) = key else {
                continue;
            };
            let name = format!("rollout of {function}@{alias}");
            let is_there = aliases.contains(&(function.clone(), alias.clone()));
            match disk::decode_rollout(function, alias, value) {
                Err(error) => self.wrong(name, &error.to_string()),
                Ok(_) if !is_there => self.wrong(name, "there is no such alias"),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// The figures of arms can be read.
    fn arms(&mut self) -> Result<(), Error> {
        for kind in [Kind::ArmCell, Kind::ArmMark] {
            for (key, value) in self.short(kind)? {
                let (Key::ArmCell(arm, _) | Key::ArmMark(arm)) = key else {
                    continue;
                };
                if let Err(error) = disk::decode_arm_mark(value) {
                    self.wrong(format!("figures of arm {}", arm.0), &error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Each version's artifact is whole, and there are no others but those on their way in or out.
    fn artifacts(&mut self, uploads: &BTreeMap<UploadId, u64>) -> Result<(), Error> {
        let mut passing: BTreeSet<UploadId> = BTreeSet::new();
        for kind in [Kind::StagedArtifact, Kind::DeletingArtifact] {
            for (key, _) in self.short(kind)? {
                if let Key::StagedArtifact(upload) | Key::DeletingArtifact(upload) = key {
                    passing.insert(upload);
                }
            }
        }
        let mut found: BTreeMap<UploadId, u64> = BTreeMap::new();
        for item in self.walk(key::all(Kind::Artifact)) {
            let item = match item {
                // A step may have removed the first parts of it.
                Err(Error::Damaged { .. }) if !passing.is_empty() => continue,
                item => self.note(None, item)?,
            };
            if let Some(Item::Whole(Whole::Artifact(upload), value)) = item {
                found.insert(upload, value.len() as u64);
            }
        }
        for (upload, bytes) in &found {
            if !uploads.contains_key(upload) && !passing.contains(upload) {
                let what = format!("{bytes} bytes belong to no version");
                self.wrong(artifact(*upload), &what);
            }
        }
        for (upload, expected) in uploads {
            let bytes = found.get(upload).copied().unwrap_or(0);
            if bytes != *expected {
                let part = ARTIFACT_PART_BYTES;
                let what = format!("it has {bytes} bytes of {expected}, in parts of {part}");
                self.wrong(artifact(*upload), &what);
            }
        }
        Ok(())
    }

    /// All keys of a kind whose values are short.
    fn short(&mut self, kind: Kind) -> Result<Vec<(Key, bytes::Bytes)>, Error> {
        let mut all = Vec::new();
        for item in self.walk(key::all(kind)) {
            if let Some(Item::Short(key, value)) = self.note(None, item)? {
                all.push((key, value));
            }
        }
        Ok(all)
    }

    fn wrong(&mut self, key: String, what: &str) {
        self.report.problem(None, key, what);
    }
}

fn artifact(upload: UploadId) -> String {
    let hex: Vec<String> = upload.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("artifact {}", hex.concat())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use umbel_core::change::Change;

    use super::*;
    use crate::check::check_engine;
    use crate::testing::{open, published, rollout};
    use crate::{Engine, MemoryEngine, Store, WriteBatch};

    const UPLOAD: UploadId = UploadId([7; 16]);
    const BYTES: usize = ARTIFACT_PART_BYTES + 10;

    /// A store with one version, and its engine.
    fn scene() -> (Store, Arc<MemoryEngine>, u64) {
        let (opened, engine) = open();
        let bytes = Bytes::from(vec![1; BYTES]);
        opened.store.stage_artifact(UPLOAD, 0, &bytes).unwrap();
        let turn = published(UPLOAD, BYTES as u64);
        opened.store.commit(opened.next_number, &turn).unwrap();
        (opened.store, engine, opened.next_number + 1)
    }

    fn problems(engine: &Arc<MemoryEngine>) -> Vec<String> {
        let engine: Arc<dyn Engine> = Arc::clone(engine) as Arc<dyn Engine>;
        let report = check_engine(&engine, &mut |_| {}).unwrap();
        report.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_alias_never_points_at_what_takes_no_jobs() {
        let (store, engine, number) = scene();
        let (id, at_ms) = (VersionId(1), 9);
        let retired = [Change::VersionRetired { id, at_ms }];
        store.commit(number, &retired).unwrap();
        let found = problems(&engine);
        assert!(found[0].contains("takes no jobs any more"), "{found:?}");
    }

    fn delete(engine: &Arc<MemoryEngine>, key: Key) {
        let mut batch = WriteBatch::unnumbered();
        batch.delete(key.encode());
        engine.submit(batch);
    }

    #[test]
    fn published_functions_are_sound_at_any_point_of_their_life() {
        let (store, engine, number) = scene();
        assert_eq!(problems(&engine), [""; 0]);
        let staged = Bytes::from(vec![2; BYTES]);
        let other = UploadId([8; 16]);
        store.stage_artifact(other, 0, &staged).unwrap();
        assert_eq!(problems(&engine), [""; 0], "an upload under way");
        store.unstage_artifact(other).unwrap();
        assert_eq!(problems(&engine), [""; 0], "and given up");
        let rollout = Box::new(rollout());
        store.commit(number, &[Change::Rollout(rollout)]).unwrap();
        assert_eq!(problems(&engine), [""; 0], "a rollout");
        let (function, name) = ("f".to_owned(), "live".to_owned());
        let removed = [
            Change::RolloutRemoved {
                function: function.clone(),
                alias: name.clone(),
            },
            Change::AliasRemoved { function, name },
            Change::VersionRemoved(VersionId(1)),
            Change::ArtifactRemoved(UPLOAD),
        ];
        store.commit(number + 1, &removed).unwrap();
        assert_eq!(problems(&engine), [""; 0], "a version that goes");
        while store.sweep_step().unwrap() {}
        assert_eq!(problems(&engine), [""; 0], "and is gone");
    }

    #[test]
    fn a_rollout_of_no_alias_and_one_that_cannot_be_read_are_named() {
        let (store, engine, number) = scene();
        let mut other = rollout();
        other.alias = "gone".to_owned();
        store
            .commit(number, &[Change::Rollout(Box::new(other))])
            .unwrap();
        let found = problems(&engine);
        assert!(
            found
                .iter()
                .any(|problem| problem.contains("no such alias")),
            "{found:?}"
        );
        let mut batch = WriteBatch::unnumbered();
        let key = Key::Rollout("f".to_owned(), "live".to_owned());
        batch.put(key.encode(), Bytes::from_static(b"?")).unwrap();
        engine.submit(batch);
        let found = problems(&engine);
        assert!(
            found
                .iter()
                .any(|problem| problem.contains("RolloutRecord")),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_lost_is_named() {
        let part = |part| Key::Part(Whole::Artifact(UPLOAD), part);
        let fewer = format!("bytes of {BYTES}");
        for (gone, words) in [
            (part(1), &*fewer),
            (Key::Version(VersionId(1)), "belong to no version"),
            (Key::Version(VersionId(1)), "it points at version 1"),
            (Key::Published("f".to_owned()), "does not know of it"),
        ] {
            let (_store, engine, _) = scene();
            delete(&engine, gone.clone());
            let found = problems(&engine);
            assert!(
                found.iter().any(|problem| problem.contains(words)),
                "without {gone:?}: {found:?}"
            );
        }
    }
}
