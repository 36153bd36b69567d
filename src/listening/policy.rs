//! What denies a process a port: the rule for privileged ports, or a policy of the system.

use std::{fs, io};

/// The first port that needs no privilege, where the system does not tell.
const UNPRIVILEGED: u16 = 1024;

/// The bit of `CAP_NET_BIND_SERVICE` in a set of capabilities (capabilities(7)).
const BIND_SERVICE: u64 = 1 << 10;

/// What this process may not do, as far as the system tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policies {
    /// The first port that needs no privilege (`net.ipv4.ip_unprivileged_port_start`, ip(7)).
    unprivileged: Option<u16>,
    /// The process may bind the others, too.
    may_bind_all: bool,
    /// A filter of system calls is in force (seccomp(2)).
    is_filtered: bool,
    /// SELinux enforces its policy.
    has_selinux: bool,
    /// The label of this process: SELinux's context or AppArmor's profile.
    label: Option<String>,
}

impl Policies {
    /// Those in force now, of this thread.
    pub(super) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let start = read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        let status = read("/proc/thread-self/status").unwrap_or_default();
        Self {
            unprivileged: start.and_then(|start| start.trim().parse().ok()),
            has_selinux: read("/sys/fs/selinux/enforce").is_some_and(|of| of.trim() == "1"),
            label: read("/proc/thread-self/attr/current"),
            ..Self::of_status(&status)
        }
    }

    /// Those that proc(5)'s `status` tells.
    fn of_status(status: &str) -> Self {
        let line = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let capabilities = line("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
        Self {
            may_bind_all: capabilities.is_some_and(|set| set & BIND_SERVICE != 0),
            is_filtered: line("Seccomp:").is_some_and(|mode| mode == "2"),
            ..Self::default()
        }
    }

    /// What has most likely denied this port with this error, and what to do about it.
    pub(super) fn explain(&self, port: u16, error: &io::Error) -> (String, String) {
        let start = self.unprivileged.unwrap_or(UNPRIVILEGED);
        let label = self.label.as_deref().map_or("", |label| label.trim_matches(['\0', '\n', ' ']));
        if (1..start).contains(&port) && !self.may_bind_all {
            let todo = format!(
                "ports below {start} are for privileged users: choose a higher one, or give this \
                 one the capability CAP_NET_BIND_SERVICE"
            );
            return ("permission denied".to_owned(), todo);
        }
        // The kernel itself says EACCES.
        if self.is_filtered && error.raw_os_error() == Some(libc::EPERM) {
            let what = "a filter of system calls (seccomp) denies it";
            return (what.to_owned(), "have the sandbox or the container allow bind(2)".to_owned());
        }
        if self.has_selinux {
            let todo =
                format!("allow {label} this port: semanage port -a -t http_port_t -p tcp {port}");
            return ("SELinux denies it".to_owned(), todo);
        }
        if label.ends_with("(enforce)") {
            let todo = "have the profile allow network inet stream";
            return (format!("AppArmor's profile {label} denies it"), todo.to_owned());
        }
        (
            "permission denied".to_owned(),
            "a security policy forbids it, such as Landlock: have it allow this port, or choose \
             another"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(policies: &Policies, port: u16, errno: i32) -> String {
        let (what, todo) = policies.explain(port, &io::Error::from_raw_os_error(errno));
        format!("{what} ({todo})")
    }

    #[test]
    fn a_denied_port_is_explained_by_what_denies_it() {
        let plain = Policies::default();
        let privileged = Policies { may_bind_all: true, ..plain.clone() };
        let low = Policies { unprivileged: Some(80), ..plain.clone() };
        let filtered = Policies { is_filtered: true, ..plain.clone() };
        let label = Some("system_u:system_r:httpd_t:s0\0".to_owned());
        let selinux = Policies { has_selinux: true, label, ..privileged.clone() };
        let apparmor = Policies { label: Some("cws (enforce)\n".to_owned()), ..plain.clone() };
        let unconfined = Policies { label: Some("unconfined\n".to_owned()), ..plain.clone() };
        let (rule, policy) = ("ports below 1024 are for privileged users", "a security policy");
        let rows = [
            (&plain, 1, libc::EACCES, rule),
            (&plain, 1023, libc::EACCES, "CAP_NET_BIND_SERVICE"),
            (&plain, 1024, libc::EACCES, policy),
            (&plain, 0, libc::EACCES, policy),
            (&unconfined, 8080, libc::EACCES, policy),
            (&privileged, 80, libc::EACCES, "such as Landlock"),
            (&low, 79, libc::EACCES, "ports below 80 are for privileged users"),
            (&low, 80, libc::EACCES, policy),
            (&filtered, 8080, libc::EPERM, "a filter of system calls (seccomp) denies it"),
            (&filtered, 8080, libc::EACCES, policy),
            (&selinux, 80, libc::EACCES, "SELinux denies it (allow system_u:system_r:httpd_t:s0 "),
            (&apparmor, 8080, libc::EACCES, "AppArmor's profile cws (enforce) denies it"),
        ];
        for (policies, port, errno, expected) in rows {
            let line = said(policies, port, errno);
            assert!(line.contains(expected), "{port}: {line}");
        }
    }

    #[test]
    fn a_status_tells_capabilities_and_a_filter() {
        let status = |set, mode| format!("Name:\tserver\nCapEff:\t{set}\nSeccomp:\t{mode}\n");
        let root = Policies::of_status(&status("000001ffffffffff", "0"));
        assert_eq!((root.may_bind_all, root.is_filtered), (true, false));
        let user = Policies::of_status(&status("0000000000000000", "2"));
        assert_eq!((user.may_bind_all, user.is_filtered), (false, true));
        let service = Policies::of_status(&status("0000000000000400", "2"));
        assert!(service.may_bind_all);
        assert_eq!(Policies::of_status(""), Policies::default());
    }
}
