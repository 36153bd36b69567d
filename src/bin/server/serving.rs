//! The life of the server: it starts, alone or in the place of another process, and ends.

use crate::listeners::{Passed, Role};
use crate::logger::Logging;
use crate::memory::Shares;
use crate::notify::Notifier;
use crate::reload::Reloading;
use crate::settings::Settings;
use crate::signals::End;
use crate::sites::{Live, Sites};
use crate::takeover::{Gate, Successor};
use crate::{admin, listeners, notify, reach, reload, signals, takeover};
use crossbeam_channel::{Receiver, Sender, bounded};
use cws::{Admin, Agent, Delay, Server, Summary};
use log::info;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Serves until a stop signal, or until another process takes over. Returns the number of
/// connections that were cut.
pub(crate) fn run(
    settings: Settings,
    shares: Shares,
    log: &Arc<Logging>,
    activated: Vec<Passed>,
) -> Result<u64, String> {
    let caught = signals::catch().map_err(|error| format!("cannot catch signals: {error}"))?;
    let (send_end, ends) = bounded(2);
    // The first threads. They begin when the process has confined itself.
    let watch = |send_end| {
        let begin = || {
            log.write()?;
            let reloading = Reloading::start(Arc::clone(log))?;
            let hang_up = reloading.clone();
            caught.wait(send_end, move || hang_up.hung_up())?;
            Ok(reloading)
        };
        begin().map_err(|error: io::Error| format!("cannot start a thread: {error}"))
    };
    let Some((successor, passed)) = settings.args.takeover.join()? else {
        return serve(settings, shares, activated, None, (send_end, ends), watch);
    };
    let passed = activated.into_iter().chain(passed).collect();
    serve(settings, shares, passed, Some(successor), (send_end, ends), watch)
        .map_err(|reason| format!("{reason}; the server that runs goes on"))
}

fn serve(
    settings: Settings,
    shares: Shares,
    passed: Vec<Passed>,
    successor: Option<Successor>,
    (send_end, ends): (Sender<End>, Receiver<End>),
    watch: impl FnOnce(Sender<End>) -> Result<Reloading, String>,
) -> Result<u64, String> {
    let args = &*Arc::clone(&settings.args);
    let has_admin = args.admin.is_some() || listeners::has_kept(&passed, Role::Admin);
    let has_agent = args.agent.place().is_some() || listeners::has_kept(&passed, Role::Agent);
    // They have connections of their own.
    let others = if has_admin { Admin::CONNECTIONS } else { 0 }
        + if has_agent { Agent::DESCRIPTORS } else { 0 };
    let config = crate::configure(args, &shares, others)?;
    let sites = Live::new(Sites::open(args, &shares, config.workers)?);
    let handler = Delay::new(args.delay.law(), sites.clone());
    let listeners =
        args.listen.open(args.what.port(), args.admin.clone(), args.agent.place(), passed)?;
    let own_door = if successor.is_none() { args.takeover.door()? } else { None };
    let copies = listeners.copies().map_err(|error| format!("cannot copy listeners: {error}"))?;
    args.takeover.check(&copies)?;
    let interfaces = reach::interfaces(&listeners.http);
    notify::connect();
    let confinement = args.confine.enter(args, &listeners)?;
    let reloading = watch(send_end.clone())?;
    let server = Server::start_on(listeners.http, config, handler);
    let server = server.map_err(|error| error.to_string())?;
    let (observer, reloader) = (server.observer(), server.reloader());
    announce_all("listening on", server.addresses(), server.paths());
    crate::tell_start(args, observer.config());
    confinement.tell();
    args.reach.tell(server.addresses(), &interfaces);
    let is_shared = successor.is_some();
    let mut running = Running { server: Some(server), admin: None, agent: None, is_shared };
    if has_admin {
        let admin = admin::start(listeners.admin, &args.admin_host, observer.clone())?;
        running.admin = Some(admin);
    }
    running.agent = args.agent.start(listeners.agent, &observer)?;
    let watchdog = successor.as_ref().and_then(|of| of.watchdog).or_else(notify::watchdog);
    let door = match successor {
        Some(successor) => successor.take_over(&ends, listeners.unwanted)?,
        None => own_door,
    };
    running.is_shared = false;
    let gate = takeover::open_gate(door, copies, watchdog, send_end)?;
    let notifier = Notifier::start(observer.clone(), watchdog);
    let notifier = notifier.map_err(|error| format!("cannot start a thread: {error}"))?;
    let changing = reload::Running {
        settings,
        sites,
        reloader: reloader.clone(),
        shares: Arc::new(shares),
        others,
    };
    reloading.started(changing);
    let end = admin::report_until(&ends, args.stats_interval, &observer);
    drop(notifier);
    let most = crate::show(reloader.config().drain_timeout);
    // A process that is about to take over at this moment has the listeners, and continues.
    running.is_shared = gate.is_some_and(Gate::close);
    tell_reason(end, &most, running.is_shared);
    let cut = running.end().map_or(0, |summary| {
        crate::tell_end(&summary);
        summary.cut
    });
    Ok(cut)
}

/// Says why the server ends.
fn tell_reason(end: End, most: &str, is_shared: bool) {
    match end {
        End::TakenOver(heir) => {
            info!("process {heir} has taken over: finishing requests, for at most {most}");
        }
        End::Signal => {
            if !is_shared {
                notify::stopping();
            }
            info!("stopping: finishing queued and running requests, for at most {most}");
        }
    }
}

/// The server and its admin page.
struct Running {
    server: Option<Server>,
    /// It answers until the server has ended, and reports that it is stopping.
    admin: Option<Admin>,
    /// The same holds for it, unless another process tells the balancer now.
    agent: Option<Agent>,
    /// Another process has the listeners, too, and goes on with them.
    is_shared: bool,
}

impl Running {
    /// Ends both, the admin page last.
    fn end(mut self) -> Option<Summary> {
        self.leave();
        self.server.take().map(Server::shutdown)
    }

    /// Leaves listeners that are shared to the other process.
    fn leave(&mut self) {
        if self.is_shared {
            // It would say that the server drains, which the other one does not.
            self.agent = None;
            let admin = self.admin.iter().map(Admin::stopper);
            let server = self.server.iter().map(Server::stopper);
            admin.chain(server).for_each(|stopper| stopper.hand_over());
        }
    }
}

impl Drop for Running {
    /// A start that fails half way must not end what the running server listens on.
    fn drop(&mut self) {
        self.leave();
        self.server = None;
    }
}

/// Prints where it listens.
pub(crate) fn announce_all(what: &str, addresses: &[SocketAddr], paths: &[PathBuf]) {
    for address in addresses {
        announce(&format!("{what} http://{address}/"));
    }
    for path in paths {
        announce(&format!("{what} unix:{}", path.display()));
    }
}

/// Prints a line for a program that started this one and waits for the line.
pub(crate) fn announce(line: &str) {
    let mut stdout = io::stdout();
    // If standard output is closed, nobody waits for the line.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
