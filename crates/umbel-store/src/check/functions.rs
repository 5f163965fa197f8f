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
        let mut versions: BTreeSet<(String, u32)> = BTreeSet::new();
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
            versions.insert((version.function, version.number));
            uploads.insert(version.artifact.upload, version.artifact.packed_bytes);
        }
        for (key, value) in self.short(Kind::Retired)? {
            let Key::Retired(id) = key else { continue };
            let name = format!("retired version {}", id.0);
            if let Err(error) = disk::decode_retired(value) {
                self.wrong(name, &error.to_string());
            } else if !ids.contains(&id) {
                self.wrong(name, "there is no such version");
            }
        }
        for (key, value) in self.short(Kind::Alias)? {
            let Key::Alias(function, alias) = key else {
                continue;
            };
            let name = format!("alias {function}@{alias}");
            match disk::decode_alias(function.clone(), alias, value) {
                Err(error) => self.wrong(name, &error.to_string()),
                Ok(alias) if !versions.contains(&(function, alias.route.to)) => {
                    let what = format!(
                        "it points at version {}, which is not there",
                        alias.route.to
                    );
                    self.wrong(name, &what);
                }
                Ok(_) => {}
            }
        }
        self.artifacts(&uploads)
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
