//! Several sites in one server: which one a request is for, by its host and its path.

use crate::memory::Shares;
use crate::site::{self, SiteArgs};
use crate::{Args, root_error};
use bytes::Bytes;
use cws::{BasicAuth, Error, Form, Handler, Immediate, Request, Response, StaticFiles};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// A further site: one `[[site]]` of the file.
#[derive(Debug, clap::Parser)]
#[command(name = Section::NAME, disable_help_flag = true)]
pub(crate) struct Section {
    /// Path beneath which the site is, for example /docs [default: /]
    #[arg(long, value_name = "PATH", value_parser = prefix)]
    prefix: Option<String>,
    /// Host name of the site, without a port; repeat for more [default: every host]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = host)]
    host: Vec<String>,
    /// Directory to serve [default: the path of the prefix in the directory of the main site]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(flatten)]
    site: SiteArgs,
    /// The line of the file in which it begins.
    #[arg(skip)]
    pub(crate) line: usize,
}

impl Section {
    /// The name of the command that these options are.
    pub(crate) const NAME: &str = "site";

    /// The options that a site does not have from the main one.
    pub(crate) const INHERITED_NOT: [&str; 3] = ["prefix", "host", "root"];

    fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("/")
    }

    /// Its directory, and whether links may lead out of it.
    pub(crate) fn root_of(&self, main: &Args) -> (PathBuf, bool) {
        (self.root(main), self.site.follow_symlinks)
    }

    fn root(&self, main: &Args) -> PathBuf {
        let beneath = || main.what.root().join(self.prefix().trim_start_matches('/'));
        self.root.clone().unwrap_or_else(beneath)
    }
}

/// The files of one directory, for users who may read them.
type Files = BasicAuth<StaticFiles>;

/// All sites.
#[derive(Debug)]
pub(crate) struct Sites {
    /// For hosts that no site names.
    others: Place,
    /// By host, in lower case.
    hosts: Vec<(String, Place)>,
    /// Each site once, the main one first.
    all: Vec<One>,
}

/// The sites of one host.
#[derive(Debug)]
enum Place {
    /// One alone, for all paths.
    One(One),
    /// Those at prefixes, the longest first, and one for all other paths.
    Several(Vec<Mount>, One),
}

/// A site at a prefix.
#[derive(Debug)]
struct Mount {
    /// Without a slash at either end.
    prefix: Vec<u8>,
    /// The segments of the prefix.
    depth: usize,
    site: One,
}

/// A site that several hosts can have.
#[derive(Debug, Clone)]
struct One(Arc<Files>);

impl Sites {
    /// Opens the directories.
    ///
    /// # Errors
    ///
    /// If one of them cannot be served as its options say, or if two sites are at the same place.
    pub(crate) fn open(args: &Args, shares: &Shares, workers: usize) -> Result<Self, String> {
        let cache = shares.cache / (1 + args.sites.len() as u64);
        let open = |root: PathBuf, site: &SiteArgs| {
            files(root, site, args, shares, cache, workers).map(|files| One(Arc::new(files)))
        };
        let main = open(args.what.root().to_owned(), &args.site)?;
        let mut opened: Vec<(&Section, One)> = Vec::new();
        for section in &args.sites {
            opened.push((section, open(section.root(args), &section.site)?));
        }
        let mut names: Vec<&str> =
            args.sites.iter().flat_map(|of| &of.host).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let hosts = names.into_iter().map(|name| {
            let place = place(&main, &opened, Some(name))?;
            Ok((name.to_owned(), place))
        });
        let hosts = hosts.collect::<Result<_, String>>()?;
        let others = place(&main, &opened, None)?;
        let all = std::iter::once(main).chain(opened.into_iter().map(|(_, one)| one)).collect();
        Ok(Self { others, hosts, all })
    }

    fn of(&self, request: &Request<'_>) -> &Place {
        if self.hosts.is_empty() {
            return &self.others;
        }
        let asked = name(request);
        let found = self.hosts.iter().find(|(host, _)| host.as_bytes().eq_ignore_ascii_case(asked));
        found.map_or(&self.others, |(_, place)| place)
    }
}

/// The sites of a host: its own, and those of every host where it has none. The longest prefix
/// wins.
fn place(main: &One, opened: &[(&Section, One)], host: Option<&str>) -> Result<Place, String> {
    let is_own = |section: &Section| section.host.iter().any(|name| Some(&name[..]) == host);
    let own = opened.iter().filter(|(section, _)| is_own(section));
    let general = opened.iter().filter(|(section, _)| section.host.is_empty());
    let mut mounts: Vec<(&str, &One)> = Vec::new();
    for of_host in [own.collect::<Vec<_>>(), general.collect()] {
        let before = mounts.len();
        for (section, one) in of_host {
            let prefix = section.prefix();
            match mounts.iter().position(|(other, _)| *other == prefix) {
                None => mounts.push((prefix, one)),
                // The host's own takes precedence over the one of every host.
                Some(at) if at < before => {}
                Some(_) => {
                    let of = host.map_or(String::new(), |host| format!(" of the host {host}"));
                    return Err(format!(
                        "two sites are at {prefix}{of} (give one of them another prefix or host)"
                    ));
                }
            }
        }
    }
    let of_all = mounts.iter().position(|(prefix, _)| *prefix == "/");
    let of_all = of_all.map_or(main, |at| mounts.swap_remove(at).1).clone();
    if mounts.is_empty() {
        return Ok(Place::One(of_all));
    }
    mounts.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    let mounts = mounts.into_iter().map(|(prefix, one)| Mount::new(prefix, one.clone()));
    Ok(Place::Several(mounts.collect(), of_all))
}

/// The files of one directory.
fn files(
    root: PathBuf,
    options: &SiteArgs,
    main: &Args,
    shares: &Shares,
    cache: u64,
    workers: usize,
) -> Result<Files, String> {
    let files = StaticFiles::new(&root).map_err(|error| root_error(&root, &error))?;
    let files = if options.follow_symlinks { files.following_links() } else { files };
    let files = files.with_options(options.site());
    let limits = site::cache(cache, cws::descriptor_limit() / (1 + main.sites.len()));
    let files = files.with_cache(limits);
    let files = files.with_memory(shares.memory.clone()).with_workers(workers);
    let files = files.with_archive_limits(shares.archives(workers));
    if let Some(page) = files.missing_error_page() {
        return Err(format!(
            "cannot use the error page {page}: no such file in the root (create it)"
        ));
    }
    Ok(BasicAuth::new(options.auth.clone(), files))
}

impl Handler for One {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, (): &mut ()) -> Result<Response, Error> {
        self.0.handle(request, &mut ())
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        self.0.immediate()
    }

    fn give_way(&self) {
        self.0.give_way();
    }

    fn tend(&self) {
        self.0.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.0.common_fields()
    }
}

impl Mount {
    fn new(prefix: &str, site: One) -> Self {
        let prefix = prefix.trim_matches('/');
        let depth = prefix.split('/').count();
        Self { prefix: prefix.as_bytes().to_owned(), depth, site }
    }

    /// True for what has this name, or is beneath it.
    fn is_of(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(&self.prefix[..]);
        rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }
}

impl Place {
    /// Calls `serve` with the site of a request, and the request as the site sees it.
    fn with<R>(&self, request: &Request<'_>, serve: impl FnOnce(&One, &Request<'_>) -> R) -> R {
        let (mounts, of_all) = match self {
            Self::One(one) => return serve(one, request),
            Self::Several(mounts, of_all) => (mounts, of_all),
        };
        let path = request.target.path.as_bytes();
        match mounts.iter().find(|mount| mount.is_of(path)) {
            Some(mount) => serve(&mount.site, &request.beneath(mount.depth)),
            // A copy of the request would cost more than to find the site.
            None => serve(of_all, request),
        }
    }

    fn handle(&self, request: &Request<'_>) -> Result<Response, Error> {
        self.with(request, |one, request| one.handle(request, &mut ()))
    }

    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        self.with(request, |one, request| one.immediate()?.respond(request))
    }
}

/// The sites in force. Another thread can replace all of them at once: a request has the old ones
/// or the new ones.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<RwLock<Arc<Sites>>>);

impl Live {
    pub(crate) fn new(sites: Sites) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(sites))))
    }

    pub(crate) fn replace(&self, sites: Sites) {
        let sites = Arc::new(sites);
        let old = {
            let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, sites)
        };
        // Closing its files can take a while: not under the lock.
        drop(old);
    }

    /// Those in force now. Whoever asks does not hold the lock while it serves.
    fn current(&self) -> Arc<Sites> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Handler for Live {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, (): &mut ()) -> Result<Response, Error> {
        self.current().of(request).handle(request)
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }

    fn give_way(&self) {
        self.current().all.iter().for_each(One::give_way);
    }

    fn tend(&self) {
        self.current().all.iter().for_each(One::tend);
    }

    fn common_fields(&self) -> Bytes {
        self.current().all[0].common_fields()
    }
}

impl Immediate for Live {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        self.current().of(request).respond(request)
    }
}

/// The name of the host that a request is for, without a port; empty if it names none.
fn name<'a>(request: &Request<'a>) -> &'a [u8] {
    let authority = match request.target.form {
        // The target's authority overrides the field (RFC 9112, section 3.2.2).
        Form::Absolute => authority(request.target.raw),
        _ => request.field("Host").unwrap_or_default().trim_ascii(),
    };
    // An address of IPv6 has colons, and no name.
    let name = authority.split(|&byte| byte == b':').next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name)
}

/// The authority of a target in absolute form.
fn authority(raw: &[u8]) -> &[u8] {
    let start = raw.windows(2).position(|two| two == b"//").map_or(raw.len(), |at| at + 2);
    raw[start..].split(|byte| b"/?".contains(byte)).next().unwrap_or_default()
}

fn prefix(text: &str) -> Result<String, String> {
    if text == "/" {
        return Ok(text.to_owned());
    }
    let plain = text.strip_suffix('/').unwrap_or(text);
    let is_plain = |segment: &str| {
        !["", ".", ".."].contains(&segment)
            && !segment.contains(['{', '}', '*', '?', '#', '%', '\0'])
    };
    match plain.strip_prefix('/') {
        Some(rest) if rest.split('/').all(is_plain) => Ok(plain.to_owned()),
        _ => Err("write a plain path that begins with a slash: /docs".to_owned()),
    }
}

fn host(text: &str) -> Result<String, String> {
    let name = crate::admin::host(text)?.to_ascii_lowercase();
    Ok(name.strip_suffix('.').unwrap_or(&name).to_owned())
}
