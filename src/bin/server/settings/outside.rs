//! What a start needs beyond the options: addresses of names, and folders for files.

use crate::Args;
use crate::listeners::Place;
use std::path::Path;

/// What a start would not find, each with the option that asks for it.
///
/// A running server does not look for it: it may be confined, and it has it already.
pub(super) fn faults(args: &Args) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut look = |option, what: &str, path: &Path| {
        if let Some(why) = missing(path) {
            faults.push((option, format!("cannot {what}{}: {why}", path.display())));
        }
    };
    let places = args.listen.places(args.what.port());
    for place in places.iter().flatten() {
        if let Place::Unix(path) = place {
            look("bind", "listen on unix:", path);
        }
    }
    if let Some(Place::Unix(path)) = &args.admin {
        look("admin", "listen on unix:", path);
    }
    if let Some(path) = args.takeover.path() {
        look("takeover", "offer a takeover at ", path);
    }
    if let Some(path) = &args.access_log_file {
        look("access-log-file", "log to ", path);
    }
    faults.extend(places.err().map(|reason| ("bind", reason)));
    faults
}

/// Why nothing can be made at this path.
fn missing(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("it is a directory (name a file)".to_owned());
    }
    let path = std::path::absolute(path).ok()?;
    let folder = path.parent()?;
    (!folder.is_dir()).then(|| {
        format!("there is no directory {} (create it, or choose another one)", folder.display())
    })
}
