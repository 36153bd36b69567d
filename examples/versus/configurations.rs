//! Configurations with which the other servers do the same work.

use super::peers::Setup;
use std::fmt::Write;
use std::net::IpAddr;

/// The media types of the files that are served. All others are `application/octet-stream`.
const TYPES: [(&str, &str); 7] = [
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
];

/// The endings of files that have compressed forms beside them.
const CODED: &str = r"\.(css|html|js|json|svg)";

/// nginx. `cached` enables its cache of open files, with a check once a second like this server's.
pub fn nginx(setup: &Setup, cached: bool) -> String {
    let Setup { root, folder, host, port, workers, .. } = setup;
    let (root, folder) = (root.display(), folder.display());
    let log = match setup.logs {
        true => format!("{folder}/access.log combined"),
        false => "off".to_owned(),
    };
    let cache = match cached {
        true => "open_file_cache max=20000 inactive=60s; open_file_cache_valid 1s;",
        false => "",
    };
    let types: String = TYPES.iter().map(|(ending, kind)| format!("{kind} {ending}; ")).collect();
    // Debian's nginx has this module, but none for Brotli.
    let coded = if setup.is_coded { "gzip_static on; gzip_vary on;" } else { "" };
    let user = if setup.is_privileged { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off; {user} worker_processes {workers}; worker_rlimit_nofile 20000;
pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 9000; }}
http {{
{temporary}  access_log {log};
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 75s; keepalive_requests 1000000000;
  types {{ {types} }} default_type application/octet-stream;
  {cache} {coded}
  server {{ listen {host}:{port} backlog=4096; root {root}; index index.html; }}
}}
"
    )
}

/// lighttpd, which has a cache of file attributes by default.
pub fn lighttpd(setup: &Setup) -> String {
    let Setup { root, folder, host, port, workers, .. } = setup;
    let (root, folder) = (root.display(), folder.display());
    // With one worker, the process serves itself; with more, its children do.
    let workers =
        if *workers > 1 { format!("server.max-worker = {workers}") } else { String::new() };
    let log = match setup.logs {
        true => format!(
            "server.modules += ( \"mod_accesslog\" )\naccesslog.filename = \"{folder}/access.log\""
        ),
        false => String::new(),
    };
    let coded = if setup.is_coded { LIGHTTPD_CODED.replace("CODED", CODED) } else { String::new() };
    let assign = |(ending, kind): &(&str, &str)| {
        format!("\".{ending}\" => \"{kind}\", \".{ending}.br\" => \"{kind}\", ")
    };
    let types: String = TYPES.iter().map(assign).collect();
    format!(
        "server.document-root = \"{root}\"
server.bind = \"{host}\"
server.port = {port}
{workers}
server.modules = ( )
server.max-fds = 20000
server.max-connections = 9000
server.listen-backlog = 4096
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 75
server.network-backend = \"sendfile\"
server.errorlog = \"{folder}/error.log\"
index-file.names = ( \"index.html\" )
mimetype.assign = ( {types}\"\" => \"application/octet-stream\" )
{coded}
{log}
"
    )
}

/// lighttpd without its module for compression has no setting for compressed forms. Its other
/// modules do the same: the path is rewritten, and fields are added.
const LIGHTTPD_CODED: &str = "server.modules += ( \"mod_rewrite\", \"mod_setenv\" )
$REQUEST_HEADER[\"accept-encoding\"] =~ \"br\" {
  url.rewrite-once = ( \"^(/static/.*CODED)$\" => \"$1.br\" )
}
$HTTP[\"url\"] =~ \"\\.br$\" {
  setenv.add-response-header = ( \"Content-Encoding\" => \"br\", \"Vary\" => \"Accept-Encoding\" )
}
";

/// Apache httpd with the event module. It needs a thread for each active request, so it gets more
/// threads. With fewer threads than busy connections it closes some of them.
pub fn apache(setup: &Setup) -> String {
    let Setup { root, folder, host, port, workers, .. } = setup;
    let (root, folder) = (root.display(), folder.display());
    let modules: String = ["mpm_event", "authz_core", "dir", "mime", "rewrite", "headers"]
        .iter()
        // The last two are for compressed forms.
        .take(if setup.is_coded { 6 } else { 4 })
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let log = match setup.logs {
        true => format!(
            "LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b \\\"%{{Referer}}i\\\" \
             \\\"%{{User-Agent}}i\\\"\" combined\nCustomLog {folder}/access.log combined"
        ),
        false => String::new(),
    };
    let types: String =
        TYPES.iter().map(|(ending, kind)| format!("AddType {kind} .{ending}\n")).collect();
    let coded = if setup.is_coded { apache_coded() } else { String::new() };
    let each = setup.connections.div_ceil(*workers).max(64);
    format!(
        "ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LogLevel crit
{modules}User #65534
Group #65534
ServerLimit {workers}
StartServers {workers}
ThreadLimit {each}
ThreadsPerChild {each}
MaxRequestWorkers {threads}
AsyncRequestWorkerFactor 64
MinSpareThreads 1
MaxSpareThreads {threads}
Listen {host}:{port}
ListenBackLog 4096
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 75
EnableSendfile On
TypesConfig /dev/null
{types}DirectoryIndex index.html
DocumentRoot {root}
<Directory {root}>
Require all granted
AllowOverride None
{coded}
</Directory>
{log}
",
        threads = each * workers
    )
}

/// Compressed forms, as in the documentation of mod_brotli: the path is rewritten if the form
/// exists, and fields are added.
fn apache_coded() -> String {
    let mut text = format!(
        "RewriteEngine On
RewriteCond %{{HTTP:Accept-encoding}} br
RewriteCond %{{REQUEST_FILENAME}}.br -s
RewriteRule ^(.*){CODED}$ $1.$2.br [L]
"
    );
    for (ending, kind) in TYPES {
        let _ = writeln!(text, "RewriteRule {}\\.br$ - [T={kind},L]", ending.replace('.', "\\."));
    }
    text + "<FilesMatch \"\\.br$\">
Header set Content-Encoding br
Header append Vary Accept-Encoding
</FilesMatch>
"
}

/// h2o.
pub fn h2o(setup: &Setup) -> String {
    let Setup { root, folder, host, port, workers, .. } = setup;
    let (root, folder) = (root.display(), folder.display());
    let log = match setup.logs {
        true => format!("access-log: {folder}/access.log"),
        false => String::new(),
    };
    let user = if setup.is_privileged { "user: root" } else { "" };
    let coded = if setup.is_coded { "file.send-compressed: ON" } else { "" };
    format!(
        "{user}
num-threads: {workers}
max-connections: 9000
http1-request-timeout: 75
listen:
  host: {host}
  port: {port}
hosts:
  default:
    paths:
      /:
        file.dir: {root}
file.index: [ 'index.html' ]
{coded}
error-log: {folder}/error.log
pid-file: {folder}/h2o.pid
{log}
"
    )
}

/// Caddy.
pub fn caddy(setup: &Setup) -> String {
    let Setup { root, folder, host, port, .. } = setup;
    let log = match setup.logs {
        true => format!("log {{\n output file {}/access.log\n }}", folder.display()),
        false => String::new(),
    };
    let coded = if setup.is_coded { "{\n precompressed br gzip\n }" } else { "" };
    format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://{host}:{port} {{\n bind {host}\n \
         root * {}\n file_server {coded}\n {log}\n}}\n",
        root.display()
    )
}

/// HAProxy with one thread, in front of one server on `to`. It keeps its connections.
pub fn haproxy(host: IpAddr, port: u16, to: u16) -> String {
    format!(
        "global
 nbthread 1
 maxconn 9000
defaults
 mode http
 http-reuse always
 timeout connect 5s
 timeout client 75s
 timeout server 75s
frontend here
 bind {host}:{port} backlog 4096
 default_backend there
backend there
 server one {host}:{to}
"
    )
}
