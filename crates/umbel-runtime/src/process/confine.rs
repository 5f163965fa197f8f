//! Which files a program may reach, by Landlock: its own code and what the system runs it with, to
//! read; its scratch directory, to write.
//!
//! A ruleset binds a thread and what that starts, and cannot be taken back. So a supervisor starts
//! a confined program from a thread of its own, and stays free itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};
use rustix::io::Errno;

/// Programs, libraries and data of the system, to read and run.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
];
/// What libraries look at: names, certificates, the machine's clock and size. Other processes'
/// memory and environment in /proc stay closed, since the kernel lets nobody trace out of a ruleset.
const LOOKED_AT: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/proc",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];
/// Devices that hold nothing.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];
/// Beside the folder `bin` of an interpreter that is not the system's lies what it needs.
const BESIDE_BIN: &[&str] = &[
    "bin",
    "lib",
    "lib64",
    "libexec",
    "include",
    "share",
    "pyvenv.cfg",
];

/// What every program of this process may reach besides its own and the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Files and folders to read, and to run what is in them.
    pub readable: Vec<PathBuf>,
    /// Files and folders to do anything with.
    pub writable: Vec<PathBuf>,
}

/// Why programs cannot be confined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// The kernel has no such thing, or not enough of it.
    #[error(
        "this kernel cannot confine functions: that takes Linux 6.2 or later with Landlock (`landlock` in /sys/kernel/security/lsm): {why}"
    )]
    Unsupported {
        /// What it said.
        why: String,
    },
    /// Something that is to be reached is not there.
    #[error("`{path}` cannot be opened to functions: {source}")]
    Path {
        /// The path as it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was said before.
    #[error("functions of this process are confined already")]
    Twice,
}

static CONFINEMENT: OnceLock<Confinement> = OnceLock::new();

/// Confines every program that this process starts for a function from now on, by Landlock: to its
/// code, its interpreter and the system's programs and libraries, which it may read and run; its
/// scratch directory, where it may do anything; and what is said here. From Linux 6.12 on it also
/// sends signals to nobody but its own, and so cannot end its supervisor.
///
/// Like supervisors it is for the whole process, so that no function is left out.
///
/// # Errors
/// When the kernel cannot, a path is not there, or it was said before.
pub fn confine(confinement: Confinement) -> Result<(), ConfineError> {
    // The thread that asks is not bound: that takes another step.
    ruleset().map_err(|error| ConfineError::Unsupported {
        why: error.to_string(),
    })?;
    for path in confinement.readable.iter().chain(&confinement.writable) {
        std::fs::metadata(path).map_err(|source| ConfineError::Path {
            path: path.clone(),
            source,
        })?;
    }
    CONFINEMENT
        .set(confinement)
        .map_err(|_| ConfineError::Twice)
}

/// What one program may reach, besides what all may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) readable: Vec<PathBuf>,
    pub(super) writable: Vec<PathBuf>,
}

impl Reach {
    /// The reach of a program with its code and its scratch directory; none if it is not confined.
    pub(super) fn of(program: &Path, code: Option<&Path>, scratch: Option<&Path>) -> Option<Self> {
        let confinement = CONFINEMENT.get()?;
        let mut readable = confinement.readable.clone();
        readable.extend(code.map(Path::to_owned));
        // A link names its folder, and what it leads to another.
        let real = program.canonicalize().ok();
        for program in [Some(program), real.as_deref()].into_iter().flatten() {
            readable.push(program.to_owned());
            let bin = program.parent().filter(|folder| folder.ends_with("bin"));
            if let Some(prefix) = bin.and_then(Path::parent) {
                readable.extend(BESIDE_BIN.iter().map(|name| prefix.join(name)));
            }
        }
        let mut writable = confinement.writable.clone();
        writable.extend(scratch.map(Path::to_owned));
        Some(Self { readable, writable })
    }
}

/// Calls `start` where whatever it starts reaches no more than that.
pub(super) fn within<T: Send>(
    reach: &Reach,
    start: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let confined = thread::Builder::new()
            .name("umbel-confined".to_owned())
            .spawn_scoped(scope, || {
                // Told apart from a program that may not be run: nothing is wrong with that.
                bind(reach).map_err(|_| io::Error::from(Errno::OPNOTSUPP))?;
                start()
            })?;
        confined.join().unwrap_or_else(|_| Err(Errno::IO.into()))
    })
}

/// Binds this thread, for ever.
fn bind(reach: &Reach) -> Result<(), RulesetError> {
    let (read, all) = (AccessFs::from_read(ABI::V5), AccessFs::from_all(ABI::V5));
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    ruleset()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(LOOKED_AT, look))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(&reach.readable, read))?
        .add_rules(path_beneath_rules(&reach.writable, all))?
        .restrict_self()?;
    Ok(())
}

/// A ruleset that allows nothing yet.
fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        // With less than this a file that may not be written could still be cut.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))?
        // Controls of devices, and signals, are for kernels that know of them.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()
}
