//! What a package has beside the binary: completions, the manual page, the Debian package itself.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

use crate::support::{RealServer, Site, TESTFILE, command, get, installed, is_installed};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// What the server prints with these arguments.
fn printed(arguments: &[&str]) -> Vec<u8> {
    let output = command(env!("CARGO_BIN_EXE_server")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a program with this input.
fn feed(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// What each shell is asked once it has loaded the file of completions: what `server --print` can
/// become, or which function knows.
const SHELLS: [(&str, &str, &str, &str); 3] = [
    (
        "bash",
        "cws.bash",
        "source cws.bash; COMP_WORDS=(server --print); COMP_CWORD=1; \
         _server server --print server; echo \"${COMPREPLY[@]}\"",
        "--print-config\n",
    ),
    (
        "zsh",
        "_server",
        "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -d $PWD/dump; \
         autoload +X $_comps[server]; print $_comps[server]; whence -w _server",
        "_server\n_server: function\n",
    ),
    (
        "fish",
        "server.fish",
        "source server.fish; complete -C 'server --print' | string split -f1 \\t",
        "--print-config\n",
    ),
];

#[test]
fn shells_load_the_completions() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, file, question, answer) in SHELLS {
        let script = printed(&["--completions", shell]);
        let text = String::from_utf8(script.clone()).unwrap();
        assert!(text.contains("takeover") && text.contains("print-config"), "{shell}");
        fs::write(folder.path().join(file), script).unwrap();
        let Some(mut command) = installed(shell) else { continue };
        let plain = match shell {
            "bash" => "--norc",
            "zsh" => "-f",
            _ => "--no-config",
        };
        command.args([plain, "-c", question]).current_dir(&folder).env("HOME", folder.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((&*said, &*errors), (answer, ""), "{shell}");
    }
}

#[test]
fn the_manual_page_is_rendered_without_a_complaint() {
    let page = printed(&["--man"]);
    let Some(_man) = installed("man") else { return };
    let rendered = feed("man", &["--warnings", "-l", "-"], &page);
    let text = String::from_utf8_lossy(&rendered.stdout).into_owned();
    assert_eq!(String::from_utf8_lossy(&rendered.stderr), "");
    for part in ["NAME", "OPTIONS", "EXAMPLES", "serve ./public on port 3000", "EXIT STATUS"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("server [OPTIONS] [DIR] [PORT]"), "{text}");
    // A heading is at the margin, and something is below it.
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_heading = |line: &str| !line.starts_with(' ');
    for pair in lines[1..].windows(2).filter(|pair| is_heading(pair[0])) {
        assert!(!is_heading(pair[1]), "{pair:?}");
    }
}

/// Where all programs share a path, `server` says too little. The process is the server itself.
#[test]
fn the_server_has_a_name_that_no_other_program_has() {
    let cws = env!("CARGO_BIN_EXE_cws");
    let site = Site::new();
    let mut server = command(cws);
    server.args(["--root", site.path().to_str().unwrap(), "0"]);
    let mut server = RealServer::spawn(server);
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.stderr().contains("stopped after"), "{}", server.stderr());
    let said = |program: &mut Command| {
        let output = program.output().unwrap();
        (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code())
    };
    assert_eq!(said(command(cws).arg("-V")).0, format!("cws {}\n", env!("CARGO_PKG_VERSION")));
    let (help, _) = said(command(cws).arg("--help"));
    for line in ["Usage: cws [OPTIONS]", "  cws public 3000  ", "RUST_LOG=warn cws "] {
        assert!(help.contains(line), "{line} in {help}");
    }
    let (error, code) = said(command(cws).arg("--wrokers"));
    assert!(error.starts_with("cws: ") && error.contains("see cws --help"), "{error}");
    assert_eq!(code, Some(2));
    // A name that nobody would type is not repeated.
    let (error, _) = said(command(cws).arg0("\u{1b}[2J").arg("--wrokers"));
    assert!(error.starts_with("cws: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("cws");
    // Not by this process: see `users::Folder`.
    assert!(Command::new("cp").args([Path::new(cws), &alone]).status().unwrap().success());
    let (error, code) = said(&mut command(alone.to_str().unwrap()));
    assert!(error.contains("/server: No such file") && error.contains("in one folder"), "{error}");
    assert_eq!(code, Some(1));
}

fn packaged(name: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/debian");
    std::fs::read_to_string(top.join(name)).unwrap()
}

/// The package's options, without the paths that only a system has.
#[test]
fn the_options_of_the_debian_package_are_correct() {
    let folder = tempfile::tempdir().unwrap();
    let text = packaged("cws.toml");
    let root = folder.path().to_str().unwrap();
    assert_eq!(text.matches("/srv/www").count(), 1);
    // The example of a site, too.
    let example = text.split_once("# [[site]]").unwrap().1.replace("# ", "");
    let text = format!("{text}[[site]]{example}").replace("/srv/www", root);
    let text = text.replace("root = \"/srv/downloads\"", &format!("root = \"{root}\""));
    let text = text.replace("/var/log/cws", root);
    std::fs::write(folder.path().join("cws.toml"), text).unwrap();
    let file = folder.path().join("cws.toml");
    assert_eq!(
        printed(&["--check", "--config", file.to_str().unwrap()]),
        b"the options are correct\n"
    );
    if let Some(mut logrotate) = installed("logrotate") {
        let rules = folder.path().join("logrotate");
        std::fs::write(&rules, packaged("logrotate").replace("su cws cws", "su root root"))
            .unwrap();
        let state = folder.path().join("state");
        let output = logrotate.args(["--debug", "--state"]).arg(state).arg(rules).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("error:"), "{told}");
    }
}

/// What is packed is in one folder: builds take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Builds the package of these binaries. `None` if a tool for it is missing.
fn build(folder: &Path) -> Option<PathBuf> {
    if !is_installed("cargo-deb") || !is_installed("dpkg-deb") {
        eprintln!("skipped: cargo-deb or dpkg-deb is not installed");
        return None;
    }
    let package = folder.join("cws.deb");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binaries = Path::new(env!("CARGO_BIN_EXE_server")).parent().unwrap();
    let mut build = Command::new(top.join("examples/deploy/debian/build-deb"));
    build.arg(&package).env("BINARIES", binaries).env("FAST", "1").env_remove("CARGO_TARGET_DIR");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = build.output().unwrap();
    drop(turn);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(package)
}

/// The files of the package that are not programs.
const FILES: [&str; 12] = [
    "usr/share/man/man1/cws.1.gz",
    "usr/share/bash-completion/completions/cws",
    "usr/share/zsh/vendor-completions/_cws",
    "usr/share/fish/vendor_completions.d/cws.fish",
    "usr/lib/systemd/system/cws.service",
    "usr/lib/systemd/system/cws.socket",
    "usr/lib/systemd/system/cws-admin.socket",
    "usr/lib/systemd/system/cws.service.d/package.conf",
    "usr/lib/sysusers.d/cws.conf",
    "usr/share/doc/cws/copyright",
    "etc/logrotate.d/cws",
    "etc/cws/cws.toml",
];

#[test]
fn the_debian_package_has_what_a_system_needs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = build(folder.path()) else { return };
    let root = folder.path().join("root");
    let done = Command::new("dpkg-deb").arg("-x").args([&package, &root]).status().unwrap();
    assert!(done.success());
    for file in FILES.into_iter().chain(["usr/bin/cws", "usr/bin/cws-client"]) {
        assert!(root.join(file).is_file(), "{file}");
    }
    let version = Command::new(root.join("usr/bin/cws")).arg("-V").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert_eq!(version, format!("cws {}\n", env!("CARGO_PKG_VERSION")));
    let control = Command::new("dpkg-deb").arg("-I").arg(&package).output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    for part in ["Package: cws", "libc6", "postinst", "prerm", "postrm", "conffiles"] {
        assert!(control.contains(part), "{part} in {control}");
    }
    // What lists of packages show is one line.
    let line = format!("Description: {}\n", env!("CARGO_PKG_DESCRIPTION"));
    assert!(control.contains(&line), "{control}");
}

/// A copy of this system, whose changes are in memory and end with this process. Its service
/// manager is a program that notes what it is asked.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new(folder: &Path) -> Self {
        let run = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).status().unwrap();
            assert!(status.success(), "{program} {arguments:?}");
        };
        let layers = folder.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "tmpfs", layers]);
        for name in ["upper", "work", "root"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let options = format!("lowerdir=/,upperdir={layers}/upper,workdir={layers}/work");
        let root = folder.join("root");
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        run("mount", &["-t", "overlay", "overlay", "-o", &options, &at("")]);
        run("mount", &["-t", "proc", "proc", &at("proc")]);
        run("mount", &["--bind", "/dev", &at("dev")]);
        run("mount", &["-t", "tmpfs", "tmpfs", &at("run")]);
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        fs::write(root.join("asked"), "").unwrap();
        fs::create_dir_all(root.join("usr/local/bin")).unwrap();
        let manager = root.join("usr/local/bin/systemctl");
        // It fails, as a real one may: that stops no script.
        fs::write(&manager, "#!/bin/sh\necho \"$@\" >>/asked\nexit 1\n").unwrap();
        fs::set_permissions(&manager, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    /// Runs a command inside. Returns what it prints.
    fn run(&self, line: &str) -> String {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut shell = Command::new("chroot");
        shell.arg(&self.root).args(["sh", "-c", line]).env("PATH", path).env("LC_ALL", "C");
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {printed}{errors}");
        printed
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// What the service manager was asked since the last time, each once: its own package tells it
    /// of new units, too.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("asked")).unwrap();
        fs::write(self.root.join("asked"), "").unwrap();
        let mut asked = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with("--")) {
            if !asked.iter().any(|other| other == line) {
                asked.push(line.to_owned());
            }
        }
        asked
    }
}

#[test]
#[ignore = "a process with mounts of its own, which another test starts"]
fn a_package_in_a_copy_of_this_system() {
    let folder = PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let copy = Copy::new(&folder.join("copy"));
    fs::copy(folder.join("cws.deb"), copy.root.join("cws.deb")).unwrap();
    copy.run("! getent passwd cws");
    copy.run("dpkg --install cws.deb");
    let restart = ["daemon-reload", "try-restart cws.service"];
    assert_eq!(copy.asked(), restart);
    for file in FILES {
        assert!(copy.has(file), "{file}");
    }
    assert_eq!(copy.run("dpkg --verify cws"), "");
    let user = copy.run("getent passwd cws");
    let fields: Vec<&str> = user.trim().split(':').collect();
    assert!(fields[2].parse::<u32>().unwrap() < 1000, "a user of the system: {user}");
    assert!(fields[6].ends_with("nologin"), "{user}");
    serves_as_installed(&copy);
    units_are_correct(&copy.root);

    // The same version once more goes as an upgrade does. The administrator's changes stay.
    let options = copy.root.join("etc/cws/cws.toml");
    let changed = format!("workers = 3\n{}", fs::read_to_string(&options).unwrap());
    fs::write(&options, &changed).unwrap();
    copy.run("dpkg --install cws.deb");
    assert_eq!(copy.asked(), restart);
    assert_eq!(fs::read_to_string(&options).unwrap(), changed);

    let units = "cws.socket cws-admin.socket cws.service";
    let (stop, disable) = (format!("stop {units}"), format!("disable --quiet {units}"));
    copy.run("dpkg --remove cws");
    assert_eq!(copy.asked(), [&stop, &disable, "daemon-reload"]);
    assert!(!copy.has("usr/bin/cws") && !copy.has("usr/lib/systemd/system/cws.service"));
    assert!(copy.has("etc/cws/cws.toml") && copy.has("var/log/cws/access.log.1"));
    copy.run("dpkg --purge cws");
    for gone in FILES.into_iter().chain(["etc/cws", "var/log/cws", "usr/share/doc/cws"]) {
        assert!(!copy.has(gone), "{gone}");
    }
    assert!(copy.has("srv/www/index.html"), "the files are not the package's");

    // A system without systemd: no manager is asked, and another program makes the user.
    copy.run("userdel cws; rm -r srv/www run/systemd; mv $(command -v systemd-sysusers) /moved");
    copy.asked();
    copy.run("dpkg --install cws.deb && getent passwd cws && /usr/bin/cws --version");
    copy.run("dpkg --purge cws");
    assert_eq!(copy.asked(), [disable]);
    assert!(!copy.has("srv/www") && !copy.has("usr/bin/cws"));
    println!("all steps were made");
}

/// The program with the package's options, as the package's user; and its log is rotated.
fn serves_as_installed(copy: &Copy) {
    assert_eq!(copy.run("cws --config /etc/cws/cws.toml --check"), "the options are correct\n");
    copy.run("echo hello >/srv/www/index.html");
    let reply = copy.run(
        "setpriv --reuid cws --regid cws --clear-groups \
           cws --config /etc/cws/cws.toml --bind unix:/var/log/cws/socket >/said 2>&1 & \
         for n in $(seq 500); do test -S /var/log/cws/socket && break; sleep .02; done; \
         curl -sS --unix-socket /var/log/cws/socket http://a/; \
         kill -TERM $!; wait $! || cat /said",
    );
    assert_eq!(reply, "hello\n");
    let log = fs::read_to_string(copy.root.join("var/log/cws/access.log")).unwrap();
    assert!(log.contains("\"GET / HTTP/1.1\" 200 6"), "{log}");
    if is_installed("logrotate") {
        copy.run("logrotate --force --state /rotated /etc/logrotate.d/cws");
        assert_eq!(copy.asked(), ["kill --kill-who=main --signal=HUP cws.service"]);
    } else {
        copy.run("mv /var/log/cws/access.log /var/log/cws/access.log.1");
    }
    let rotated = fs::metadata(copy.root.join("var/log/cws/access.log.1")).unwrap();
    let user: u32 = copy.run("id -u cws").trim().parse().unwrap();
    assert_eq!(rotated.uid(), user);
}

/// The units with what the package changes.
fn units_are_correct(root: &Path) {
    if !is_installed("systemd-analyze") {
        return;
    }
    let analyze = |arguments: &[&str]| {
        let mut analyze = Command::new("systemd-analyze");
        analyze.arg(format!("--root={}", root.display())).args(arguments);
        let output = analyze.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = analyze(&["verify", "--man=no", "cws.service", "cws.socket", "cws-admin.socket"]);
    assert!(!said.contains("cws"), "{said}");
    analyze(&["security", "--offline=true", "--no-pager", "--threshold=5", "cws.service"]);
}

#[test]
fn its_scripts_make_a_user_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_package) = build(folder.path()) else { return };
    fs::create_dir(folder.path().join("copy")).unwrap();
    let may =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: this process may not mount anything");
    }
    let mut process = Command::new("unshare");
    process.arg("-m").arg(std::env::current_exe().unwrap());
    process.args(["--exact", "packages::a_package_in_a_copy_of_this_system"]);
    let output = process.args(["--ignored", "--nocapture"]).env("FOLDER", folder.path()).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("all steps were made"), "{said}");
}
