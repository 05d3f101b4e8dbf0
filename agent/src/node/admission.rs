//! `limosa admit`: who asks to be admitted, and sending the cluster key to who shows the code.
//!
//! Root's alone, as whoever has the key may run programs on all nodes. How it is safe is told in
//! [`crate::admission`].

use std::net::SocketAddr;
use std::rc::Rc;

use super::agent::{Agent, Reply};
use super::cluster::Cluster;
use super::config::parse_seed;
use super::moves::{answer, answer_error};
use crate::admission::code::Code;
use crate::admission::exchange::Admitter;
use crate::admission::operator;
use crate::admission::search::{Asker, NoChoice};
use crate::limits::{ASKER_ADDRESSES_MAX, ASKERS_TRIED_MAX};
use crate::secure::key::ClusterKey;
use crate::sys::peer::Peer;
use crate::wire::control::{AskerRow, ControlError, ControlResponse, ErrorKind};

impl Agent {
    pub(super) fn admit(
        &self,
        code: Option<&str>,
        address: Option<&str>,
        caller: Peer,
        reply: Reply,
    ) {
        let order = self.admit_order(code, address, caller);
        let (code, address) = match order {
            Ok(order) => order,
            Err(error) => return answer_error(&reply, error),
        };
        let cluster = Rc::clone(&self.cluster);
        let key = self.config.key.clone();
        self.executor
            .spawn(async move {
                let response = match code {
                    None => list(&cluster, address).await,
                    Some(code) => admit(&cluster, address, code, &key).await,
                };
                match response {
                    Ok(response) => answer(&reply, response),
                    Err(error) => answer_error(&reply, error),
                }
            })
            .detach();
    }

    fn admit_order(
        &self,
        code: Option<&str>,
        address: Option<&str>,
        caller: Peer,
    ) -> Result<(Option<Code>, Option<SocketAddr>), ControlError> {
        if caller.uid != 0 {
            let text = "only root may admit nodes to the cluster: try sudo";
            return Err(ControlError::refused(text));
        }
        if self.config.key.is_open() {
            let text = "this cluster is open and needs no key: boot the PC with limosa.open";
            return Err(ControlError::refused(text));
        }
        let bad = |text: String| ControlError::new(ErrorKind::BadRequest, text);
        let code = code.map(str::parse::<Code>).transpose();
        let address = address.map(parse_seed).transpose();
        Ok((
            code.map_err(|error| bad(error.to_string()))?,
            address.map_err(bad)?,
        ))
    }
}

async fn list(
    cluster: &Cluster,
    address: Option<SocketAddr>,
) -> Result<ControlResponse, ControlError> {
    let askers = cluster.search(address).await.map_err(failed)?;
    if askers.beyond > 0 {
        log::warn!(
            "so many ask to be admitted that {} answers were left out",
            askers.beyond
        );
    }
    let rows = askers.listed().iter().map(row).collect();
    Ok(ControlResponse::Askers(rows))
}

/// Tries the code on those that ask with its mark, and admits the first that shows it.
async fn admit(
    cluster: &Cluster,
    address: Option<SocketAddr>,
    code: Code,
    key: &ClusterKey,
) -> Result<ControlResponse, ControlError> {
    let askers = cluster.search(address).await.map_err(failed)?;
    let chosen = askers.chosen(code.mark());
    let chosen = chosen.map_err(|error| no_choice(error, code, address))?;
    let admitter = Admitter {
        cluster: key.cluster(),
        name: cluster.this().name,
    };
    let mut tries = 0;
    let mut last = None;
    for asker in chosen.iter().take(ASKER_ADDRESSES_MAX) {
        let error = match operator::admit(asker, code, &admitter, key).await {
            Ok(name) => {
                log::info!("{name} at {} was admitted to the cluster", asker.address);
                let row = AskerRow { name, ..row(asker) };
                return Ok(ControlResponse::Admitted(row));
            }
            Err(error) => error,
        };
        let text = format!("{} at {}: {error}", asker.answer.name, asker.address);
        log::warn!("not admitted: {text}");
        tries += usize::from(error.was_try());
        // That somebody has another code says more than that somebody cannot be reached.
        if error.was_try() || last.is_none() {
            last = Some((text, error.was_try()));
        }
        if tries == ASKERS_TRIED_MAX {
            break;
        }
    }
    Err(match last {
        Some((text, true)) => ControlError::refused(format!(
            "nobody was admitted: {text}; read the code anew, as another one is shown after a wrong one"
        )),
        Some((text, false)) => {
            ControlError::failed(format!("nobody was admitted: {text}; try again"))
        }
        None => no_choice(NoChoice::Nobody, code, address),
    })
}

fn no_choice(error: NoChoice, code: Code, address: Option<SocketAddr>) -> ControlError {
    let mark = code.mark();
    let text = match (error, address) {
        (NoChoice::Nobody, None) => format!(
            "nobody asks whose code begins with {mark:02}: read it anew from the PC's screen (after a wrong code \
             it rests); one on another segment needs --address, with an address that its screen shows"
        ),
        (NoChoice::Nobody, Some(address)) => format!(
            "nobody asks at {address} whose code begins with {mark:02}: read it anew from the PC's screen (after \
             a wrong code it rests)"
        ),
        (NoChoice::TooMany(many), _) => format!(
            "{many} ask whose codes begin with {mark:02}, so somebody may only pretend to: nobody was admitted; \
             type the cluster key at the PC"
        ),
    };
    ControlError::refused(text)
}

fn row(asker: &Asker) -> AskerRow {
    AskerRow {
        name: asker.answer.name.clone(),
        address: asker.address.to_string(),
        mark: format!("{:02}", asker.answer.mark),
    }
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::failed(error.to_string())
}
