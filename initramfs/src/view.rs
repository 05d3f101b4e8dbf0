//! What the console shows: who this node is, whom it sees, and what is wrong if something is, as text (pure).

use serde::Deserialize;

use crate::line::{Line, Tone};

/// Most members that are listed; the rest is counted.
const MEMBERS_MAX: usize = 16;
/// Most refusals that are shown: the latest.
const REFUSALS_SHOWN_MAX: usize = 2;
/// Longest value of a member's field that is shown, in characters.
const FIELD_CHARACTERS_MAX: usize = 40;
/// Longest reason that is shown, in characters.
const REASON_CHARACTERS_MAX: usize = 300;
/// Longest bar that shows a load.
const BAR_CHARACTERS: usize = 10;
/// From which share of its processors' time on a node is warm, and hot.
const WARM_SHARE: f64 = 0.5;
const HOT_SHARE: f64 = 0.9;

/// One element of the answer of `limosa nodes --json`; what the console does not show is passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Member {
    name: String,
    state: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    guests: u64,
    #[serde(default)]
    load: f64,
    #[serde(default)]
    cpus: u32,
    #[serde(default)]
    this: bool,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    refusals: Vec<String>,
}

/// What the agent knows of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cluster {
    members: Vec<Member>,
    /// Whom it heard and refused, and why, the oldest first.
    refusals: Vec<String>,
}

impl Cluster {
    /// Reads the answers of `limosa nodes --json` and `limosa status --json`, one behind the other.
    pub(crate) fn read(answer: &[u8]) -> Option<Cluster> {
        let mut answers = serde_json::Deserializer::from_slice(answer);
        let members = Vec::deserialize(&mut answers).ok()?;
        let Status { refusals } = Status::deserialize(&mut answers).ok()?;
        Some(Cluster { members, refusals })
    }

    /// How many guests this node has.
    pub(crate) fn own_guests(&self) -> u64 {
        let own = self.members.iter().filter(|member| member.this);
        own.map(|member| member.guests).sum()
    }

    /// Whether the same nodes are there in the same state, whatever their load.
    pub(crate) fn has_members_of(&self, other: &Cluster) -> bool {
        let key = |member: &Member| (member.name.clone(), member.state.clone(), member.guests);
        self.refusals == other.refusals
            && self
                .members
                .iter()
                .map(key)
                .eq(other.members.iter().map(key))
    }
}

/// What the agent is up to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Agent {
    /// It does not run, for this reason.
    Absent(String),
    /// It runs but did not answer yet.
    Silent,
    /// It sees others.
    Sees(Cluster),
}

/// What the boot server is up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BootServer {
    /// There is to be none.
    None,
    Runs,
    /// It does not run, for this reason.
    Failed(String),
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Whether something is at the other end of the cable.
    pub(crate) has_carrier: bool,
    pub(crate) addresses: Vec<String>,
}

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// The node's name, once it has one.
    pub(crate) name: Option<String>,
    /// The public part of the cluster key.
    pub(crate) cluster: Option<String>,
    /// Whether anybody may join.
    pub(crate) open: bool,
    /// Whether the cluster key can be typed in.
    pub(crate) asks_for_key: bool,
    /// What a person is to do so that a node of the cluster sends it, while it can be typed in.
    pub(crate) admission: Option<String>,
    /// Whether it boots other PCs.
    pub(crate) boot_server: BootServer,
    pub(crate) links: Vec<Link>,
    /// The agent's state.
    pub(crate) agent: Agent,
}

/// For whom lines are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A screen, which is redrawn.
    Screen,
    /// A line that scrolls: what changes all the time is left out.
    Line,
}

impl View {
    /// The lines to show.
    pub(crate) fn lines(&self, medium: Medium) -> Vec<Line> {
        let name = self.name.as_deref().unwrap_or("(no name yet)");
        let version = env!("CARGO_PKG_VERSION");
        let mut lines = vec![
            Line::new(Tone::Plain, format!("Limosa {version}   "))
                .and(Tone::Own, format!("node {name}")),
        ];
        lines.push(match (&self.cluster, self.open) {
            (_, true) => wrong("OPEN CLUSTER: whoever reaches this node may use it"),
            (Some(cluster), _) => plain(format!("cluster {}", field(cluster))),
            (None, _) => wrong("no cluster key: boot with limosa.key=KEY to join a cluster"),
        });
        match &self.boot_server {
            BootServer::None => {}
            BootServer::Runs => lines.push(plain(
                "boots other PCs: let them start from their network cards",
            )),
            BootServer::Failed(reason) => {
                let reason = clean(reason, REASON_CHARACTERS_MAX);
                lines.push(wrong(format!("BOOTS NO OTHER PCs: {reason}")));
            }
        }
        if self.links.is_empty() {
            lines.push(wrong(
                "NO NETWORK CARD was found: plug in a USB one, or see `dmesg` for the driver",
            ));
        }
        lines.extend(self.links.iter().map(link_line));
        lines.push(plain(""));
        match &self.agent {
            Agent::Absent(reason) => {
                let reason = clean(reason, REASON_CHARACTERS_MAX);
                lines.push(wrong(format!("agent: {reason}")));
            }
            Agent::Silent => lines.push(plain("agent: no answer yet")),
            Agent::Sees(cluster) => lines.extend(cluster_lines(cluster, medium)),
        }
        if medium == Medium::Screen {
            lines.push(plain(""));
            lines.push(Line::new(
                Tone::Faint,
                "The power button and Ctrl-Alt-Del leave the cluster first. No disk is used.",
            ));
        }
        if self.asks_for_key {
            lines.push(plain(""));
            if let Some(admission) = &self.admission {
                lines.push(Line::new(
                    Tone::Own,
                    clean(admission, REASON_CHARACTERS_MAX),
                ));
            }
            lines.push(plain(
                "Type the cluster key here, limosa1-..., and press Enter:",
            ));
        }
        lines
    }
}

fn plain(text: impl Into<String>) -> Line {
    Line::new(Tone::Plain, text)
}

fn wrong(text: impl Into<String>) -> Line {
    Line::new(Tone::Wrong, text)
}

fn link_line(link: &Link) -> Line {
    let Link {
        name,
        has_carrier,
        addresses,
    } = link;
    if !has_carrier {
        wrong(format!(
            "{name}  NO LINK: is the cable plugged in at both ends?"
        ))
    } else if addresses.is_empty() {
        plain(format!("{name}  no address"))
    } else {
        plain(format!("{name}  {}", addresses.join("  ")))
    }
}

fn cluster_lines(cluster: &Cluster, medium: Medium) -> Vec<Line> {
    let members = &cluster.members;
    let alive = || members.iter().filter(|member| member.state == "alive");
    let cpus: u32 = alive().map(|member| member.cpus).sum();
    let mut lines = vec![plain(format!(
        "{} of {} nodes alive, {cpus} CPU{}",
        alive().count(),
        members.len(),
        if cpus == 1 { "" } else { "s" }
    ))];
    if members.len() == 1 && cluster.refusals.is_empty() {
        lines.push(plain(
            "nobody else is heard yet: is there another node on this network?",
        ));
    }
    let name_width = |member: &Member| field(&member.name).chars().count();
    let width = members.iter().map(name_width).max().unwrap_or(0);
    for member in members.iter().take(MEMBERS_MAX) {
        lines.push(member_line(member, width, medium));
    }
    if let Some(more @ 1..) = members.len().checked_sub(MEMBERS_MAX) {
        lines.push(plain(format!("  and {more} more")));
    }
    for refusal in cluster.refusals.iter().rev().take(REFUSALS_SHOWN_MAX) {
        let refusal = clean(refusal, REASON_CHARACTERS_MAX);
        lines.push(wrong(format!("REFUSED: {refusal}")));
    }
    lines
}

/// One node: `* n2  alive  [###       ]  2 guests  fe80::2`; the one that shows it has the star.
fn member_line(member: &Member, width: usize, medium: Medium) -> Line {
    let (star, own) = if member.this {
        ("*", Tone::Own)
    } else {
        (" ", Tone::Plain)
    };
    let state = match member.state.as_str() {
        "suspect" => Tone::Warm,
        "lost" => Tone::Wrong,
        "left" => Tone::Faint,
        _ => Tone::Plain,
    };
    let name = field(&member.name);
    let line = Line::new(own, format!("{star} {name:width$}  "))
        .and(state, format!("{:8}", field(&member.state)));
    let line = match medium {
        Medium::Screen if member.state == "alive" => {
            let share = share(member.load, member.cpus);
            line.and(temperature(share), format!("{}  ", bar(share)))
        }
        Medium::Screen => line.and(Tone::Plain, " ".repeat(BAR_CHARACTERS + 4)),
        Medium::Line => line,
    };
    let guests = match member.guests {
        0 => String::new(),
        1 => "1 guest".to_owned(),
        count => format!("{count} guests"),
    };
    let address = member.addresses.first().map(|address| host(address));
    line.and(
        Tone::Plain,
        format!("{guests:8}  {}", address.unwrap_or_default()),
    )
}

/// The address in what the agent says of it, which has a port, and a zone if it is link-local.
fn host(address: &str) -> String {
    let host = match address.strip_prefix('[') {
        Some(inside) => inside.split(['%', ']']).next(),
        None => address.split(':').next(),
    };
    field(host.unwrap_or_default())
}

/// Which share of its processors' time a node uses.
fn share(load: f64, cpus: u32) -> f64 {
    (load / f64::from(cpus.max(1))).clamp(0.0, 1.0)
}

fn temperature(share: f64) -> Tone {
    if share >= HOT_SHARE {
        Tone::Hot
    } else if share >= WARM_SHARE {
        Tone::Warm
    } else {
        Tone::Cool
    }
}

/// How busy the processors are: `[####      ]`.
fn bar(share: f64) -> String {
    let full = (share * BAR_CHARACTERS as f64).round() as usize;
    format!(
        "[{}{}]",
        "#".repeat(full),
        " ".repeat(BAR_CHARACTERS - full)
    )
}

fn field(text: &str) -> String {
    clean(text, FIELD_CHARACTERS_MAX)
}

/// What others named must not steer this terminal.
fn clean(text: &str, characters_max: usize) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(characters_max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(agent: Agent) -> View {
        View {
            name: Some("limosa-3fa2".to_owned()),
            cluster: Some("k3j9".to_owned()),
            open: false,
            asks_for_key: false,
            admission: None,
            boot_server: BootServer::None,
            links: vec![Link {
                name: "eth0".to_owned(),
                has_carrier: true,
                addresses: vec!["fe80::1".to_owned()],
            }],
            agent,
        }
    }

    fn sees(members: &str, refusals: &str) -> View {
        let answer = format!("[{members}]\n{{\"refusals\":[{refusals}],\"jobs\":0}}\n");
        view(Agent::Sees(
            Cluster::read(answer.as_bytes()).expect("valid"),
        ))
    }

    fn texts(view: &View, medium: Medium) -> Vec<String> {
        view.lines(medium).iter().map(Line::text).collect()
    }

    const TWO: &str = r#"{"number":1,"name":"a","state":"alive","addresses":["10.0.0.1:4460"],"this":true,"load":1.0,"cpus":2},
        {"number":2,"name":"long","state":"lost","addresses":[],"guests":2,"this":false}"#;

    #[test]
    fn a_node_among_others_shows_itself_and_them() {
        let lines = texts(&sees(TWO, ""), Medium::Line);
        assert!(lines[0].ends_with("node limosa-3fa2"));
        assert_eq!(lines[1], "cluster k3j9");
        assert_eq!(lines[2], "eth0  fe80::1");
        assert_eq!(lines[4], "1 of 2 nodes alive, 2 CPUs");
        assert_eq!(lines[5], "* a     alive             10.0.0.1");
        assert_eq!(lines[6], "  long  lost    2 guests");
    }

    #[test]
    fn a_screen_shows_how_busy_each_node_is() {
        let lines = sees(TWO, "").lines(Medium::Screen);
        assert_eq!(
            lines[5].text(),
            "* a     alive   [#####     ]            10.0.0.1"
        );
        assert_eq!(bar(share(9.0, 2)), "[##########]");
        assert_eq!(bar(share(f64::NAN, 0)), "[          ]");
        let tones = [0.49, 0.5, 0.9, f64::NAN].map(temperature);
        assert_eq!(tones, [Tone::Cool, Tone::Warm, Tone::Hot, Tone::Cool]);
    }

    #[test]
    fn an_address_is_shown_without_port_and_zone() {
        assert_eq!(
            host("[fe80::6c:61ff:fe62:2%2]:4460"),
            "fe80::6c:61ff:fe62:2"
        );
        assert_eq!(host("[fd00::2]:4460"), "fd00::2");
        assert_eq!(host("10.77.0.2:4460"), "10.77.0.2");
        assert_eq!(host(""), "");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let mut view = sees(TWO, r#""node n9 at fe80::9: wrong key?""#);
        view.links[0].has_carrier = false;
        let lines = texts(&view, Medium::Line);
        assert!(
            lines[2].contains("NO LINK") && lines[2].contains("cable"),
            "{lines:?}"
        );
        assert_eq!(
            lines.last().unwrap(),
            "REFUSED: node n9 at fe80::9: wrong key?"
        );
        view.boot_server = BootServer::Failed("no files".to_owned());
        assert_eq!(
            texts(&view, Medium::Line)[2],
            "BOOTS NO OTHER PCs: no files"
        );
        view.boot_server = BootServer::None;
        view.links.clear();
        assert!(texts(&view, Medium::Line)[2].contains("NO NETWORK CARD"));
        let one = r#"{"name":"a","state":"alive"}"#;
        let alone = texts(&sees(one, ""), Medium::Line);
        assert!(alone[5].contains("nobody else"), "{alone:?}");
        let beside_strangers = texts(&sees(one, "\"n9\""), Medium::Line);
        assert!(
            beside_strangers[5].starts_with("  a"),
            "{beside_strangers:?}"
        );
    }

    #[test]
    fn a_node_without_a_key_says_what_to_do_and_asks() {
        let mut view = view(Agent::Absent("not started".to_owned()));
        view.cluster = None;
        view.asks_for_key = true;
        view.admission = Some("Run limosa admit 48-291507".to_owned());
        let lines = texts(&view, Medium::Screen);
        assert_eq!(lines[lines.len() - 2], "Run limosa admit 48-291507");
        assert!(lines[1].contains("limosa.key="));
        assert!(lines.last().unwrap().starts_with("Type the cluster key"));
    }

    #[test]
    fn an_open_cluster_is_loud() {
        let mut view = view(Agent::Silent);
        view.open = true;
        assert!(texts(&view, Medium::Screen)[1].contains("OPEN"));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let member = r#"{"name":"x","state":"alive"}"#;
        let lines = texts(&sees(&[member; 20].join(","), ""), Medium::Line);
        assert_eq!(lines.last().map(String::as_str), Some("  and 4 more"));
    }

    #[test]
    fn foreign_names_cannot_steer_the_terminal() {
        let lines = sees(r#"{"name":"\u001b[2Jx","state":"alive"}"#, r#""\u001b[2J""#);
        assert!(!texts(&lines, Medium::Screen).concat().contains('\u{1b}'));
    }

    #[test]
    fn a_change_of_load_is_no_news_and_a_new_refusal_is() {
        let read = |members: &str, refusals: &str| match sees(members, refusals).agent {
            Agent::Sees(cluster) => cluster,
            _ => unreachable!(),
        };
        let busier = TWO.replace("1.0", "2.0");
        assert!(read(TWO, "").has_members_of(&read(&busier, "")));
        assert!(!read(TWO, "").has_members_of(&read(TWO, "\"n9\"")));
        assert_eq!(Cluster::read(b"[]"), None);
    }
}
