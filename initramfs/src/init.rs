//! The node's one loop: owns all state of `/init`, waits for whatever happens next, never for one thing.
//! Three subjects have files of their own: name and addresses (`naming`), what a node without a key does
//! (`keyless`), the lab's host (`lab`).

mod keyless;
mod lab;
mod naming;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitOptions;
use rustix::time::{ClockId, clock_gettime};

use crate::console::Console;
use crate::drivers::Drivers;
use crate::hotplug::{Announcement, Hotplug};
use crate::journal;
use crate::lab_commands::LabCommands;
use crate::lab_message::{Event, Stop};
use crate::lab_port::LabPort;
use crate::links::{LEASE_DIRECTORY, Links};
use crate::members::Members;
use crate::node_name;
use crate::parameters::{PARAMETERS_BYTES_MAX, Parameters};
use crate::power::{self, PowerButtons};
use crate::programs::{self, Membership};
use crate::service::{Kind, Service};
use crate::service_log::ServiceLog;
use crate::swap;
use crate::sys;
use crate::view::{Agent, BootServer, View};

/// Parameters baked into the image.
const IMAGE_PARAMETERS: &str = "/etc/limosa/parameters";
/// Parameters that a virtual machine's host gives (QEMU: `-fw_cfg name=opt/limosa/parameters,string=...`).
const HOST_PARAMETERS: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/limosa/parameters/raw";
/// The second serial line and the second virtual terminal, for `limosa.shell`.
const SHELL_TERMINALS: [&str; 2] = ["/dev/tty2", "/dev/ttyS1"];
/// After this time a node has found its hardware and joined.
const BOOT: Duration = Duration::from_secs(10);

/// The console is brought up to date at most this often.
const VIEW_INTERVAL: Duration = Duration::from_millis(500);

/// Everything that `/init` knows.
pub(crate) struct Init {
    signals: OwnedFd,
    hotplug: Hotplug,
    drivers: Drivers,
    parameters: Parameters,
    membership: Membership,
    /// The key was typed in, and no agent has run with it for long yet.
    key_is_typed: bool,
    links: Links,
    name: Option<String>,
    name_deadline: Instant,
    agent_log: ServiceLog,
    netboot_log: ServiceLog,
    asker_log: ServiceLog,
    services: Vec<Service>,
    members: Members,
    console: Console,
    look_again: Instant,
    /// When what is not needed is put away; `None`: done.
    put_away_at: Option<Instant>,
    power_buttons: PowerButtons,
    lab_port: Option<LabPort>,
    lab_commands: LabCommands,
    kernel: String,
}

impl Init {
    /// Loads drivers, reads the parameters and brings the interfaces up; file systems are mounted already.
    pub(crate) fn start() -> rustix::io::Result<Init> {
        let signals = sys::signal_descriptor().map_err(|error| {
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
        })?;
        let hotplug = Hotplug::open()?;
        let mut drivers = Drivers::open();
        drivers.load_for_present_devices();
        swap::start(&mut drivers);
        let parameters = read_parameters();
        let now = Instant::now();
        let mut init = Init {
            signals,
            hotplug,
            drivers,
            membership: Membership::decide(&parameters),
            key_is_typed: false,
            links: Links::default(),
            name: None,
            name_deadline: now + naming::NAME_WAIT,
            agent_log: ServiceLog::open()?,
            netboot_log: ServiceLog::open()?,
            asker_log: ServiceLog::open()?,
            services: Vec::new(),
            members: Members::new(now),
            console: Console::open(&parameters.consoles),
            look_again: now,
            put_away_at: Some(now + BOOT),
            power_buttons: PowerButtons::default(),
            lab_port: None,
            lab_commands: LabCommands::default(),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            parameters,
        };
        // ctrl-alt-del is a signal from now on (reboot(2)).
        if let Err(error) = rustix::system::reboot(rustix::system::RebootCommand::CadOff) {
            journal::note(&format!("ctrl-alt-del stays with the kernel: {error}"));
        }
        init.follow_devices(now);
        Ok(init)
    }

    /// Runs until the node stops.
    pub(crate) fn run(mut self) -> ! {
        loop {
            self.wait();
            let now = Instant::now();
            while let Some(signal) = sys::next_signal(self.signals.as_fd()) {
                match signal {
                    // As busybox's poweroff, halt and reboot tell PID 1.
                    libc::SIGUSR2 => self.stop(Stop::Poweroff),
                    libc::SIGUSR1 => self.stop(Stop::Halt),
                    libc::SIGTERM | libc::SIGINT => self.stop(Stop::Reboot),
                    _ => {}
                }
            }
            if self.power_buttons.pressed() {
                self.stop(Stop::Poweroff);
            }
            self.agent_log.turn();
            self.netboot_log.turn();
            self.asker_log.turn();
            self.console.flush();
            self.hear_announcements(now);
            self.choose_name(now);
            self.take_typed_key(now);
            self.lab_turn(now);
            self.reap(now);
            self.start_services(now);
            self.members.turn(now, self.agent_pid().is_some());
            if self.look_again <= now {
                self.look_again = now + VIEW_INTERVAL;
                self.ask_for_addresses(now);
                self.put_away(now);
                self.take_leased_name();
                let view = self.view();
                self.console.show(&view);
            }
        }
    }

    /// Sleeps until something can be read or is due.
    fn wait(&self) {
        let mut wanted = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.hotplug, PollFlags::IN),
            PollFd::new(&self.agent_log, PollFlags::IN),
            PollFd::new(&self.netboot_log, PollFlags::IN),
            PollFd::new(&self.asker_log, PollFlags::IN),
        ];
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        wanted.extend(self.power_buttons.descriptors().map(readable));
        wanted.extend(self.members.pipe().map(readable));
        let writable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT);
        wanted.extend(self.console.behind().map(writable));
        if self.asks_for_key() {
            wanted.extend(self.console.keyboards().map(readable));
        }
        if let Some(port) = &self.lab_port {
            wanted.extend(
                port.interest()
                    .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)),
            );
            if port.has_room() {
                wanted.extend(self.lab_commands.pipes().map(readable));
            }
        }
        let due = self.services.iter().filter_map(Service::due);
        let due = due.chain(self.lab_port.as_ref().and_then(LabPort::deadline));
        let due = due.chain(self.name.is_none().then_some(self.name_deadline));
        let next = due.chain([self.members.deadline()]).min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // Interrupted or not, the loop looks at everything anew.
        let _ = poll(&mut wanted, timeout.as_ref());
    }

    fn hear_announcements(&mut self, now: Instant) {
        let mut something_came = false;
        while let Some(announcement) = self.hotplug.next() {
            match announcement {
                Announcement::Missed => self.drivers.load_for_present_devices(),
                Announcement::Device(event) => {
                    if event.action == "add"
                        && let Some(modalias) = &event.modalias
                    {
                        self.drivers.load_for(modalias);
                    }
                    if !matches!(
                        event.subsystem.as_deref(),
                        Some("net" | "input" | "virtio-ports" | "usb" | "pci" | "virtio")
                    ) {
                        continue;
                    }
                }
            }
            something_came = true;
        }
        if something_came {
            self.follow_devices(now);
        }
    }

    /// Takes up interfaces, power buttons and the lab port that appeared, lets go of those that went.
    fn follow_devices(&mut self, now: Instant) {
        for interface in self.links.follow(&self.parameters) {
            if let Some(port) = &mut self.lab_port {
                port.tell(&Event::Link {
                    interface: &interface,
                    uptime_ms: uptime_ms(),
                });
            }
            if self.name.is_some() {
                self.add_dhcp_client(interface, now);
            }
        }
        let present: Vec<&str> = self.links.names().collect();
        self.services.retain(|service| match &service.kind {
            Kind::Dhcp(interface) if !present.contains(&interface.as_str()) => {
                if let Some(pid) = service.pid() {
                    // Ended already, or about to be: it is reaped either way.
                    let _ = sys::kill_group(Some(pid), libc::SIGTERM);
                }
                let _ = fs::remove_file(format!("{LEASE_DIRECTORY}/{interface}"));
                false
            }
            _ => true,
        });
        self.power_buttons.follow();
        if self.lab_port.is_none() {
            self.lab_port = LabPort::open(now);
        }
    }

    /// Starts what needs the node's name.
    fn start_named(&mut self, now: Instant) {
        if self.membership == Membership::None {
            journal::warn("no cluster key and not limosa.open: the agent waits for a key");
            self.start_asking(now);
        } else {
            self.add_agent(now);
        }
        if self.parameters.shell {
            self.add_shells(now);
        }
        let interfaces: Vec<String> = self.links.names().map(str::to_owned).collect();
        for interface in interfaces {
            self.add_dhcp_client(interface, now);
        }
        if Path::new(programs::SSH_SERVER).exists() {
            let command = Box::new(programs::ssh_server);
            self.services.push(Service::new(Kind::Ssh, now, command));
        }
    }

    /// Starts the agent, and with it the boot server if there is to be one.
    fn add_agent(&mut self, now: Instant) {
        let (parameters, membership) = (self.parameters.clone(), self.membership.clone());
        let writer = self.agent_log.writer();
        let command = Box::new(move || {
            // The name of this moment: a DHCP server may have given another.
            let name = rustix::system::uname();
            let name = name.nodename().to_string_lossy();
            let mut agent = programs::agent(&name, &membership, &parameters);
            if let Ok(log) = writer.stdio() {
                agent.stderr(log);
            }
            agent
        });
        self.services.push(Service::new(Kind::Agent, now, command));
        if let Some(netboot) = self.parameters.netboot.clone() {
            let (parameters, membership) = (self.parameters.clone(), self.membership.clone());
            let writer = self.netboot_log.writer();
            let command = Box::new(move || {
                let mut server = programs::netboot(&netboot, &membership, &parameters);
                if let Ok(log) = writer.stdio() {
                    server.stderr(log);
                }
                server
            });
            self.services
                .push(Service::new(Kind::Netboot, now, command));
        }
    }

    /// Starts, once, what makes room in memory after the boot.
    fn put_away(&mut self, now: Instant) {
        if self.put_away_at.take_if(|at| *at <= now).is_some()
            && let Err(error) = sys::spawn(&mut programs::put_away(), sys::Terminal::None)
        {
            journal::warn(&format!("nothing is put away: {error}"));
        }
    }

    fn add_shells(&mut self, now: Instant) {
        for terminal in SHELL_TERMINALS {
            let device = fs::File::options().read(true).write(true).open(terminal);
            // A serial line that the machine does not have opens but is no terminal.
            if device.is_ok_and(|device| rustix::termios::tcgetattr(&device).is_ok()) {
                let kind = Kind::Shell(terminal.to_owned());
                self.services
                    .push(Service::new(kind, now, Box::new(programs::shell)));
            }
        }
    }

    fn start_services(&mut self, now: Instant) {
        for service in &mut self.services {
            if let Some(pid) = service.start_if_due(now)
                && service.kind == Kind::Agent
                && let Some(port) = &mut self.lab_port
            {
                port.tell(&Event::AgentStarted {
                    pid,
                    uptime_ms: uptime_ms(),
                });
            }
        }
    }

    /// Collects all children that ended, ours and orphans.
    fn reap(&mut self, now: Instant) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            self.lab_commands.ended(pid, status, self.lab_port.as_mut());
            let Some(service) = self
                .services
                .iter_mut()
                .find(|service| service.pid() == Some(pid))
            else {
                continue;
            };
            let delay = service.ended(now, status);
            if service.kind == Kind::Agent {
                // `limosa agent`: the options, the configuration or the key make no sense.
                let is_refused = self.key_is_typed && status.exit_status() == Some(2);
                self.members.forget();
                if let Some(port) = &mut self.lab_port {
                    let restart_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    let (end, uptime_ms) = (status.into(), uptime_ms());
                    port.tell(&Event::AgentEnded {
                        pid,
                        end,
                        restart_in_ms,
                        uptime_ms,
                    });
                }
                if is_refused {
                    self.forget_typed_key(now);
                }
            } else if service.kind == Kind::Asker && status.exit_status() == Some(0) {
                self.be_admitted(now);
            }
        }
    }

    fn agent_pid(&self) -> Option<i32> {
        self.services
            .iter()
            .find(|service| service.kind == Kind::Agent)?
            .pid()
    }

    fn view(&self) -> View {
        let last_line = self.agent_log.last_line();
        let agent = match (&self.membership, self.agent_pid(), self.members.last()) {
            (Membership::None, _, _) => Agent::Absent(match last_line {
                Some(line) => format!("not started: {line}"),
                None => "not started, there is no cluster key".to_owned(),
            }),
            (_, None, _) => Agent::Absent(match last_line {
                Some(line) => format!("not running: {line}"),
                None => "not running".to_owned(),
            }),
            (_, Some(_), None) => Agent::Silent,
            (_, Some(_), Some(cluster)) => Agent::Sees(cluster.clone()),
        };
        View {
            name: self.name.clone(),
            cluster: self.membership.cluster(),
            open: self.membership == Membership::Open,
            asks_for_key: self.asks_for_key(),
            admission: self.admission(),
            boot_server: self.boot_server(),
            links: self.links.described(),
            agent,
        }
    }

    fn boot_server(&self) -> BootServer {
        let mut services = self.services.iter();
        match services.find(|service| service.kind == Kind::Netboot) {
            None => BootServer::None,
            Some(service) if service.pid().is_some() => BootServer::Runs,
            Some(_) => {
                BootServer::Failed(self.netboot_log.last_line().unwrap_or_default().to_owned())
            }
        }
    }

    fn stop(&mut self, how: Stop) {
        self.console.say(match how {
            Stop::Poweroff => "leaving the cluster, then power off",
            Stop::Reboot => "leaving the cluster, then reboot",
            Stop::Halt => "leaving the cluster, then halt",
        });
        if let Some(port) = &mut self.lab_port {
            port.tell(&Event::Stopping {
                how,
                uptime_ms: uptime_ms(),
            });
            port.flush(Duration::from_secs(1));
        }
        power::stop(how, self.agent_pid());
    }
}

fn read_parameters() -> Parameters {
    let mut parameters = Parameters::default();
    for source in [IMAGE_PARAMETERS, HOST_PARAMETERS, "/proc/cmdline"] {
        if !Path::new(source).exists() {
            continue;
        }
        match fs::read_to_string(source) {
            Ok(text) if text.len() <= PARAMETERS_BYTES_MAX => parameters.read(&text),
            Ok(_) => journal::warn(&format!(
                "{source} is longer than {PARAMETERS_BYTES_MAX} bytes"
            )),
            Err(error) => journal::warn(&format!("parameters in {source} cannot be read: {error}")),
        }
    }
    let not_a_name = |name: &mut String| !node_name::is_valid(name);
    let refused = [
        parameters.name.take_if(not_a_name),
        parameters.name_prefix.take_if(not_a_name),
    ];
    for name in refused.iter().flatten() {
        journal::warn(&format!("{name:?} is no host name and is ignored"));
    }
    for word in &parameters.unknown {
        journal::warn(&format!("{word} means nothing here and is ignored"));
    }
    parameters
}

/// Milliseconds since the kernel started.
fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}
