//! Options that are correct by themselves and do not go together, or do not fit the machine: which
//! line of the file is the cause.

use super::Settings;
use super::file::{Document, Fault};
use crate::problem;

/// All that is wrong with a file whose keys are correct by themselves.
///
/// The cause of a problem is the first key without which there is another problem, or none. To find
/// the next problem, that key is left out.
pub(super) fn faults(
    document: &Document,
    merge: impl Fn(Document) -> Result<Settings, clap::Error>,
) -> Vec<Fault> {
    let problem_of = |document: &Document| {
        let settings = merge(document.clone()).map_err(|error| crate::cli::one_line(&error));
        settings.map_or_else(Some, |settings| problem(&settings.args))
    };
    let (mut left, mut faults) = (document.clone(), Vec::new());
    while let Some(text) = problem_of(&left) {
        let cause = without_one(&left).find(|(_, less)| problem_of(less).as_ref() != Some(&text));
        let Some((line, less)) = cause else {
            // The command line or the environment is the cause.
            faults.push(Fault { line: 0, text });
            return faults;
        };
        faults.push(Fault { line, text });
        left = less;
    }
    faults
}

/// The document without one of its keys, or one of its sites, and the line of what is missing.
fn without_one(document: &Document) -> impl Iterator<Item = (usize, Document)> {
    let keys = document.top.entries.iter().enumerate().map(|(at, entry)| {
        let mut less = document.clone();
        less.top.entries.remove(at);
        (entry.line, less)
    });
    let sites = document.sites.iter().enumerate().map(|(at, site)| {
        let mut less = document.clone();
        less.sites.remove(at);
        (site.line, less)
    });
    // A site is the cause of what is wrong with it, even if it has it from the top.
    sites.chain(keys)
}
