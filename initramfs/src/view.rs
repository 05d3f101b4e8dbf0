//! What the console shows: who this node is, whom it sees, and what is wrong if something is, as text (pure).

use serde::Deserialize;

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
    pub(crate) fn lines(&self, medium: Medium) -> Vec<String> {
        let name = self.name.as_deref().unwrap_or("(no name yet)");
        let version = env!("CARGO_PKG_VERSION");
        let mut lines = vec![format!("Limosa {version}   node {name}")];
        lines.push(match (&self.cluster, self.open) {
            (_, true) => "OPEN CLUSTER: whoever reaches this node may use it".to_owned(),
            (Some(cluster), _) => format!("cluster {}", plain(cluster)),
            (None, _) => "no cluster key: boot with limosa.key=KEY to join a cluster".to_owned(),
        });
        match &self.boot_server {
            BootServer::None => {}
            BootServer::Runs => {
                lines.push("boots other PCs: let them start from their network cards".to_owned());
            }
            BootServer::Failed(reason) => {
                let reason = clean(reason, REASON_CHARACTERS_MAX);
                lines.push(format!("BOOTS NO OTHER PCs: {reason}"));
            }
        }
        if self.links.is_empty() {
            lines.push(
                "NO NETWORK CARD was found: plug in a USB one, or see `dmesg` for the driver"
                    .to_owned(),
            );
        }
        lines.extend(self.links.iter().map(link_line));
        lines.push(String::new());
        match &self.agent {
            Agent::Absent(reason) => {
                lines.push(format!("agent: {}", clean(reason, REASON_CHARACTERS_MAX)));
            }
            Agent::Silent => lines.push("agent: starting".to_owned()),
            Agent::Sees(cluster) => lines.extend(cluster_lines(cluster, medium)),
        }
        if self.asks_for_key {
            lines.push(String::new());
            lines.push("Type the cluster key here, limosa1-..., and press Enter:".to_owned());
        }
        lines
    }
}

fn link_line(link: &Link) -> String {
    let Link {
        name,
        has_carrier,
        addresses,
    } = link;
    if !has_carrier {
        format!("{name}  NO LINK: is the cable plugged in at both ends?")
    } else if addresses.is_empty() {
        format!("{name}  no address")
    } else {
        format!("{name}  {}", addresses.join("  "))
    }
}

fn cluster_lines(cluster: &Cluster, medium: Medium) -> Vec<String> {
    let members = &cluster.members;
    let alive = members
        .iter()
        .filter(|member| member.state == "alive")
        .count();
    let mut lines = vec![format!("{alive} of {} nodes alive", members.len())];
    if members.len() == 1 {
        lines.push("nobody else is heard yet: is there another node on this network?".to_owned());
    }
    let name_width = |member: &Member| plain(&member.name).chars().count();
    let width = members.iter().map(name_width).max().unwrap_or(0);
    for member in members.iter().take(MEMBERS_MAX) {
        lines.push(member_line(member, width, medium));
    }
    if let Some(more @ 1..) = members.len().checked_sub(MEMBERS_MAX) {
        lines.push(format!("  and {more} more"));
    }
    for refusal in cluster.refusals.iter().rev().take(REFUSALS_SHOWN_MAX) {
        lines.push(format!(
            "REFUSED: {}",
            clean(refusal, REASON_CHARACTERS_MAX)
        ));
    }
    lines
}

fn member_line(member: &Member, width: usize, medium: Medium) -> String {
    let address = member.addresses.first().map(|address| plain(address));
    let guests = match member.guests {
        0 => String::new(),
        1 => "  1 guest".to_owned(),
        count => format!("  {count} guests"),
    };
    let load = match medium {
        Medium::Screen if member.state == "alive" => format!("  {}", bar(member.load, member.cpus)),
        Medium::Screen => " ".repeat(BAR_CHARACTERS + 4),
        Medium::Line => String::new(),
    };
    let this = if member.this { "  (this node)" } else { "" };
    let (name, state) = (plain(&member.name), plain(&member.state));
    let line = format!(
        "  {name:width$}  {state:8}{load}  {}{guests}{this}",
        address.unwrap_or_default()
    );
    line.trim_end().to_owned()
}

/// How busy the processors are: `[####      ]`.
fn bar(load: f64, cpus: u32) -> String {
    let share = (load / f64::from(cpus.max(1))).clamp(0.0, 1.0);
    let full = (share * BAR_CHARACTERS as f64).round() as usize;
    format!(
        "[{}{}]",
        "#".repeat(full),
        " ".repeat(BAR_CHARACTERS - full)
    )
}

fn plain(text: &str) -> String {
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

    const TWO: &str = r#"{"number":1,"name":"a","state":"alive","addresses":["10.0.0.1"],"this":true,"load":1.0,"cpus":2},
        {"number":2,"name":"long","state":"lost","addresses":[],"guests":2,"this":false}"#;

    #[test]
    fn a_node_among_others_shows_itself_and_them() {
        let lines = sees(TWO, "").lines(Medium::Line);
        assert!(lines[0].ends_with("node limosa-3fa2"));
        assert_eq!(lines[1], "cluster k3j9");
        assert_eq!(lines[2], "eth0  fe80::1");
        assert_eq!(lines[4], "1 of 2 nodes alive");
        assert_eq!(lines[5], "  a     alive     10.0.0.1  (this node)");
        assert_eq!(lines[6], "  long  lost        2 guests");
    }

    #[test]
    fn a_screen_shows_how_busy_each_node_is() {
        let lines = sees(TWO, "").lines(Medium::Screen);
        assert_eq!(
            lines[5],
            "  a     alive     [#####     ]  10.0.0.1  (this node)"
        );
        assert_eq!(bar(9.0, 2), "[##########]");
        assert_eq!(bar(f64::NAN, 0), "[          ]");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let mut view = sees(TWO, r#""node n9 at fe80::9: wrong key?""#);
        view.links[0].has_carrier = false;
        let lines = view.lines(Medium::Line);
        assert!(
            lines[2].contains("NO LINK") && lines[2].contains("cable"),
            "{lines:?}"
        );
        assert_eq!(
            lines.last().unwrap(),
            "REFUSED: node n9 at fe80::9: wrong key?"
        );
        view.boot_server = BootServer::Failed("no files".to_owned());
        assert_eq!(view.lines(Medium::Line)[2], "BOOTS NO OTHER PCs: no files");
        view.boot_server = BootServer::None;
        view.links.clear();
        assert!(view.lines(Medium::Line)[2].contains("NO NETWORK CARD"));
        let alone = sees(r#"{"name":"a","state":"alive"}"#, "").lines(Medium::Line);
        assert!(alone[5].contains("nobody else"), "{alone:?}");
    }

    #[test]
    fn a_node_without_a_key_says_what_to_do_and_asks() {
        let mut view = view(Agent::Absent("not started".to_owned()));
        view.cluster = None;
        view.asks_for_key = true;
        let lines = view.lines(Medium::Screen);
        assert!(lines[1].contains("limosa.key="));
        assert!(lines.last().unwrap().starts_with("Type the cluster key"));
    }

    #[test]
    fn an_open_cluster_is_loud() {
        let mut view = view(Agent::Silent);
        view.open = true;
        assert!(view.lines(Medium::Screen)[1].contains("OPEN"));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let member = r#"{"name":"x","state":"alive"}"#;
        let lines = sees(&[member; 20].join(","), "").lines(Medium::Screen);
        assert_eq!(lines.last().map(String::as_str), Some("  and 4 more"));
    }

    #[test]
    fn foreign_names_cannot_steer_the_terminal() {
        let lines = sees(r#"{"name":"\u001b[2Jx","state":"alive"}"#, r#""\u001b[2J""#);
        assert!(!lines.lines(Medium::Screen).concat().contains('\u{1b}'));
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
