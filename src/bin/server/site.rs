//! The options of `server` that say how files are served.

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use cws::{CacheLimits, SiteOptions, User, config};
use std::ffi::OsStr;

/// How the files are served.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct SiteArgs {
    /// Name that stands for its directory; repeat for more, the first that exists is taken
    /// [default: index.html, index.htm]
    #[arg(long, env = "CWS_INDEX", value_name = "NAME", value_delimiter = ',', value_parser = name)]
    index: Vec<String>,
    /// Answer 403 for a directory without an index instead of listing it
    #[arg(long, env = "CWS_NO_LISTING", value_parser = super::flag())]
    no_listing: bool,
    /// Serve names that begin with a dot, too
    #[arg(long, env = "CWS_HIDDEN", value_parser = super::flag())]
    hidden: bool,
    /// Follow links that lead out of the root
    #[arg(long, env = "CWS_FOLLOW_SYMLINKS", value_parser = super::flag())]
    pub(crate) follow_symlinks: bool,
    /// Do not serve file.br, file.zst and file.gz in the place of file
    #[arg(long, env = "CWS_NO_PRECOMPRESSED", value_parser = super::flag())]
    no_precompressed: bool,
    /// Memory for files that are asked for often, a part of --memory; a change is noticed within a
    /// second [default: a quarter of it, 64MiB at most]
    #[arg(long, env = "CWS_CACHE", value_name = "SIZE", value_parser = size)]
    cache: Option<u64>,
    /// Hold no files: open each for every request
    #[arg(long, env = "CWS_NO_CACHE", value_parser = super::flag())]
    no_cache: bool,
    /// Media type of an extension, like wasm=application/wasm; repeat for more
    #[arg(long, env = "CWS_MIME", value_name = "EXT=TYPE", value_delimiter = ',')]
    mime: Vec<String>,
    /// Field for every response of the files, errors included, like 'Referrer-Policy: no-referrer';
    /// repeat for more
    #[arg(long, env = "CWS_HEADER", value_name = "NAME: VALUE", value_delimiter = '\n')]
    header: Vec<String>,
    /// Value of Cache-Control on files, like max-age=3600; not on errors, redirects and listings
    #[arg(long, env = "CWS_CACHE_CONTROL", value_name = "VALUE")]
    cache_control: Option<String>,
    /// Let scripts of other origins read what is served
    #[arg(long, env = "CWS_CORS", value_parser = super::flag())]
    cors: bool,
    /// Page for a status (403, 404, 405, 406, 412, 416, 500, 503), beneath the root, like
    /// 404=404.html; repeat for more
    #[arg(long, env = "CWS_ERROR_PAGE", value_name = "STATUS=FILE", value_delimiter = ',')]
    error_page: Vec<String>,
    /// User who may read, with the bcrypt hash of the password, as `htpasswd -nB NAME` prints it;
    /// repeat for more
    #[arg(long, env = "CWS_AUTH", value_name = "NAME:HASH", value_delimiter = ',',
          value_parser = UserParser, hide_env_values = true)]
    pub(crate) auth: Vec<User>,
    /// Serve the top index for unknown paths without an extension, for single-page applications
    #[arg(long, env = "CWS_SPA", value_parser = super::flag())]
    spa: bool,
}

/// The statuses that a site answers with itself; others are the server's.
const PAGES: [u16; 8] = [403, 404, 405, 406, 412, 416, 500, 503];

/// Reads users. Unlike those of clap, its errors do not repeat the value, which is a secret.
#[derive(Debug, Clone)]
struct UserParser;

impl TypedValueParser for UserParser {
    type Value = User;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<User, clap::Error> {
        let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(User::parse).map_err(|reason| {
            let message = format!("invalid value for --auth or CWS_AUTH: {reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("a file name is needed".to_owned()),
        text if text.contains(['/', '\0']) => Err("a name has no slash".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: Result<bytesize::ByteSize, _> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| "write it like 500K, 64M or 1GiB".to_owned())
}

/// What may be held of files: so many bytes, where so many descriptors may be open.
pub(crate) fn cache(bytes: u64, descriptors: usize) -> Option<CacheLimits> {
    let limits = CacheLimits { bytes, descriptors: config::cached_within(descriptors) };
    (bytes > 0).then_some(limits)
}

impl SiteArgs {
    /// Bytes of files that are to be held, if that was said.
    pub(crate) fn cache_bytes(&self) -> Option<u64> {
        if self.no_cache { Some(0) } else { self.cache }
    }

    /// The site that the options describe.
    pub(crate) fn site(&self) -> Result<SiteOptions, String> {
        let mut site = SiteOptions::default();
        site.hidden = self.hidden;
        site.listing = !self.no_listing;
        site.precompressed = !self.no_precompressed;
        site.spa = self.spa;
        site.cors = self.cors;
        if !self.index.is_empty() {
            site.index.clone_from(&self.index);
        }
        for pair in &self.mime {
            let (extension, media_type) = pair
                .split_once('=')
                .filter(|(extension, media_type)| is_extension(extension) && is_type(media_type))
                .ok_or_else(|| {
                    format!("cannot use --mime {pair} (write it like wasm=application/wasm)")
                })?;
            site.media_types.set(extension.trim_start_matches('.'), media_type);
        }
        for pair in &self.error_page {
            let (status, page) = pair
                .split_once('=')
                .and_then(|(status, page)| Some((status.parse().ok()?, page)))
                .filter(|&(status, page)| PAGES.contains(&status) && !page.is_empty())
                .ok_or_else(|| {
                    format!("cannot use --error-page {pair} (write it like 404=404.html)")
                })?;
            site.error_pages.insert(status, page.to_owned());
        }
        for field in &self.header {
            let (name, value) = field.split_once(':').ok_or_else(|| {
                format!("cannot use --header {field:?} (write it like 'Name: value')")
            })?;
            site.add_field(name, value.trim())
                .map_err(|error| format!("cannot use --header {field:?}: {error}"))?;
        }
        if let Some(value) = &self.cache_control {
            // Checked as any other field, and added to files alone.
            SiteOptions::default()
                .add_field("Cache-Control", value)
                .map_err(|error| format!("cannot use --cache-control {value:?}: {error}"))?;
            site.cache_control = Some(value.clone());
        }
        Ok(site)
    }
}

fn is_extension(text: &str) -> bool {
    let text = text.trim_start_matches('.');
    !text.is_empty() && !text.contains(['.', '/'])
}

fn is_type(text: &str) -> bool {
    let shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
        && text.bytes().all(shown)
}
