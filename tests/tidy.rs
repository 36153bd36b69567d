//! Style checks: the module order of each `lib.rs`, and limits on sizes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 450;
const LONGEST_FUNCTION: usize = 70;
const LONGEST_LINE: usize = 100;

/// The source folders of the crates: the server, the lab, the theory.
const CRATES: [&str; 3] = ["src", "examples/lab/src", "examples/theory/src"];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![top];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The top-level module of a source file.
fn module_of(path: &Path, sources: &str) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join(sources)).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The lines of a source file that are not test code, with their numbers.
///
/// A test-only item ends on its own line, or on the first line with the same indentation that
/// closes it; rustfmt ensures this.
fn without_tests(text: &str) -> Vec<(usize, &str)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        let code = line.trim();
        if !code.starts_with("#[cfg(test)]") && !code.starts_with("#[cfg(all(test,") {
            kept.push((number, line));
            continue;
        }
        let depth = indent(line);
        let is_attribute = |line: &str| line.trim_start().starts_with("#[");
        let Some((_, item)) = lines.find(|(_, line)| !is_attribute(line)) else { break };
        let is_end = |line: &str| line.ends_with(['}', ';', ',']);
        if !is_end(item) {
            lines.find(|(_, line)| indent(line) <= depth && !line.is_empty() && is_end(line));
        }
    }
    kept
}

#[test]
fn only_test_code_is_left_out() {
    let source = "\
one
    #[cfg(test)]
    pub fn for_tests(
        &self,
    ) {
        println!();

    }
two
#[cfg(test)]
mod elsewhere;
#[cfg(all(test, target_os = \"linux\"))]
#[allow(dead_code)]
const FEW: [u8; 2] = [
    1,
];
three
#[cfg(test)]
use one::{line, only};
four
#[cfg(test)]
mod tests {
    fn inner() {}
}
five";
    let kept = without_tests(source);
    let lines: Vec<_> = source.lines().collect();
    assert!(kept.iter().all(|&(number, line)| lines[number - 1] == line));
    let kept: Vec<_> = kept.iter().map(|&(_, line)| line).collect();
    assert_eq!(kept, ["one", "two", "three", "four", "five"]);
}

/// A test item in the middle of a file does not hide the code after it.
#[test]
fn little_code_outside_test_modules_is_left_out() {
    for (path, text) in CRATES.into_iter().flat_map(sources) {
        let kept = without_tests(&text);
        let module = text.lines().position(|line| line.ends_with("mod tests {"));
        let before = module.unwrap_or(text.lines().count());
        let looked_at = kept.iter().filter(|&&(number, _)| number <= before).count();
        assert!(looked_at * 10 >= before * 9, "{}: {looked_at} of {before}", path.display());
    }
}

/// The `crate::` paths that do not name a module declared above this one in `lib.rs`.
fn upward_imports(order: &[&str], module: &str, text: &str) -> Vec<String> {
    let floor = |name: &str| order.iter().position(|module| *module == name);
    let own = floor(module).unwrap();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for path in line.split("crate::").skip(1) {
            let name: String =
                path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match floor(&name) {
                Some(floor) if floor <= own => {}
                _ => wrong.push(format!("line {}: {line}", number + 1)),
            }
        }
    }
    wrong
}

fn order(lib: &str) -> Vec<&str> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod "))
        .map(|line| line.trim_end_matches(';'))
        .collect()
}

#[test]
fn no_module_imports_from_above_itself() {
    for folder in CRATES {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("lib.rs");
        let lib = fs::read_to_string(lib).unwrap();
        let order = order(&lib);
        assert!(order.len() > 5, "the module order was found: {order:?}");
        for (path, text) in sources(folder) {
            let module = module_of(&path, folder);
            if module == "lib" || module == "bin" {
                continue;
            }
            assert!(order.contains(&module.as_str()), "{module} is declared");
            let wrong = upward_imports(&order, &module, &text);
            assert!(wrong.is_empty(), "{} imports upward: {wrong:#?}", path.display());
        }
    }
}

#[test]
fn the_check_detects_an_upward_import() {
    let order = order("mod low;\npub mod high;\n");
    assert_eq!(order, ["low", "high"]);
    assert_eq!(upward_imports(&order, "low", "use crate::high::Thing;").len(), 1);
    assert_eq!(upward_imports(&order, "low", "use crate::{high, low};").len(), 1);
    assert!(upward_imports(&order, "high", "use crate::low::Thing;").is_empty());
}

#[test]
fn the_protocol_core_does_no_io() {
    for (path, text) in sources("src/http") {
        for word in ["std::net", "std::fs", "std::thread", "Instant", "SystemTime::now", "std::os"]
        {
            for (number, line) in without_tests(&text) {
                assert!(!line.contains(word), "{}:{number} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_code_is_only_in_known_modules() {
    let unsafe_in = |folder: &str| {
        let mut modules: Vec<_> = sources(folder)
            .into_iter()
            .filter(|(_, text)| text.contains("unsafe {") || text.contains("unsafe fn"))
            .map(|(path, _)| module_of(&path, folder))
            .collect();
        modules.sort();
        modules
    };
    let found = CRATES.map(unsafe_in);
    assert_eq!(found, [vec!["listening", "poller", "scheduling"], vec!["load"], vec![]]);
}

#[test]
fn every_file_starts_with_a_doc_comment() {
    for folder in ["src", "tests", "examples"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{} has no doc comment at its start", path.display());
        }
    }
}

#[test]
fn files_functions_and_lines_are_short() {
    for (path, text) in ["src", "tests", "examples"].into_iter().flat_map(sources) {
        let shown = path.display();
        let in_src = path.components().any(|part| part.as_os_str() == "src");
        if in_src {
            let lines = without_tests(&text).len();
            assert!(lines <= LONGEST_FILE, "{shown} has {lines} lines");
        }
        let mut start = None;
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            assert!(width <= LONGEST_LINE, "{shown}:{} is {width} wide", number + 1);
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let opens = ["fn ", "pub fn ", "pub(super) fn "].iter().any(|w| code.starts_with(w));
            // A function on one line, or without a body, is short enough.
            let is_whole = code.ends_with('}') || code.ends_with(';');
            if opens && !is_whole && start.is_none() {
                start = Some((number, indent));
            }
            if let Some((first, depth)) = start
                && code == "}"
                && indent == depth
            {
                let length = number - first + 1;
                assert!(length <= LONGEST_FUNCTION, "{shown}:{} has {length} lines", first + 1);
                start = None;
            }
        }
    }
}

#[test]
fn libraries_have_no_prints_todos_or_unwraps() {
    for (path, text) in CRATES.into_iter().flat_map(sources) {
        for word in ["println!", "eprintln!", "dbg!", "todo!", "unimplemented!", ".unwrap()"] {
            for (number, line) in without_tests(&text) {
                let comment = line.trim_start().starts_with("//");
                let found = !comment && line.contains(word);
                assert!(!found, "{}:{number}: {line}", path.display());
            }
        }
    }
}

/// The figures of a kind of test, by the place that `tests/README.md` names.
fn count(place: &str) -> usize {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    let lines = |text: &str, mark: &str| text.lines().filter(|line| line.trim() == mark).count();
    match place {
        "tests/fuzz" => {
            fs::read_to_string(top.join("Cargo.toml")).unwrap().matches("[[bin]]").count()
        }
        "tests/fuzz_corpus/corpus" => {
            let targets = fs::read_dir(top).unwrap().map(|target| target.unwrap().path());
            targets.map(|target| fs::read_dir(target).unwrap().count()).sum()
        }
        "tests/support/wire_cases.rs" => {
            let text = fs::read_to_string(top).unwrap();
            text.matches("keeps(").count() + text.matches("closes(").count() - 2
        }
        _ => sources(place).iter().map(|(_, text)| lines(text, "#[test]")).sum(),
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the harness shows it if it is asked to")]
fn the_numbers_of_the_page_on_testing_are_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md");
    let page = fs::read_to_string(page).unwrap();
    let mut seen = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Ok(least) = cells[3].parse::<usize>() else { continue };
        let place = cells[2].trim_matches('`');
        let found = count(place);
        assert!(found >= least, "{place}: {found}, and the page says {least}");
        println!("{found:5} {place}");
        seen += 1;
    }
    assert!(seen > 5, "the table is there");
}

#[test]
fn the_top_level_contains_only_expected_files() {
    let expected = ["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT"];
    let others = ["README.md", "examples", "src", "testfile", "tests"];
    let expected = [&expected[..], &others[..]].concat();
    let mut found: Vec<String> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    found.sort();
    assert_eq!(found, expected);
}
