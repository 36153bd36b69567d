//! The memory that the machine or the container has for this process.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory limit of this process in bytes: the smallest of the machine's memory and the limits
/// of its control groups (cgroups(7)). Beyond it the system ends the process. `None` if the system
/// does not tell.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = limit_files(&groups).into_iter().filter_map(|file| read_limit(&file));
    of_groups.chain(machine_memory()).min()
}

fn machine_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let info = rustix::system::sysinfo();
        // The types differ from machine to machine.
        Some(info.mem_unit as u64 * info.totalram as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The files with the limits of these control groups and of all groups above them, for both
/// versions of control groups. In a container the path of the group may not be visible; then the
/// limit of the container is at the top.
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

/// Reads a limit in bytes. `None` if the file does not exist or says `max`.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_a_group_and_all_groups_above_it() {
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
    fn max_and_missing_files_mean_no_limit() {
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
    fn the_limit_of_this_machine_is_found() {
        assert!(memory_limit() > Some(1 << 20));
    }
}
