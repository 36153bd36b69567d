//! How much memory the machine, or the container around this process, has for it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that this process can use before the system ends it: the least of what the
/// machine has and what its control groups allow (cgroups(7)). None where nothing tells.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = limit_files(&groups).into_iter().filter_map(|file| read_limit(&file));
    of_groups.chain(machine_memory()).min()
}

fn machine_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let info = rustix::system::sysinfo();
        // Each is as wide as the machine's words.
        Some(info.mem_unit as u64 * info.totalram as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The files that hold the limits of these groups and of those above them, for both versions of
/// control groups; within a container the group's path need not be seen, and its top is the limit.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (tops, name): (&[&str], _) = match controllers {
            "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (&["/sys/fs/cgroup/memory"], "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for top in tops {
            for group in Path::new(path.trim_start_matches('/')).ancestors() {
                files.push(Path::new(top).join(group).join(name));
            }
        }
    }
    files
}

/// A limit in bytes; none where there is no such file, or it says that there is none.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_all_groups_above() {
        let files = |groups| {
            let files = limit_files(groups).into_iter();
            files.map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            files("5:cpu:/a\n4:hugetlb,memory:/a/b\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(
            files("0::/x")[..2],
            ["/sys/fs/cgroup/x/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(files("nonsense"), [""; 0]);
    }

    #[test]
    fn unlimited_is_no_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("memory.max");
        for (text, limit) in [("max\n", None), ("104857600\n", Some(104_857_600)), ("", None)] {
            fs::write(&file, text).expect("written");
            assert_eq!(read_limit(&file), limit, "{text}");
        }
        assert_eq!(read_limit(&dir.path().join("none")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_machine_has_some() {
        assert!(memory_limit() > Some(1 << 20));
    }
}
