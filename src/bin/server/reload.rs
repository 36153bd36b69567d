//! SIGHUP: opens the file of the access log again, and takes over what has changed in the file of
//! the options. All of it, or nothing if something is wrong with it.

use crate::confine;
use crate::logger::Logging;
use crate::memory::Shares;
use crate::notify;
use crate::settings::{Refusal, Settings};
use crate::sites::{Live, Sites};
use crossbeam_channel::{Receiver, Sender, bounded};
use cws::{Reloader, Server};
use log::{error, info, warn};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// The options that can change while the server runs, beside those of sites. All others take effect
/// at a start.
const LIVE: [&str; 21] = [
    "root",
    "header-timeout",
    "idle-timeout",
    "write-timeout",
    "min-rate",
    "limit-rate",
    "limit-total",
    "drain-delay",
    "drain-timeout",
    "queue",
    "queue-timeout",
    "deadline",
    "patience-field",
    "health",
    "access-log",
    "access-log-file",
    "server-timing",
    "no-http09",
    "no-server-header",
    "quiet",
    "config",
];

/// What changes in a running server.
pub(crate) struct Running {
    /// The options in force.
    pub(crate) settings: Settings,
    pub(crate) sites: Live,
    pub(crate) reloader: Reloader,
    pub(crate) shares: Arc<Shares>,
    /// Descriptors that are no client's.
    pub(crate) others: usize,
}

enum Message {
    HungUp,
    Started(Box<Running>),
}

/// Reloads on a thread of its own: a directory on a disk that hangs must not keep the thread that
/// waits for signals from the signal that ends the process.
#[derive(Debug, Clone)]
pub(crate) struct Reloading(Sender<Message>);

impl Reloading {
    pub(crate) fn start(log: Arc<Logging>) -> io::Result<Self> {
        // A signal that arrives while another one waits asks for the same. The second place is for
        // the start, which must not take that of a signal.
        let (sender, messages) = bounded(2);
        thread::Builder::new().name("reload".to_owned()).spawn(move || run(&messages, &log))?;
        Ok(Self(sender))
    }

    /// A SIGHUP has arrived.
    pub(crate) fn hung_up(&self) {
        let _ = self.0.try_send(Message::HungUp);
    }

    /// The server runs, and can change from now on.
    pub(crate) fn started(&self, running: Running) {
        let _ = self.0.send(Message::Started(Box::new(running)));
    }
}

fn run(messages: &Receiver<Message>, log: &Logging) {
    let mut running: Option<Box<Running>> = None;
    let mut is_late = false;
    for message in messages {
        match message {
            Message::Started(started) => {
                running = Some(started);
                // The file may have changed after the start had read it.
                if !std::mem::take(&mut is_late) {
                    continue;
                }
            }
            Message::HungUp => is_late = running.is_none(),
        }
        notify::reloading(|| {
            log.reopen();
            if let Some(running) = &mut running {
                running.reload(log);
            }
        });
    }
}

impl Running {
    fn reload(&mut self, log: &Logging) {
        let Some(file) = self.settings.file().map(|file| file.display().to_string()) else {
            return;
        };
        match self.take_over(log) {
            Ok((changed, fixed)) => {
                match changed.is_empty() {
                    true => info!("reloaded {file}: nothing has changed"),
                    false => info!("reloaded {file}: {}", changed.join(", ")),
                }
                if !fixed.is_empty() {
                    warn!(
                        "{} cannot change while the server runs: restart it (the value of its \
                         start is in force)",
                        fixed.join(", ")
                    );
                }
            }
            Err(reasons) => {
                reasons.iter().for_each(|reason| error!("{reason}"));
                error!("cannot reload {file}: the options before stay in force");
            }
        }
    }

    /// Opens the directories that are new. A confined process can have a directory whose files it
    /// may not read.
    fn check_roots(&self, settings: &Settings) -> Result<(), Vec<String>> {
        if !confine::is_confined() {
            return Ok(());
        }
        let known = self.settings.args.roots();
        let is_new = |place: &(PathBuf, bool)| !known.contains(place);
        for (root, follows) in settings.args.roots().into_iter().filter(is_new) {
            std::fs::read_dir(confine::place(&root, follows)).map_err(|error| {
                let what = if follows { "links out of " } else { "" };
                let todo = confine::TODO;
                vec![format!("cannot serve {what}{}: {error} ({todo})", root.display())]
            })?;
        }
        Ok(())
    }

    /// Takes over what has changed. Returns what that is, and what cannot change.
    fn take_over(&mut self, log: &Logging) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
        let settings = Settings::load().map_err(|refusal| match refusal {
            Refusal::Usage(error) => vec![crate::cli::one_line(&error)],
            Refusal::Faults(faults) => faults,
        })?;
        let args = &settings.args;
        let one = |reason: String| vec![reason];
        // Everything that can fail comes first.
        let config = crate::configure(args, &self.shares, self.others).map_err(one)?;
        Server::check(&config).map_err(|error| one(error.to_string()))?;
        self.check_roots(&settings)?;
        let workers = self.reloader.config().workers;
        let sites = Sites::open(args, &self.shares, workers).map_err(one)?;
        let wanted = crate::wanted_log(args);
        let outputs = match wanted == crate::wanted_log(&self.settings.args) {
            true => None,
            false => Some(log.open(wanted).map_err(|error| one(crate::log_error(args, &error)))?),
        };
        if let Some(outputs) = outputs {
            log.replace(outputs);
        }
        self.sites.replace(sites);
        self.reloader.reload(&config, &self.sites);
        let is_live =
            |name: &String| LIVE.contains(&&name[..]) || crate::settings::is_of_sites(name);
        let changed = settings.differences(&self.settings).into_iter().partition(is_live);
        self.settings = settings;
        Ok(changed)
    }
}
