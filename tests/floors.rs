//! Floor plans of the folders in `src`: a file uses only the siblings that its `mod.rs` declares
//! above it, so that no two of them use one another.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that have no order among their files yet.
const WITHOUT_ORDER: [&str; 0] = [];

/// Folders whose files use nothing that their `mod.rs` itself defines.
const WITHOUT_PARENT: [&str; 1] = ["metrics"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every folder below `src` that is a module, by its path from there.
fn folders() -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), vec![src()]);
    while let Some(folder) = rest.pop() {
        if folder.join("mod.rs").is_file() {
            found.push(folder.strip_prefix(src()).unwrap().to_str().unwrap().to_owned());
        }
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        rest.extend(entries.filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

/// The modules that a `mod.rs` declares, in order.
fn order(text: &str) -> Vec<&str> {
    let declared = text.lines().filter_map(|line| line.strip_suffix(';'));
    declared
        .filter_map(|line| line.split_once("mod ").filter(|(before, _)| is_visibility(before)))
        .map(|(_, name)| name)
        .collect()
}

fn is_visibility(text: &str) -> bool {
    text.is_empty() || (text.starts_with("pub") && text.ends_with(' '))
}

/// The source without its test module and without comments, which may name anything.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join(" ")
}

/// The first name of each path behind `prefix`, be it in a group in braces.
fn names_behind<'t>(code: &'t str, prefix: &str) -> Vec<&'t str> {
    let is_path =
        |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || ":_".contains(c));
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix).filter(|&(at, _)| is_path(&code[..at])) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first_name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    names.push(first_name(group[start..at].trim()));
                    start = at + 1;
                    if character == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(path: &str) -> &str {
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// What file `name` uses of its folder, against the rules.
fn violations<'t>(order: &[&str], name: &str, used: &[&'t str], with_parent: bool) -> Vec<&'t str> {
    let floor = |name: &str| order.iter().position(|module| *module == name);
    let own = floor(name);
    let is_wrong = |used: &&&str| match floor(used) {
        Some(floor) => own.is_none_or(|own| floor >= own),
        None => !with_parent,
    };
    used.iter().filter(is_wrong).copied().collect()
}

#[test]
fn within_a_folder_imports_follow_the_declared_order() {
    let mut checked = 0;
    for folder in folders() {
        if WITHOUT_ORDER.iter().any(|other| Path::new(&folder).starts_with(other)) {
            continue;
        }
        let parent = fs::read_to_string(src().join(&folder).join("mod.rs")).unwrap();
        let order = order(&parent);
        let absolute = format!("crate::{}::", folder.replace('/', "::"));
        for name in &order {
            let path = src().join(&folder).join(format!("{name}.rs"));
            // A folder in the folder has paths of its own.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let code = code(&text);
            let used = [names_behind(&code, "super::"), names_behind(&code, &absolute)].concat();
            // The unit tests of a whole folder use all of it.
            if *name == "tests" {
                continue;
            }
            let with_parent = !WITHOUT_PARENT.contains(&folder.as_str());
            let wrong = violations(&order, name, &used, with_parent);
            assert!(wrong.is_empty(), "{} uses {wrong:?}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} files were found");
}

#[test]
fn the_check_sees_imports_against_the_order() {
    let order = order("//! mod none;\nmod low;\npub(super) mod middle;\npub mod high;\n");
    assert_eq!(order, ["low", "middle", "high"]);
    let code = code(
        "use super::high::Thing;\nuse super::{\n    low::{A, B},\n    middle, Own,\n};\n\
         use super::super::other;\n// super::comment\n\n#[cfg(test)]\nmod tests {\nsuper::test;\n}",
    );
    let used = names_behind(&code, "super::");
    assert_eq!(used, ["high", "low", "middle", "Own", "super"]);
    assert_eq!(violations(&order, "middle", &used[..4], true), ["high", "middle"]);
    assert_eq!(violations(&order, "high", &used[1..4], true), [""; 0]);
    assert_eq!(violations(&order, "high", &used[1..4], false), ["Own"]);
    assert_eq!(names_behind("crate::a::b::c", "crate::a::"), ["b"]);
}
