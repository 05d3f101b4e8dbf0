//! What the console shows: who this node is and whom it sees, as text (pure).

use serde::Deserialize;

/// Most members that are listed; the rest is counted.
const MEMBERS_MAX: usize = 16;
/// Longest value of a member's field that is shown, in characters.
const FIELD_CHARACTERS_MAX: usize = 40;

/// Longest reason that is shown, in characters.
const REASON_CHARACTERS_MAX: usize = 300;

/// One element of the answer of `limosa nodes --json`; what the console does not show is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Member {
    name: String,
    state: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    guests: u64,
    #[serde(default)]
    this: bool,
}

/// What the agent is up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agent {
    /// It does not run, for this reason.
    Absent(String),
    /// It runs but did not answer yet.
    Silent,
    /// Its list of members.
    Members(Vec<Member>),
}

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The node's name, once it has one.
    pub(crate) name: Option<String>,
    /// The public part of the cluster key.
    pub(crate) cluster: Option<String>,
    /// Whether anybody may join.
    pub(crate) open: bool,
    /// Each interface with its addresses.
    pub(crate) links: Vec<(String, Vec<String>)>,
    /// The agent's state.
    pub(crate) agent: Agent,
}

impl View {
    /// The lines to show.
    pub(crate) fn lines(&self) -> Vec<String> {
        let name = self.name.as_deref().unwrap_or("(no name yet)");
        let mut lines = vec![format!(
            "Limosa {}   node {name}",
            env!("CARGO_PKG_VERSION")
        )];
        lines.push(match (&self.cluster, self.open) {
            (_, true) => "OPEN CLUSTER: whoever reaches this node may use it".to_owned(),
            (Some(cluster), _) => format!("cluster {}", plain(cluster)),
            (None, _) => "no cluster key: boot with limosa.key=KEY to join a cluster".to_owned(),
        });
        if self.links.is_empty() {
            lines.push("no network interface found; is there a driver for it?".to_owned());
        }
        for (interface, addresses) in &self.links {
            let addresses = if addresses.is_empty() {
                "no address".to_owned()
            } else {
                addresses.join("  ")
            };
            lines.push(format!("{interface}  {addresses}"));
        }
        lines.push(String::new());
        match &self.agent {
            Agent::Absent(reason) => {
                lines.push(format!("agent: {}", clean(reason, REASON_CHARACTERS_MAX)));
            }
            Agent::Silent => lines.push("agent: starting".to_owned()),
            Agent::Members(members) => lines.extend(member_lines(members)),
        }
        lines
    }
}

fn member_lines(members: &[Member]) -> Vec<String> {
    let alive = members
        .iter()
        .filter(|member| member.state == "alive")
        .count();
    let mut lines = vec![format!("{alive} of {} nodes alive", members.len())];
    let width = members
        .iter()
        .map(|member| plain(&member.name).chars().count())
        .max()
        .unwrap_or(0);
    for member in members.iter().take(MEMBERS_MAX) {
        let address = member
            .addresses
            .first()
            .map(|address| plain(address))
            .unwrap_or_default();
        let guests = match member.guests {
            0 => String::new(),
            1 => "  1 guest".to_owned(),
            count => format!("  {count} guests"),
        };
        let this = if member.this { "  (this node)" } else { "" };
        let (name, state) = (plain(&member.name), plain(&member.state));
        lines.push(
            format!("  {name:width$}  {state:8}  {address}{guests}{this}")
                .trim_end()
                .to_owned(),
        );
    }
    if let Some(more @ 1..) = members.len().checked_sub(MEMBERS_MAX) {
        lines.push(format!("  and {more} more"));
    }
    lines
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
            links: vec![("eth0".to_owned(), vec!["fe80::1".to_owned()])],
            agent,
        }
    }

    #[test]
    fn a_node_among_others_shows_itself_and_them() {
        let answer = r#"[{"number":1,"name":"a","state":"alive","addresses":["10.0.0.1"],"this":true,"load":0.5},
            {"number":2,"name":"long","state":"lost","addresses":[],"guests":2,"this":false}]"#;
        let members = serde_json::from_str(answer).expect("valid");
        let lines = view(Agent::Members(members)).lines();
        assert!(lines[0].ends_with("node limosa-3fa2"));
        assert_eq!(lines[1], "cluster k3j9");
        assert_eq!(lines[2], "eth0  fe80::1");
        assert_eq!(lines[4], "1 of 2 nodes alive");
        assert_eq!(lines[5], "  a     alive     10.0.0.1  (this node)");
        assert_eq!(lines[6], "  long  lost        2 guests");
    }

    #[test]
    fn a_node_without_a_key_says_what_to_do() {
        let mut view = view(Agent::Absent("not started".to_owned()));
        view.cluster = None;
        assert!(view.lines()[1].contains("limosa.key="));
    }

    #[test]
    fn an_open_cluster_is_loud() {
        let mut view = view(Agent::Silent);
        view.open = true;
        assert!(view.lines()[1].contains("OPEN"));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let member = r#"{"name":"x","state":"alive"}"#;
        let members =
            serde_json::from_str(&format!("[{}]", [member; 20].join(","))).expect("valid");
        let lines = view(Agent::Members(members)).lines();
        assert_eq!(lines.last().map(String::as_str), Some("  and 4 more"));
    }

    #[test]
    fn foreign_names_cannot_steer_the_terminal() {
        let members =
            serde_json::from_str(r#"[{"name":"\u001b[2Jx","state":"alive"}]"#).expect("valid");
        assert!(
            !view(Agent::Members(members))
                .lines()
                .concat()
                .contains('\u{1b}')
        );
    }
}
