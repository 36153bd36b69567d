//! The filter of system calls (seccomp(2)).

use super::calls::{ALLOWED, Call, With};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;
use std::env::consts::ARCH;

/// The calls that are allowed to every server, by name, with the reason for each.
pub fn calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALLOWED.iter().map(|call| (call.name, call.reason))
}

/// Filters the calls of all threads of this process, for ever: those of the table and `more`, which
/// are numbers, are allowed. Returns how many they are.
///
/// A call that is denied fails with `EPERM`. That ends neither a thread nor the process: the
/// handler that made it gets an error.
///
/// # Errors
///
/// Why there is no filter.
pub fn filter(more: &[i64]) -> Result<usize, String> {
    let programs = programs(more).map_err(|error| error.to_string())?;
    for program in &programs {
        apply_filter_all_threads(program).map_err(|error| match error {
            seccompiler::Error::Seccomp(error) => match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EINVAL) => "the kernel has none".to_owned(),
                _ => error.to_string(),
            },
            error => error.to_string(),
        })?;
    }
    Ok(ALLOWED.len() + more.len())
}

/// The filters. Of their answers to a call the kernel takes the strictest.
fn programs(more: &[i64]) -> Result<[BpfProgram; 2], BackendError> {
    let arch = TargetArch::try_from(ARCH)?;
    let mut allowed = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for call in ALLOWED {
        allowed.insert(call.number, call.rules()?);
    }
    allowed.extend(more.iter().map(|number| (*number, Vec::new())));
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let allow = SeccompFilter::new(allowed, denied, SeccompAction::Allow, arch)?;
    // A filter does not see the flags of `clone3`, which are in memory. Where it seems to be
    // missing, C libraries start threads with `clone`.
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let without = SeccompFilter::new(clone3, SeccompAction::Allow, missing, arch)?;
    Ok([without.try_into()?, allow.try_into()?])
}

impl Call {
    /// The rules of which one has to match. None of them: any arguments do.
    fn rules(&self) -> Result<Vec<SeccompRule>, BackendError> {
        use SeccompCmpArgLen::{Dword, Qword};
        let rule = |at, length, compared, value| {
            SeccompRule::new(vec![SeccompCondition::new(at, length, compared, value)?])
        };
        match self.with {
            With::Any => Ok(Vec::new()),
            With::One(at, values) => values
                .iter()
                .map(|value| rule(at, Dword, SeccompCmpOp::Eq, u64::from(*value)))
                .collect(),
            With::Bits(at, mask, set) => {
                let value = if set { mask } else { 0 };
                Ok(vec![rule(at, Qword, SeccompCmpOp::MaskedEq(mask), value)?])
            }
            With::Null(at) => Ok(vec![rule(at, Qword, SeccompCmpOp::Eq, 0)?]),
            With::Own(at) => {
                let own = u64::from(std::process::id());
                Ok(vec![rule(at, Dword, SeccompCmpOp::Eq, own)?])
            }
        }
    }
}
