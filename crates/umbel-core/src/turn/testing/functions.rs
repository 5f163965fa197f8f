//! Published functions in the small cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Env, spec};
use crate::command::{Refusal, Reply};
use crate::event::{Event, Proposal, Publication};
use crate::function::{
    Alias, Artifact, Digest, LIVE, Qualifier, Runtime, UploadId, Version, VersionSpec,
};
use crate::id::JobId;
use crate::job::{Source, Target};

/// A target as people write it.
pub(crate) fn target_of(text: &str) -> Target {
    let Some((function, qualifier)) = text.split_once('@') else {
        return Target::Function(text.to_owned());
    };
    let qualifier = match qualifier.parse() {
        Ok(number) => Qualifier::Version(number),
        Err(_) => Qualifier::Alias(qualifier.to_owned()),
    };
    Target::Version(function.to_owned(), qualifier)
}

fn refusal_of(reply: Reply) -> Result<(), Refusal> {
    match reply {
        Reply::Refused(refusal) => Err(refusal),
        _ => Ok(()),
    }
}

/// An upload that bears its content.
fn upload_of(content: &str) -> UploadId {
    let mut upload = [b' '; 16];
    upload[..content.len()].copy_from_slice(content.as_bytes());
    UploadId(upload)
}

pub(super) fn content_of(upload: UploadId) -> String {
    let content = String::from_utf8(upload.0.to_vec()).unwrap();
    content.trim_end().to_owned()
}

impl Env {
    /// `f` has three versions, in Python.
    pub(crate) fn with_three_versions() -> Self {
        let mut env = Self::new();
        for content in ["one", "two", "three"] {
            env.publish("f", content, Runtime::Python);
        }
        env
    }

    /// Submits a job for a target over a range.
    pub(crate) fn submit_to(&mut self, target: &str, count: u32) -> JobId {
        self.submit(count, |proposal| proposal.spec.target = target_of(target))
    }

    /// Why such a job is refused.
    pub(crate) fn try_submit_to(&mut self, target: &str) -> Result<(), Refusal> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        let mut spec = spec("");
        spec.target = target_of(target);
        let proposal = Box::new(Proposal {
            id: JobId(id),
            spec,
            source: Source::Range { begin: 0, count: 1 },
            blocks: Vec::new(),
            seal: true,
            request_id: String::new(),
            content_digest: [0; 32],
            refusal: None,
        });
        refusal_of(self.ask(|reply| Event::CreateJob { reply, proposal }))
    }

    /// Publishes a function of some content.
    pub(crate) fn publish(
        &mut self,
        function: &str,
        content: &str,
        runtime: Runtime,
    ) -> Arc<Version> {
        match self.try_publish(function, content, runtime, |_| {}) {
            Reply::Published { version, .. } => version,
            other => panic!("not published: {other:?}"),
        }
    }

    pub(crate) fn try_publish(
        &mut self,
        function: &str,
        content: &str,
        runtime: Runtime,
        with: impl FnOnce(&mut Publication),
    ) -> Reply {
        let upload = upload_of(content);
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&upload.0);
        let mut both = digest;
        both[31] = 1 + runtime as u8;
        let mut publication = Box::new(Publication {
            function: function.to_owned(),
            spec: VersionSpec {
                runtime,
                handler: "app.handler".to_owned(),
                command: Vec::new(),
                environment: BTreeMap::new(),
                memory_bytes: None,
                files_max: None,
                processes_max: None,
                timeout_ms: None,
                init_timeout_ms: None,
                idle_timeout_ms: None,
                warm: 0,
                pure: false,
            },
            artifact: Artifact {
                digest: Digest(digest),
                upload,
                packed_bytes: 10,
                unpacked_bytes: 20,
                file_count: 1,
            },
            staged: true,
            content: Digest(both),
            by: "me@desk".to_owned(),
            refusal: None,
        });
        with(&mut publication);
        self.ask(|reply| Event::Publish { reply, publication })
    }

    /// Where a function's bare name leads.
    pub(crate) fn live(&self, function: &str) -> u32 {
        self.alias(function, LIVE).route.to
    }

    pub(crate) fn alias(&self, function: &str, name: &str) -> Alias {
        let view = self.machine.function(function, None, 1).unwrap();
        let mut aliases = view.aliases.into_iter();
        aliases.find(|alias| alias.name == name).unwrap()
    }

    pub(crate) fn point(&mut self, function: &str, alias: &str, to: u32) {
        self.try_point(function, alias, to).unwrap();
    }

    pub(crate) fn try_point(
        &mut self,
        function: &str,
        alias: &str,
        to: u32,
    ) -> Result<(), Refusal> {
        let (function, alias, by) = (function.to_owned(), alias.to_owned(), "me@desk".to_owned());
        refusal_of(self.ask(|reply| Event::Point {
            reply,
            function,
            alias,
            to,
            by,
        }))
    }

    /// Rolls an alias back; tells where it points now.
    pub(crate) fn roll_back(&mut self, function: &str, alias: &str) -> Result<u32, Refusal> {
        let (function, alias, by) = (function.to_owned(), alias.to_owned(), "me@desk".to_owned());
        match self.ask(|reply| Event::RollBack {
            reply,
            function,
            alias,
            by,
        }) {
            Reply::Alias(alias) => Ok(alias.route.to),
            other => Err(refusal_of(other).unwrap_err()),
        }
    }

    pub(crate) fn delete(&mut self, function: &str, number: Option<u32>) {
        self.try_delete(function, number).unwrap();
    }

    pub(crate) fn try_delete(
        &mut self,
        function: &str,
        number: Option<u32>,
    ) -> Result<(), Refusal> {
        let function = function.to_owned();
        refusal_of(self.ask(|reply| Event::Retire {
            reply,
            function,
            number,
        }))
    }

    /// Why a job waits.
    pub(crate) fn reasons(&self, job: JobId) -> Vec<&'static str> {
        let reasons = self.machine.explain(self.now, job).unwrap();
        reasons.iter().map(|why| why.reason).collect()
    }
}
