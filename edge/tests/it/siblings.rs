//! Several nodes of one PoP: each resource is asked for beyond it by the node that owns it.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use tidegate_contract::{
    id::{PropertyId, StreamId},
    property::{Hedge, Upstream},
    purge::{PurgeOrder, PurgeTarget},
};
use tidegate_edge::{cache::key::Key, upstream::Home};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::harness::{FakeOrigin, Gate, PROTOCOLS, TestEdge, eventually, origin::Reply, reply};

/// The address under which a node's siblings know it, before it runs; what comes there is passed on to the node.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

/// A node and its open door.
struct Node {
    edge: TestEdge,
    passing: JoinHandle<()>,
}

impl Door {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    fn open(self, to: SocketAddr) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = self.listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        })
    }
}

impl Node {
    /// A node of a PoP with these siblings, which waits for them as long as a story may last.
    async fn start(origin: &FakeOrigin, own: &str, siblings: &[SocketAddr], door: Door) -> Self {
        let nodes = siblings.iter().map(SocketAddr::to_string);
        let nodes = nodes.map(|authority| Upstream { authority, tls: None, host: None }).collect();
        let edge = TestEdge::before(origin)
            .pop("fra")
            .controlled()
            .config(|config| {
                let siblings = &mut config.upstream.siblings;
                siblings.own = Some(own.to_owned());
                siblings.nodes = nodes;
                siblings.connect_timeout = LONG;
                siblings.first_byte_timeout = LONG;
                config.cache.collapse_wait_max = LONG;
            })
            .start()
            .await;
        edge.handles.lease.heartbeat(edge.clock.now());
        // A slow machine is not to be taken for a slow sibling.
        edge.change(|property| property.upstream.hedge = Hedge::Off);
        let passing = door.open(edge.client.http);
        Self { edge, passing }
    }

    fn home(&self, path: &str) -> Home {
        let key = Key::of(&PropertyId::parse("demo").unwrap(), "localhost", path);
        self.edge.handles.upstreams.home(&key).unwrap()
    }

    /// A path that this node owns, or does not.
    fn path(&self, is_owned: bool) -> String {
        let mut paths = (0..).map(|n| format!("/owned-{n}"));
        paths.find(|path| (self.home(path) == Home::Here) == is_owned).unwrap()
    }

    fn asked_siblings(&self) -> f64 {
        self.edge.metric("edge_upstream_requests_total", &["sibling"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pop(origin: &FakeOrigin, count: usize) -> Vec<Node> {
    let doors = join_all((0..count).map(|_| Door::new())).await;
    let addresses: Vec<_> = doors.iter().map(|door| door.address).collect();
    let mut nodes = Vec::new();
    for door in doors {
        let own = door.address.to_string();
        nodes.push(Node::start(origin, &own, &addresses, door).await);
    }
    nodes
}

fn keyed(body: &str) -> Reply {
    reply(200).cache_control("max-age=60").header("surrogate-key", "video-1").body(body)
}

fn apply(node: &Node, offset: u64) {
    let order =
        PurgeOrder { target: PurgeTarget::Key { key: "video-1".parse().unwrap() }, soft: false };
    node.edge.handles.purges.apply(&order);
    node.edge.handles.lease.set_applied(&StreamId::parse("main").unwrap(), offset);
}

#[tokio::test]
async fn every_resource_is_fetched_once_by_the_whole_pop() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 3).await;
    let paths: Vec<_> = (0..12).map(|n| format!("/{n}")).collect();
    for (n, path) in paths.iter().enumerate() {
        origin.on(path, keyed(path));
        for node in &nodes {
            // How long siblings took is forgotten, so that no hiccup of the machine makes one look slow.
            node.edge.advance(11);
            node.edge.handles.lease.heartbeat(node.edge.clock.now());
        }
        if n % 2 == 0 {
            join_all(nodes.iter().map(|node| node.edge.get(path))).await
        } else {
            vec![nodes[n % 3].edge.get_by(PROTOCOLS[n % 3], path).await]
        }
        .into_iter()
        .for_each(|answer| _ = answer.expect_status(200).expect_body(path));
        for node in &nodes {
            node.edge.get(path).await.expect_body(path);
        }
        assert_eq!(origin.count(path), 1, "{path}");
        assert_eq!(nodes.iter().filter(|node| node.home(path) == Home::Here).count(), 1);
        assert_eq!(origin.last(path).header("tidegate-tier"), None);
    }
    let asked: f64 = nodes.iter().map(Node::asked_siblings).sum();
    assert_eq!(asked, 2.0 * paths.len() as f64, "whoever does not own asks once");
}

#[tokio::test]
async fn all_who_wait_in_a_pop_wait_for_one_request() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 2).await;
    let (path, gate) = (nodes[0].path(false), Gate::closed());
    origin.on(&path, keyed("x").held(&gate));
    let clients = nodes.iter().flat_map(|node| (0..3).map(|_| node.edge.get(&path)));
    let telling = async {
        eventually("the owner is asked", || nodes[0].asked_siblings() == 1.0).await;
        eventually("the origin is asked", || origin.count(&path) == 1).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(clients), telling);
    answers.into_iter().for_each(|answer| _ = answer.expect_status(200).expect_body("x"));
    assert_eq!((origin.count(&path), nodes[0].asked_siblings()), (1, 1.0));
}

#[tokio::test]
async fn cache_status_shows_the_owner_first_and_the_asking_node_keeps_a_copy() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 2).await;
    let path = nodes[0].path(false);
    origin.on(&path, keyed("x"));
    let members = |answer: &crate::harness::Answer| {
        let values = answer.headers.get_all("cache-status").iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    nodes[1].edge.get(&path).await.expect_cache("fwd=uri-miss stored");
    let answer = nodes[0].edge.get(&path).await.expect_cache("fwd=uri-miss stored");
    let told = members(&answer);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("tidegate-fra; hit"), "{told:?}");
    assert_eq!(answer.headers.get("surrogate-key"), None);
    nodes[0].edge.get(&path).await.expect_cache("hit");
    assert_eq!((origin.count(&path), nodes[0].asked_siblings()), (1, 1.0));
}

#[tokio::test]
async fn slices_come_through_the_owner_too() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 2).await;
    let path = nodes[0].path(false);
    let body = crate::harness::noise(3 * 1024 * 1024);
    origin.on(&path, keyed("").etag("\"1\"").body(body.clone()).ranged());
    for node in nodes.iter().rev() {
        let ask = crate::harness::client::Ask::get(&path).header("range", "bytes=1500000-2500000");
        let answer = node.edge.ask(PROTOCOLS[0], &ask).await.expect_status(206);
        assert!(answer.whole_body()[..] == body[1_500_000..=2_500_000]);
    }
    assert_eq!(origin.count(&path), 2, "each slice once");
}

#[tokio::test]
async fn when_a_sibling_is_gone_the_origin_is_asked_and_nobody_notices() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 2).await;
    nodes[1].passing.abort();
    eventually("its door is shut", || nodes[1].passing.is_finished()).await;
    let is_others = |path: &String| nodes[0].home(path) != Home::Here;
    let paths: Vec<_> = (0..).map(|n| format!("/{n}")).filter(is_others).take(5).collect();
    for (n, path) in paths.iter().enumerate() {
        origin.on(path, keyed(path));
        let answer = nodes[0].edge.get_by(PROTOCOLS[n % 3], path).await;
        answer.expect_status(200).expect_body(path);
        assert_eq!(origin.count(path), 1);
    }
    assert_eq!(nodes[0].asked_siblings(), 3.0, "after three failures it is left alone");
    assert_eq!(nodes[0].home(&paths[4]), Home::Here);
}

#[tokio::test]
async fn a_sibling_that_does_not_answer_in_time_or_only_with_errors_is_passed_over() {
    let origin = FakeOrigin::start().await;
    let sibling = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin)
        .controlled()
        .config(|config| {
            let upstream =
                Upstream { authority: sibling.address.to_string(), tls: None, host: None };
            config.upstream.siblings.own = Some("127.0.0.1:1".to_owned());
            config.upstream.siblings.nodes = vec![upstream];
            config.upstream.siblings.connect_timeout = LONG;
            config.upstream.siblings.first_byte_timeout = Duration::from_millis(50);
            // A slow machine is not to be taken for a dead sibling.
            config.upstream.failures_max = 100;
            // All that may be asked beyond the PoP, and nothing may be repeated there.
            config.upstream.attempts_max = 1;
            config.upstream.retry_percent = 0;
        })
        .start()
        .await;
    let key = |path: &str| Key::of(&PropertyId::parse("demo").unwrap(), "localhost", path);
    let is_others = |path: &String| edge.handles.upstreams.home(&key(path)) != Some(Home::Here);
    let paths: Vec<_> = (0..).map(|n| format!("/{n}")).filter(is_others).take(5).collect();
    let answers = [
        reply(200).body("no").held(&Gate::closed()),
        reply(502).body("no"),
        reply(503).body("no"),
        reply(421).body("no"),
        reply(508).body("no"),
    ];
    for (path, answer) in paths.iter().zip(answers) {
        origin.on(path, keyed("x"));
        sibling.on(path, answer);
        edge.get(path).await.expect_status(200).expect_body("x");
        assert_eq!(origin.count(path), 1, "{path}");
        eventually("the sibling was asked first", || sibling.count(path) == 1).await;
        assert!(sibling.last(path).header("tidegate-tier").is_some());
    }
}

#[tokio::test]
async fn what_a_sibling_breaks_off_goes_on_from_the_origin() {
    let origin = FakeOrigin::start().await;
    let sibling = FakeOrigin::start().await;
    let node = Node::start(&origin, "127.0.0.1:1", &[sibling.address], Door::new().await).await;
    let (path, body) = (node.path(false), crate::harness::noise(100_000));
    let whole = keyed("").etag("\"1\"").body(body.clone());
    origin.on(&path, whole.clone().ranged());
    sibling.on(&path, whole.breaking_off_after(50_000));
    node.edge.get(&path).await.expect_status(200).expect_body(body);
    assert_eq!((sibling.count(&path), origin.count(&path)), (1, 1));
    assert!(origin.last(&path).header("range").is_some());
}

#[tokio::test]
async fn two_nodes_that_each_take_the_other_for_the_owner_do_not_wait_for_each_other() {
    let origin = FakeOrigin::start().await;
    let (one, other) = (Door::new().await, Door::new().await);
    let (to_one, to_other) = (one.address, other.address);
    // Neither knows itself by the name that the other has for it.
    let one = Node::start(&origin, "one.example:1", &[to_other], one).await;
    let other = Node::start(&origin, "other.example:1", &[to_one], other).await;
    let is_disputed =
        |path: &String| [&one, &other].iter().all(|node| node.home(path) != Home::Here);
    let mut paths = (0..).map(|n| format!("/{n}")).filter(is_disputed);

    let path = paths.next().unwrap();
    origin.on(&path, keyed("x"));
    one.edge.get(&path).await.expect_status(200).expect_body("x");
    assert_eq!((origin.count(&path), other.asked_siblings()), (1, 0.0));

    let (path, gate) = (paths.next().unwrap(), Gate::closed());
    origin.on(&path, keyed("x").held(&gate));
    let telling = async {
        eventually("both ask for the other", || origin.count(&path) == 2).await;
        gate.open();
    };
    let (first, second, ()) = tokio::join!(one.edge.get(&path), other.edge.get(&path), telling);
    for answer in [first, second] {
        answer.expect_status(200).expect_body("x");
    }
    assert_eq!(origin.count(&path), 2);
}

#[tokio::test]
async fn a_node_never_gets_from_its_sibling_what_it_has_purged_itself() {
    let origin = FakeOrigin::start().await;
    let nodes = pop(&origin, 2).await;
    let path = nodes[0].path(false);
    origin.on(&path, keyed("old"));
    nodes[0].edge.get(&path).await.expect_body("old");
    origin.on(&path, keyed("new"));
    apply(&nodes[0], 1);
    // The owner does not know of the purge, and will not in time: it passes the request on.
    nodes[0].edge.get(&path).await.expect_body("new");
    nodes[0].edge.get(&path).await.expect_cache("hit").expect_body("new");
    nodes[1].edge.get(&path).await.expect_body("old");
    apply(&nodes[1], 1);
    nodes[1].edge.get(&path).await.expect_body("new");
    assert_eq!(nodes[0].asked_siblings(), 2.0);
}

/// Longer than a story takes on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(60);
