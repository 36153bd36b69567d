//! The user that the server becomes.

use std::ffi::CString;
use std::path::Path;
use std::{fmt, fs, io};

use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups, setegid, seteuid, setgroups,
    setresgid, setresuid,
};

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As it was given.
    text: String,
    user: Uid,
    group: Gid,
    groups: Vec<Gid>,
}

/// The identity of `NAME`, `NAME:GROUP`, or numbers in their place. With a group, it is the only
/// one; without, the user's groups are those of the system's table.
pub(crate) fn parse(text: &str) -> Result<Identity, String> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let known = find(name, User::from_name, |number| User::from_uid(Uid::from_raw(number)))?;
    let user = match (&known, name.parse()) {
        (Some(known), _) => known.uid,
        (None, Ok(number)) => Uid::from_raw(number),
        (None, Err(_)) => return Err(format!("there is no user {name}")),
    };
    if user.is_root() {
        return Err("root has all privileges: name another user".to_owned());
    }
    let (group, groups) = match (group, known) {
        (Some(group), _) => {
            let by_number = |number| Group::from_gid(Gid::from_raw(number));
            let gid = match (find(group, Group::from_name, by_number)?, group.parse()) {
                (Some(known), _) => known.gid,
                (None, Ok(number)) => Gid::from_raw(number),
                (None, Err(_)) => return Err(format!("there is no group {group}")),
            };
            (gid, vec![gid])
        }
        (None, Some(known)) => {
            let name = CString::new(known.name).map_err(|error| error.to_string())?;
            let groups = getgrouplist(&name, known.gid);
            (known.gid, groups.map_err(|error| format!("cannot list the groups: {error}"))?)
        }
        (None, None) => return Err(format!("user {name} has no name: write {name}:GROUP")),
    };
    Ok(Identity { text: text.to_owned(), user, group, groups })
}

/// Looks a name up, or a number if no entry has this name.
fn find<T>(
    text: &str,
    by_name: impl Fn(&str) -> nix::Result<Option<T>>,
    by_number: impl Fn(u32) -> nix::Result<Option<T>>,
) -> Result<Option<T>, String> {
    let found = match (by_name(text), text.parse()) {
        (Ok(None), Ok(number)) => by_number(number),
        (found, _) => found,
    };
    found.map_err(|error| format!("cannot look {text} up: {error}"))
}

impl Identity {
    /// Does something as this user, and goes on as root.
    pub(crate) fn acting<T>(&self, act: impl FnOnce() -> T) -> Result<T, String> {
        let failed = |error| self.refused(error);
        let (user, group) = (geteuid(), getegid());
        let groups = getgroups().map_err(failed)?;
        if !user.is_root() {
            return Err(format!(
                "cannot become user {self}: only root can (start it as root, or leave out --user)"
            ));
        }
        setgroups(&self.groups).map_err(failed)?;
        setegid(self.group).map_err(failed)?;
        seteuid(self.user).map_err(failed)?;
        let outcome = act();
        seteuid(user).and_then(|()| setegid(group)).map_err(failed)?;
        setgroups(&groups).map_err(failed)?;
        Ok(outcome)
    }

    /// Becomes this user for the rest of the process, and checks it.
    pub(crate) fn become_for_ever(&self) -> Result<(), String> {
        let (user, group) = (self.user, self.group);
        setgroups(&self.groups)
            .and_then(|()| setresgid(group, group, group))
            .and_then(|()| setresuid(user, user, user))
            .map_err(|error| self.refused(error))?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_back = seteuid(Uid::from_raw(0)).is_ok() || !self.is_in_force(&status);
        match is_back {
            true => Err(format!("cannot become user {self}: the process kept privileges")),
            false => Ok(()),
        }
    }

    /// Gives a UNIX socket's file to this user.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        // Whoever may write to its folder may have put a link there.
        std::os::unix::fs::lchown(path, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// True if this process is this user and has no capabilities (proc(5)). A line that is not
    /// there, where `/proc` is hidden, says nothing.
    fn is_in_force(&self, status: &str) -> bool {
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        };
        let (user, group) = (self.user.to_string(), self.group.to_string());
        let is_all = |name, id: &str| line(name).is_none_or(|ids| ids.iter().all(|of| *of == id));
        let has_none = |name| {
            line(name).is_none_or(|sets| sets.iter().all(|set| set.bytes().all(|of| of == b'0')))
        };
        let has_groups = line("Groups").is_none_or(|groups| {
            groups.iter().all(|of| self.groups.iter().any(|group| group.to_string() == *of))
        });
        is_all("Uid", &user)
            && is_all("Gid", &group)
            && has_groups
            && has_none("CapPrm")
            && has_none("CapEff")
            && has_none("CapAmb")
    }

    fn refused(&self, error: nix::errno::Errno) -> String {
        format!("cannot become user {self}: {error}")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_looked_up() {
        let nobody = parse("nobody").expect("it is everywhere");
        let number = nobody.user.to_string();
        assert_eq!(parse(&number).expect("it has an entry").user, nobody.user);
        assert_eq!(parse(&number).expect("it has an entry").groups, nobody.groups);
        let with_group = parse("nobody:4711").expect("a number");
        assert_eq!((with_group.user, with_group.group), (nobody.user, Gid::from_raw(4711)));
        assert_eq!(with_group.groups, [Gid::from_raw(4711)]);
        assert_eq!(parse("4711:4712").expect("numbers").user, Uid::from_raw(4711));
        let rows = [
            ("no-such-user", "there is no user no-such-user"),
            ("nobody:no-such-group", "there is no group no-such-group"),
            ("root", "root has all privileges: name another user"),
            ("0:4711", "root has all privileges: name another user"),
            ("4711", "user 4711 has no name: write 4711:GROUP"),
            ("", "there is no user "),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text).expect_err(text), expected);
        }
    }

    #[test]
    fn a_process_that_kept_something_is_noticed() {
        let user = parse("4711:4712").expect("numbers");
        let good = "Uid:\t4711\t4711\t4711\t4711\nGid:\t4712\t4712\t4712\t4712\nGroups:\t4712 \n\
                    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
        assert!(user.is_in_force(good));
        let rows = [
            ("Uid:\t4711\t4711", "Uid:\t4711\t0"),
            ("Gid:\t4712", "Gid:\t0"),
            ("Groups:\t4712", "Groups:\t0 4712"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000400"),
        ];
        for (old, new) in rows {
            let kept = good.replacen(old, new, 1);
            assert_ne!(kept, good);
            assert!(!user.is_in_force(&kept), "{new}");
        }
    }
}
