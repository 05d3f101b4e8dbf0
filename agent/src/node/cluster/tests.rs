//! Real sockets on the loopback interface: no multicast, nodes meet by seeds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use super::*;
use crate::secure::key::ClusterKey;
use crate::secure::record;
use crate::wire::supervisor::PagesToken;

/// Longest time that anything here may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Lab {
    executor: Rc<LocalExecutor<'static>>,
    directory: PathBuf,
}

/// A port that was free a moment ago for TCP and UDP.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Lab {
    fn run<T>(name: &str, test: impl AsyncFnOnce(&Lab) -> T) -> T {
        let directory =
            std::env::temp_dir().join(format!("limosa-cluster-{name}-{}", std::process::id()));
        let lab = Lab {
            executor: Rc::new(LocalExecutor::new()),
            directory,
        };
        let executor = lab.executor.clone();
        let limited = async {
            let late = async {
                Timer::after(PATIENCE).await;
                panic!("nothing came within {PATIENCE:?}");
            };
            test(&lab).or(late).await
        };
        let result = smol::block_on(executor.run(limited));
        std::fs::remove_dir_all(&lab.directory).unwrap();
        result
    }

    fn config(&self, name: &str, key: &ClusterKey, port: u16, seeds: &[u16]) -> ClusterConfig {
        let run_dir = self.directory.join(format!("{name}-{port}"));
        std::fs::create_dir_all(&run_dir).unwrap();
        ClusterConfig {
            key: key.clone(),
            name: name.into(),
            interfaces: vec!["limosa-none".into()],
            seeds: seeds.iter().map(|&port| local(port)).collect(),
            port,
            run_dir,
        }
    }

    async fn start(&self, config: ClusterConfig) -> Rc<Cluster> {
        Cluster::start(config, &self.executor).await.unwrap()
    }

    /// Two nodes of one cluster that know each other.
    async fn pair(&self) -> (Rc<Cluster>, Rc<Cluster>) {
        let (key, ports) = (ClusterKey::generate().unwrap(), [free_port(), free_port()]);
        let one = self
            .start(self.config("n1", &key, ports[0], &[ports[1]]))
            .await;
        let two = self.start(self.config("n2", &key, ports[1], &[])).await;
        for (cluster, other) in [(&one, &two), (&two, &one)] {
            let event = cluster.events().recv().await.unwrap();
            assert_eq!(event, MemberEvent::Joined(other.this()));
        }
        (one, two)
    }
}

const PURPOSE: Purpose = Purpose::Migration {
    pid: 42,
    balanced: false,
    load_centi: None,
    pages: PagesToken([7; 16]),
};

#[test]
fn two_nodes_see_each_other_and_a_channel_carries_records_both_ways() {
    Lab::run("channel", async |lab| {
        let (one, two) = lab.pair().await;
        let members = one.members();
        let seen: Vec<_> = members
            .iter()
            .map(|m| (m.number, m.name.as_str(), m.state, m.this))
            .collect();
        let alive = MemberState::Alive;
        assert_eq!(seen, [(1, "n1", alive, true), (2, "n2", alive, false)]);
        assert!(
            members
                .iter()
                .all(|m| m.cpus > 0 && m.speed > 0 && m.memory_total_bytes > 0)
        );
        assert_eq!(one.resolve("2").unwrap(), two.this());

        let answering = async {
            let incoming = two.incoming().recv().await.unwrap();
            assert_eq!((&incoming.peer, &incoming.purpose), (&one.this(), &PURPOSE));
            incoming.accept().await.unwrap()
        };
        let connecting = async { one.connect(two.this().id, PURPOSE).await.ok().unwrap() };
        let (ours, theirs) = smol::future::zip(connecting, answering).await;
        assert_eq!((&ours.peer, &theirs.peer), (&two.this(), &one.this()));

        // What a supervisor does with a channel: blocking calls, keys from the hand-over.
        let exchange = smol::unblock(move || {
            let mut ends = [ours, theirs].map(|channel| {
                let (sealer, opener) = record::from_keys(&channel.keys);
                (TcpStream::from(channel.fd), sealer, opener)
            });
            let mut buffer = Vec::new();
            let text = vec![7; 60_000];
            for (from, to) in [(0, 1), (1, 0)] {
                let (stream, sealer, _) = &mut ends[from];
                record::write_record(stream, sealer, &text, &mut buffer).unwrap();
                let (stream, _, opener) = &mut ends[to];
                let got = record::read_record(stream, opener, &mut buffer).unwrap();
                assert_eq!(got, text);
            }
        });
        exchange.await;
    });
}

#[test]
fn a_node_tells_another_what_it_can_do() {
    Lab::run("capabilities", async |lab| {
        let (one, two) = lab.pair().await;
        let capabilities = Capabilities::probe();
        let telling = async {
            let incoming = two.incoming().recv().await.unwrap();
            assert_eq!(incoming.purpose, Purpose::Capabilities);
            incoming.tell(&capabilities).await.unwrap();
        };
        let asking = one.capabilities(two.this().id);
        let (told, ()) = smol::future::zip(asking, telling).await;
        assert_eq!(told.unwrap(), capabilities);

        let refusing = async {
            let incoming = two.incoming().recv().await.unwrap();
            incoming.refuse("it is stopping".into()).await;
        };
        let asking = one.capabilities(two.this().id);
        let (told, ()) = smol::future::zip(asking, refusing).await;
        let refused = ConnectError::Refused {
            node: two.this(),
            reason: "it is stopping".into(),
        };
        assert_eq!(told, Err(refused));
    });
}

#[test]
fn a_node_tells_another_what_its_clock_shows_when_it_is_asked() {
    Lab::run("time", async |lab| {
        let (one, two) = lab.pair().await;
        for (unix_ms, is_set) in [(7, true), (8, false)] {
            let reading = ClockReading { unix_ms, is_set };
            let telling = async {
                let incoming = two.incoming().recv().await.unwrap();
                assert_eq!(incoming.purpose, Purpose::Time);
                incoming.tell_time(|| reading).await.unwrap();
            };
            let asking = one.time(two.this().id);
            let (told, ()) = smol::future::zip(asking, telling).await;
            assert_eq!(told, Ok(reading));
        }
    });
}

#[test]
fn a_refusal_reaches_the_connecting_side_in_words() {
    Lab::run("refusal", async |lab| {
        let (one, two) = lab.pair().await;
        let refusing = async {
            two.incoming()
                .recv()
                .await
                .unwrap()
                .refuse("it is full".into())
                .await;
        };
        let connecting = one.connect(two.this().id, PURPOSE);
        let (result, ()) = smol::future::zip(connecting, refusing).await;
        let refused = ConnectError::Refused {
            node: two.this(),
            reason: "it is full".into(),
        };
        assert_eq!(result.err(), Some(refused));
    });
}

#[test]
fn who_is_turned_away_hears_the_load_of_the_node_at_its_door() {
    Lab::run("full", async |lab| {
        let (one, two) = lab.pair().await;
        let load = LoadVector {
            cpus: 2,
            speed: 10_000,
            load_centi: 700,
            memory_mib: 64,
            ..LoadVector::default()
        };
        let refusing = async {
            let incoming = two.incoming().recv().await.unwrap();
            incoming.turn_away("others are here".into(), load).await;
        };
        let connecting = one.connect(two.this().id, PURPOSE);
        let (result, ()) = smol::future::zip(connecting, refusing).await;
        let full = ConnectError::Full {
            node: two.this(),
            reason: "others are here".into(),
            load,
        };
        assert_eq!(result.err(), Some(full));
        one.hear_load(two.this().id, load);
        let heard = |there: &Neighbour| there.vector == load;
        assert!(one.vectors().iter().any(heard));
    });
}

#[test]
fn silent_strangers_do_not_keep_a_node_from_connecting() {
    Lab::run("strangers", async |lab| {
        let (one, two) = lab.pair().await;
        let address = one.members().iter().find(|m| !m.this).unwrap().addresses[0];
        let silent: Vec<TcpStream> = (0..2 * crate::limits::HANDSHAKES_PENDING_MAX)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let answering = async { two.incoming().recv().await.unwrap().accept().await.is_ok() };
        let connecting = async { one.connect(two.this().id, PURPOSE).await.is_ok() };
        assert_eq!(smol::future::zip(connecting, answering).await, (true, true));
        drop(silent);
    });
}

#[test]
fn what_is_not_an_agent_is_refused_counted_and_remembered() {
    Lab::run("browser", async |lab| {
        let (one, two) = lab.pair().await;
        let address = one.members().iter().find(|m| !m.this).unwrap().addresses[0];
        let browsing = smol::unblock(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            // Closed with our bytes unread, which TCP may report as a reset.
            let _ = stream.read_to_end(&mut answer);
            answer
        });
        assert_eq!(browsing.await, b"");
        assert_eq!(two.counters().handshakes_failed, 1);
        assert!(
            two.refusals()[0].contains("not a Limosa agent"),
            "{:?}",
            two.refusals()
        );
    });
}

#[test]
fn a_node_with_another_key_is_refused_on_both_sides() {
    Lab::run("key", async |lab| {
        let ports = [free_port(), free_port()];
        let (key, other) = (
            ClusterKey::generate().unwrap(),
            ClusterKey::generate().unwrap(),
        );
        let one = lab
            .start(lab.config("n1", &key, ports[0], &[ports[1]]))
            .await;
        let two = lab.start(lab.config("n2", &other, ports[1], &[])).await;
        while one.refusals().is_empty() || two.refusals().is_empty() {
            smol::future::yield_now().await;
        }
        let says = |cluster: &Cluster, name: &str| {
            cluster.refusals()[0].starts_with(&format!("node {name} at 127.0.0.1:"))
        };
        assert!(says(&one, "n2") && says(&two, "n1"));
        assert_eq!((one.members().len(), two.members().len()), (1, 1));
    });
}

#[test]
fn a_node_that_leaves_is_reported_as_left() {
    Lab::run("leave", async |lab| {
        let (one, two) = lab.pair().await;
        two.leave().await;
        assert_eq!(
            one.events().recv().await.unwrap(),
            MemberEvent::Left(two.this())
        );
        let result = one.connect(two.this().id, PURPOSE).await;
        assert_eq!(result.err(), Some(ConnectError::Gone(two.this())));
    });
}

#[test]
fn a_taken_port_is_named() {
    Lab::run("port", async |lab| {
        let key = ClusterKey::open();
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let result = Cluster::start(lab.config("n1", &key, port, &[]), &lab.executor).await;
        let Err(StartError::PortTaken {
            port: named,
            transport: "TCP",
        }) = result
        else {
            panic!("started on a taken port");
        };
        assert_eq!(named, port);
    });
}
