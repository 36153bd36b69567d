//! The options of `server` for serving files.

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use cws::{CacheLimits, SiteOptions, User};
use std::ffi::OsStr;

/// How files are served.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct SiteArgs {
    /// Index file of a directory; repeat for more, the first that exists is served [default:
    /// index.html, index.htm]
    #[arg(long, env = "CWS_INDEX", value_name = "NAME", value_delimiter = ',', value_parser = name)]
    index: Vec<String>,
    /// Disable directory listings: answer 403 for a directory without an index file
    #[arg(long, env = "CWS_NO_LISTING", value_parser = super::values::flag())]
    no_listing: bool,
    /// Show the text of README.md, README.txt or README below the listing of its directory:
    /// Markdown without HTML and images, the first 64 KiB
    #[arg(long, env = "CWS_README", value_parser = super::values::flag())]
    readme: bool,
    /// Answer ?archive=tar and ?archive=zip at a directory with all files beneath it; its listing
    /// links to both. Not with --no-listing
    #[arg(long, env = "CWS_ARCHIVE", value_parser = super::values::flag())]
    archive: bool,
    /// Also serve files and directories whose names begin with a dot
    #[arg(long, env = "CWS_HIDDEN", value_parser = super::values::flag())]
    hidden: bool,
    /// Follow symbolic links that lead outside the root
    #[arg(long, env = "CWS_FOLLOW_SYMLINKS", value_parser = super::values::flag())]
    pub(crate) follow_symlinks: bool,
    /// Do not serve precompressed files (file.br, file.zst, file.gz) in place of file
    #[arg(long, env = "CWS_NO_PRECOMPRESSED", value_parser = super::values::flag())]
    no_precompressed: bool,
    /// Media type for a file extension, for example wasm=application/wasm; repeat for more
    #[arg(long, env = "CWS_MIME", value_name = "EXT=TYPE", value_delimiter = ',',
          value_parser = mime)]
    mime: Vec<(String, String)>,
    /// Header field added to all responses of the site, errors included, for example
    /// 'Referrer-Policy: no-referrer'; repeat for more
    #[arg(long, env = "CWS_HEADER", value_name = "NAME: VALUE", value_delimiter = '\n',
          value_parser = header)]
    header: Vec<(String, String)>,
    /// Value of Cache-Control for files, for example max-age=3600; not for errors, redirects and
    /// listings
    #[arg(long, env = "CWS_CACHE_CONTROL", value_name = "VALUE", value_parser = cache_control)]
    cache_control: Option<String>,
    /// Enable CORS: allow scripts of any origin to read responses
    #[arg(long, env = "CWS_CORS", value_parser = super::values::flag())]
    cors: bool,
    /// Error page for a status (403, 404, 405, 406, 412, 416, 500 or 503), relative to the root,
    /// for example 404=404.html; repeat for more
    #[arg(long, env = "CWS_ERROR_PAGE", value_name = "STATUS=FILE", value_delimiter = ',',
          value_parser = error_page)]
    error_page: Vec<(u16, String)>,
    /// Require HTTP Basic authentication: user and bcrypt hash, as `htpasswd -nB NAME` prints them;
    /// repeat for more users
    #[arg(long, env = "CWS_AUTH", value_name = "NAME:HASH", value_delimiter = ',',
          value_parser = UserParser, hide_env_values = true)]
    pub(crate) auth: Vec<User>,
    /// Single-page application: serve the root's index file for unknown paths without an extension
    #[arg(long, env = "CWS_SPA", value_parser = super::values::flag())]
    spa: bool,
}

/// The cache, which all sites share.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct CacheArgs {
    /// Cache size for files in bytes, for example 500K or 64M; part of --memory. Changes of files
    /// are noticed within a second [default: a quarter of --memory, at most 64MiB]
    #[arg(long, env = "CWS_CACHE", value_name = "SIZE", value_parser = size)]
    cache: Option<u64>,
    /// Disable the file cache: open the file for each request
    #[arg(long, env = "CWS_NO_CACHE", value_parser = super::values::flag())]
    no_cache: bool,
}

impl CacheArgs {
    /// The cache size, if an option sets it.
    pub(crate) fn bytes(&self) -> Option<u64> {
        if self.no_cache { Some(0) } else { self.cache }
    }
}

/// The statuses for which a site can have an error page. The server makes the others itself.
const PAGES: [u16; 8] = [403, 404, 405, 406, 412, 416, 500, 503];

/// Parses users. Unlike clap's own errors, these do not repeat the value, which is a secret.
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
        "" | "." | ".." => Err("the name must be a file name".to_owned()),
        text if text.contains(['/', '\0']) => Err("the name must not contain a slash".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: Result<bytesize::ByteSize, _> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| "write a size like 500K, 64M or 1GiB".to_owned())
}

/// Cache limits for this many bytes, if this many descriptors may be open. None for zero bytes.
pub(crate) fn cache(bytes: u64, descriptors: usize) -> Option<CacheLimits> {
    let limits = CacheLimits { bytes, descriptors: CacheLimits::descriptors_within(descriptors) };
    (bytes > 0).then_some(limits)
}

impl SiteArgs {
    /// The site that the options describe.
    pub(crate) fn site(&self) -> SiteOptions {
        let mut site = SiteOptions::default();
        site.hidden = self.hidden;
        site.listing = !self.no_listing;
        site.readme = self.readme;
        site.archive = self.archive;
        site.precompressed = !self.no_precompressed;
        site.spa = self.spa;
        site.cors = self.cors;
        site.cache_control.clone_from(&self.cache_control);
        if !self.index.is_empty() {
            site.index.clone_from(&self.index);
        }
        for (extension, media_type) in &self.mime {
            site.media_types.set(extension, media_type);
        }
        site.error_pages.extend(self.error_page.iter().cloned());
        for (name, value) in &self.header {
            // The option's parser has added it to such options before.
            let _ = site.add_field(name, value);
        }
        site
    }
}

fn mime(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (extension, media_type) = pair
        .filter(|(extension, media_type)| is_extension(extension) && is_type(media_type))
        .ok_or("write it like wasm=application/wasm")?;
    Ok((extension.trim_start_matches('.').to_owned(), media_type.to_owned()))
}

fn error_page(text: &str) -> Result<(u16, String), String> {
    let pair = text.split_once('=').and_then(|(status, page)| Some((status.parse().ok()?, page)));
    let (status, page) = pair
        .filter(|(status, page)| PAGES.contains(status) && !page.is_empty())
        .ok_or("write it like 404=404.html")?;
    Ok((status, page.to_owned()))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it like 'Name: value'")?;
    let value = value.trim();
    SiteOptions::default().add_field(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks it like any other field; only files get it.
fn cache_control(text: &str) -> Result<String, String> {
    let checked = SiteOptions::default().add_field("Cache-Control", text);
    checked.map(|()| text.to_owned()).map_err(|error| error.to_string())
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
