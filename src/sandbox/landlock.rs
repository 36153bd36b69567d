//! Landlock (landlock(7)): which files may be opened, and that no port is bound or connected to.

use crate::lock::lock;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope,
};
use rustix::fs::{FileType, PROC_SUPER_MAGIC, fstat, fstatfs};
use std::path::PathBuf;
use std::sync::Mutex;

/// The version whose rights are handled: the newest with which this was tested. Of an older kernel
/// those are used that it has.
const TESTED: ABI = ABI::V7;

/// Places in `/proc` that are named in rules. The kernel forgets what nobody has open there, and
/// makes it anew, as something that no rule is for.
static KEPT: Mutex<Vec<PathFd>> = Mutex::new(Vec::new());

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Files are read, directories listed.
    Read,
    /// Files are made and written to, and not read.
    Append,
    /// Files are read, made, written to, renamed and removed.
    Write,
    /// Files are removed, directories listed.
    Remove,
}

impl Right {
    fn accesses(self) -> BitFlags<AccessFs> {
        use AccessFs::{
            MakeDir, MakeReg, ReadDir, ReadFile, Refer, RemoveDir, RemoveFile, Truncate, WriteFile,
        };
        match self {
            Self::Read => ReadFile | ReadDir,
            Self::Append => WriteFile | MakeReg,
            Self::Remove => ReadDir | RemoveFile,
            Self::Write => {
                let made = MakeReg | MakeDir | RemoveFile | RemoveDir | Refer;
                ReadFile | ReadDir | WriteFile | Truncate | made
            }
        }
    }
}

/// Restricts this thread and those that it starts from now on. Returns the version of the kernel's
/// Landlock.
///
/// # Errors
///
/// Why it is not in force.
pub fn restrict(rules: &[(PathBuf, Right)]) -> Result<i32, String> {
    let failed = |error: ::landlock::RulesetError| error.to_string();
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(TESTED)))
        // No signals and no abstract UNIX sockets of processes outside.
        .and_then(|ruleset| ruleset.scope(Scope::from_all(TESTED)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    for (path, right) in rules {
        let place = PathFd::new(path).map_err(|error| error.to_string())?;
        let is_folder =
            fstat(&place).is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_dir());
        let accesses = match is_folder {
            true => right.accesses(),
            false => right.accesses() & AccessFs::from_file(TESTED),
        };
        ruleset = ruleset.add_rule(PathBeneath::new(&place, accesses)).map_err(failed)?;
        if fstatfs(&place).is_ok_and(|of| of.f_type == PROC_SUPER_MAGIC) {
            lock(&KEPT).push(place);
        }
    }
    // Newer kernels restrict the threads that run already, too.
    let status = ruleset
        .all_threads(true)
        .and_then(::landlock::RulesetCreated::restrict_self)
        .map_err(failed)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("the kernel was started without it (lsm=)".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => Err("the kernel has none, or hides it".to_owned()),
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            Ok(kernel_abi.unwrap_or(effective_abi as i32))
        }
        (_, _) => Err("the kernel does not tell".to_owned()),
    }
}
