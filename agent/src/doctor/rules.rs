//! The rules (pure): facts in, findings out, in the order in which somebody would repair things.

use std::path::PathBuf;
use std::time::Duration;

use super::{Finding, State};
use crate::wire::supervisor::Reason;

/// The kernel's own upper limit of pids on 64-bit machines, which image and package set.
const PID_MAX: u32 = 4_194_304;
/// 2025-01-01: before this program was written, no clock that runs says so.
const TIME_MIN: Duration = Duration::from_secs(1_735_689_600);

/// What is known of the cluster key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The open cluster's, which everybody has.
    Open,
    /// There is none in this file.
    Missing(PathBuf),
    /// There is one that cannot be used, for this reason.
    Unusable(String),
    /// There is one.
    Sound {
        /// The file.
        path: PathBuf,
        /// The cluster that it is of.
        cluster: String,
        /// Others than the file's owner can read it.
        is_exposed: bool,
    },
}

/// A network interface other than the loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Somebody has set it up.
    pub is_up: bool,
    /// Something is at the other end.
    pub has_carrier: bool,
    /// It passes multicast on.
    pub has_multicast: bool,
    /// It has an address that beacons can come from.
    pub has_address: bool,
    /// IPv6 is switched off on it.
    pub lacks_ipv6: bool,
}

impl Interface {
    fn is_usable(&self) -> bool {
        self.is_up && self.has_carrier && self.has_multicast && self.has_address
    }
}

/// What is known of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It answers.
    Runs {
        /// Nodes that it sees alive, itself included.
        alive: usize,
        /// Whom it has refused, and why.
        refusals: Vec<String>,
    },
    /// It does not run; whether its port is taken by somebody else.
    Absent {
        /// Somebody else has the port.
        port_is_taken: bool,
    },
}

/// All that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// This program runs as root.
    pub is_root: bool,
    /// Why there is no sound configuration.
    pub configuration: Option<String>,
    /// What the kernel lacks for a node.
    pub missing: Vec<Reason>,
    /// What it lacks beyond that to take guests.
    pub missing_for_guests: Vec<Reason>,
    /// kernel.yama.ptrace_scope.
    pub ptrace_scope: Option<u32>,
    /// A cgroup2 hierarchy is mounted.
    pub has_cgroup2: bool,
    /// The cpu controller is in it.
    pub has_cpu_controller: bool,
    /// kernel.pid_max.
    pub pid_max: u32,
    /// vm.overcommit_memory.
    pub overcommit: Option<u32>,
    /// Kinds of namespaces of which nobody may have any (user.max_*_namespaces = 0).
    pub forbidden_namespaces: Vec<&'static str>,
    /// The cluster key.
    pub key: Key,
    /// All interfaces but the loopback.
    pub interfaces: Vec<Interface>,
    /// The only ones to use, if any are named.
    pub wanted: Vec<String>,
    /// UDP and TCP port.
    pub port: u16,
    /// Firewalls that may keep others out.
    pub firewalls: Vec<String>,
    /// The time since 1970.
    pub time: Duration,
    /// Something keeps the clock right.
    pub is_synchronized: bool,
    /// The agent.
    pub agent: Agent,
}

/// Judges the facts.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.kernel(facts);
    findings.settings(facts);
    findings.key(facts);
    findings.interfaces(facts);
    findings.firewall(facts);
    findings.clock(facts);
    findings.agent(facts);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        state: State,
        code: &str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into()).filter(|_| state != State::Ok);
        self.0.push(Finding {
            code: code.to_owned(),
            state,
            text: text.into(),
            remedy,
        });
    }

    fn ok(&mut self, code: &str, text: impl Into<String>) {
        self.add(State::Ok, code, text, "");
    }

    fn problem(&mut self, code: &str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Problem, code, text, remedy);
    }

    fn warning(&mut self, code: &str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Warning, code, text, remedy);
    }

    fn kernel(&mut self, facts: &Facts) {
        if !facts.is_root {
            // Most of what root can do is tried, so nothing else would be true.
            let text = "this is not root, so the kernel cannot be tried";
            self.problem("root", text, "run `sudo limosa doctor`");
            return;
        }
        for reason in &facts.missing {
            let remedy = "follow what it says; without that this machine cannot be a node";
            self.problem(&reason.code, reason.text.clone(), remedy);
        }
        for reason in &facts.missing_for_guests {
            let remedy = "follow what it says; until then programs can leave this machine, and none can come";
            self.warning(&reason.code, reason.text.clone(), remedy);
        }
        if facts.missing.is_empty() && facts.missing_for_guests.is_empty() {
            self.ok("kernel", "the kernel has all that a node needs");
        }
    }

    fn settings(&mut self, facts: &Facts) {
        match facts.ptrace_scope {
            Some(3) => self.problem(
                "ptrace-scope",
                "kernel.yama.ptrace_scope is 3: nobody may trace, so no program can move",
                "remove it from /etc/sysctl.d and reboot; while the kernel runs it cannot be lowered",
            ),
            scope => {
                let scope = scope.map_or_else(|| "absent".to_owned(), |scope| scope.to_string());
                self.ok("ptrace-scope", format!("kernel.yama.ptrace_scope is {scope}"));
            }
        }
        if facts.has_cgroup2 && facts.has_cpu_controller {
            self.ok(
                "cgroup",
                "there is a cgroup2 hierarchy with the cpu controller",
            );
        } else if facts.has_cgroup2 {
            self.warning(
                "cgroup-cpu",
                "the cpu controller is not in the cgroup2 hierarchy: guests run at the priority of your own work",
                "boot with cgroup_no_v1=cpu or systemd.unified_cgroup_hierarchy=1",
            );
        } else {
            self.warning(
                "cgroup",
                "no cgroup2 hierarchy is mounted: jobs are followed by descent, and guests are not bounded",
                "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
            );
        }
        for kind in &facts.forbidden_namespaces {
            self.problem(
                "namespaces",
                format!("user.max_{kind}_namespaces is 0: no guest can be confined here"),
                format!(
                    "sysctl user.max_{kind}_namespaces=10000, and look for it in /etc/sysctl.d"
                ),
            );
        }
        if facts.pid_max < PID_MAX {
            self.warning(
                "pid-max",
                format!(
                    "kernel.pid_max is {}: guests whose pids at home are higher are refused",
                    facts.pid_max
                ),
                format!("sysctl kernel.pid_max={PID_MAX}, and put it into /etc/sysctl.d"),
            );
        }
        if facts.overcommit == Some(2) {
            self.warning(
                "overcommit",
                "vm.overcommit_memory is 2: guests with large reservations are refused their memory",
                "sysctl vm.overcommit_memory=0, and look for it in /etc/sysctl.d",
            );
        }
    }

    fn key(&mut self, facts: &Facts) {
        if let Some(error) = &facts.configuration {
            self.problem("configuration", error.clone(), "correct that line");
        }
        match &facts.key {
            Key::Open => self.warning(
                "key",
                "this node is of the open cluster: whoever is on the network can run programs on it",
                "make a key by `limosa key new FILE`, and name it in place of `open`",
            ),
            Key::Missing(path) => self.problem(
                "key-missing",
                format!("there is no cluster key in {}", path.display()),
                format!(
                    "copy that of your cluster there, or begin one: limosa key new {}",
                    path.display()
                ),
            ),
            Key::Unusable(error) => self.problem(
                "key-unusable",
                error.clone(),
                "copy the key file anew from a node that works; do not type it",
            ),
            Key::Sound {
                path,
                is_exposed: true,
                ..
            } => self.problem(
                "key-exposed",
                format!("others than its owner can read the cluster key {}", path.display()),
                format!("chmod 600 {}; if strangers may have read it, make a new key", path.display()),
            ),
            Key::Sound { path, cluster, .. } => self.ok(
                "key",
                format!("{} is a sound key of cluster {cluster}", path.display()),
            ),
        }
    }

    fn interfaces(&mut self, facts: &Facts) {
        let exists = |name: &&String| facts.interfaces.iter().any(|known| known.name == **name);
        for name in facts.wanted.iter().filter(|name| !exists(name)) {
            let known: Vec<&str> = facts.interfaces.iter().map(|known| &*known.name).collect();
            self.problem(
                "interface-missing",
                format!("there is no interface {name}"),
                format!("name one of those that there are: {}", known.join(", ")),
            );
        }
        let is_wanted =
            |known: &&Interface| facts.wanted.is_empty() || facts.wanted.contains(&known.name);
        let wanted: Vec<&Interface> = facts.interfaces.iter().filter(is_wanted).collect();
        if facts.interfaces.is_empty() {
            self.problem(
                "interface-none",
                "there is no network interface but the loopback",
                "plug in a network card, or load its driver; see `dmesg`",
            );
        }
        let usable = wanted.iter().filter(|interface| interface.is_usable());
        let usable: Vec<&str> = usable.map(|interface| &*interface.name).collect();
        if !usable.is_empty() {
            self.ok(
                "interfaces",
                format!("beacons go out on {}", usable.join(", ")),
            );
        }
        for interface in wanted {
            if usable.is_empty() || interface.lacks_ipv6 && interface.is_usable() {
                self.interface(interface);
            }
        }
    }

    fn interface(&mut self, interface: &Interface) {
        let name = &interface.name;
        let ipv6_remedy = format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0");
        if !interface.is_up {
            let text = format!("interface {name} is down");
            self.problem("interface-down", text, format!("ip link set {name} up"));
        } else if !interface.has_carrier {
            let text = format!("interface {name} has no link");
            self.problem("interface-link", text, "plug the cable in at both ends");
        } else if !interface.has_multicast {
            let remedy = format!(
                "ip link set {name} multicast on; where that cannot be, name a node by --seed ADDRESS"
            );
            let text = format!("interface {name} does no multicast: nobody is found there");
            self.problem("multicast", text, remedy);
        } else if !interface.has_address && interface.lacks_ipv6 {
            let text = format!("IPv6 is switched off on {name}, and it has no IPv4 address");
            self.problem("ipv6", text, ipv6_remedy);
        } else if !interface.has_address {
            let text = format!("interface {name} has no address yet");
            self.problem("interface-address", text, "wait a moment, and look again");
        } else if interface.lacks_ipv6 {
            let text = format!(
                "IPv6 is switched off on {name}: nodes are met only if they have IPv4 addresses, too"
            );
            self.warning("ipv6", text, ipv6_remedy);
        }
    }

    fn firewall(&mut self, facts: &Facts) {
        if facts.firewalls.is_empty() {
            self.ok("firewall", "no firewall that drops what comes in was found");
        }
        let port = facts.port;
        for firewall in &facts.firewalls {
            self.warning(
                "firewall",
                format!("{firewall} may keep other nodes out"),
                format!(
                    "let UDP and TCP port {port} in, unless that is done: `ufw allow {port}`, \
                     `firewall-cmd --permanent --add-port={port}/udp --add-port={port}/tcp`, or in that chain \
                     `meta l4proto {{ tcp, udp }} th dport {port} accept`"
                ),
            );
        }
    }

    fn clock(&mut self, facts: &Facts) {
        if facts.time < TIME_MIN {
            self.problem(
                "clock",
                "the clock is years behind: programs that come here read wrong times",
                "set it (`date -s`), and have NTP keep it; the battery of the PC's clock may be empty",
            );
        } else if facts.is_synchronized {
            self.ok("clock", "the clock is kept right");
        } else {
            self.warning(
                "clock",
                "nothing keeps the clock right: programs that travel see times that differ from home's",
                "install chrony or systemd-timesyncd on the installed nodes",
            );
        }
    }

    fn agent(&mut self, facts: &Facts) {
        match &facts.agent {
            Agent::Absent {
                port_is_taken: true,
            } => self.problem(
                "port-taken",
                format!("port {} is taken by another program", facts.port),
                format!(
                    "find it by `ss -lunpt sport = :{}` and end it, or choose another port for all nodes (--port)",
                    facts.port
                ),
            ),
            Agent::Absent { .. } => self.problem(
                "agent",
                "no agent runs here",
                "systemctl start limosa, or `sudo limosa agent`",
            ),
            Agent::Runs { alive, refusals } => {
                if *alive > 1 {
                    self.ok("agent", format!("the agent runs and sees {alive} nodes alive"));
                } else {
                    self.warning(
                        "alone",
                        "the agent runs and sees nobody else",
                        "start another node with the same key; if there is one, look at its firewall, or name \
                         it by --seed ADDRESS: the switch between may not pass multicast on",
                    );
                }
                for refusal in refusals {
                    let remedy = "give both nodes the same key file and version of Limosa, and restart their agents";
                    self.warning("refused", refusal.clone(), remedy);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Facts {
        Facts {
            is_root: true,
            configuration: None,
            missing: Vec::new(),
            missing_for_guests: Vec::new(),
            ptrace_scope: Some(1),
            has_cgroup2: true,
            has_cpu_controller: true,
            pid_max: PID_MAX,
            overcommit: Some(0),
            forbidden_namespaces: Vec::new(),
            key: Key::Sound {
                path: "/etc/limosa/cluster.key".into(),
                cluster: "k3j9".into(),
                is_exposed: false,
            },
            interfaces: vec![Interface {
                name: "eth0".into(),
                is_up: true,
                has_carrier: true,
                has_multicast: true,
                has_address: true,
                lacks_ipv6: false,
            }],
            wanted: Vec::new(),
            port: 4460,
            firewalls: Vec::new(),
            time: TIME_MIN,
            is_synchronized: true,
            agent: Agent::Runs {
                alive: 2,
                refusals: Vec::new(),
            },
        }
    }

    /// The codes of what is not well, with one thing changed.
    fn codes(change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = healthy();
        change(&mut facts);
        let findings = judge(&facts);
        let bad = findings
            .into_iter()
            .filter(|finding| finding.state != State::Ok);
        bad.inspect(|finding| assert!(finding.remedy.as_ref().is_some_and(|text| !text.is_empty())))
            .map(|finding| finding.code)
            .collect()
    }

    #[test]
    fn a_healthy_node_has_nothing_to_say_but_that_it_is_well() {
        assert_eq!(codes(|_| {}), [""; 0]);
        assert!(
            judge(&healthy())
                .iter()
                .all(|finding| finding.remedy.is_none())
        );
    }

    #[test]
    fn each_misconfiguration_has_its_finding() {
        let reason = || Reason {
            code: "kcmp".into(),
            text: "no kcmp".into(),
        };
        assert_eq!(codes(|facts| facts.missing.push(reason())), ["kcmp"]);
        assert_eq!(
            codes(|facts| facts.missing_for_guests.push(reason())),
            ["kcmp"]
        );
        assert_eq!(
            codes(|facts| facts.ptrace_scope = Some(3)),
            ["ptrace-scope"]
        );
        assert_eq!(codes(|facts| facts.has_cgroup2 = false), ["cgroup"]);
        assert_eq!(
            codes(|facts| facts.has_cpu_controller = false),
            ["cgroup-cpu"]
        );
        assert_eq!(
            codes(|facts| facts.forbidden_namespaces = vec!["pid"]),
            ["namespaces"]
        );
        assert_eq!(codes(|facts| facts.pid_max = 32_768), ["pid-max"]);
        assert_eq!(codes(|facts| facts.overcommit = Some(2)), ["overcommit"]);
        assert_eq!(codes(|facts| facts.key = Key::Open), ["key"]);
        assert_eq!(
            codes(|facts| facts.configuration = Some("x".into())),
            ["configuration"]
        );
        assert_eq!(codes(|facts| facts.interfaces.clear()), ["interface-none"]);
        assert_eq!(
            codes(|facts| facts.firewalls.push("x".into())),
            ["firewall"]
        );
        assert_eq!(codes(|facts| facts.time = Duration::ZERO), ["clock"]);
        assert_eq!(codes(|facts| facts.is_synchronized = false), ["clock"]);
        let absent = |port_is_taken| codes(|facts| facts.agent = Agent::Absent { port_is_taken });
        assert_eq!(absent(false), ["agent"]);
        assert_eq!(absent(true), ["port-taken"]);
    }

    #[test]
    fn an_interface_is_judged_by_the_first_thing_that_is_wrong_with_it() {
        let code = |change: fn(&mut Interface)| codes(|facts| change(&mut facts.interfaces[0]));
        assert_eq!(
            code(|interface| interface.is_up = false),
            ["interface-down"]
        );
        assert_eq!(
            code(|interface| interface.has_carrier = false),
            ["interface-link"]
        );
        assert_eq!(
            code(|interface| interface.has_multicast = false),
            ["multicast"]
        );
        assert_eq!(
            code(|interface| interface.has_address = false),
            ["interface-address"]
        );
        assert_eq!(code(|interface| interface.lacks_ipv6 = true), ["ipv6"]);
        let down = Interface {
            name: "eth1".into(),
            ..Interface::default()
        };
        let with_a_spare = codes(|facts| facts.interfaces.push(down.clone()));
        assert_eq!(with_a_spare, [""; 0], "one that works is enough");
        let named = codes(|facts| {
            facts.interfaces.push(down.clone());
            facts.wanted = vec!["eth1".into(), "eth9".into()];
        });
        assert_eq!(named, ["interface-missing", "interface-down"]);
    }

    #[test]
    fn who_was_refused_is_told_with_the_remedy() {
        let refused = codes(|facts| {
            facts.agent = Agent::Runs {
                alive: 1,
                refusals: vec!["node n9: wrong key?".into()],
            };
        });
        assert_eq!(refused, ["alone", "refused"]);
    }
}
