//! Ten PoPs with real speakers lose their control plane in the middle of a change.
//!
//! Invariant: what was announced stays announced, permits that have ended included.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    anycast::Level,
    id::PrefixId,
    telemetry::{LevelOrder, Orders},
};
use tidegate_edge::{
    anycast::{
        Config, Levels, Speaker, Standing,
        bird::{self, Bird},
    },
    control,
};
use tokio::sync::watch;

use super::{
    fake::{FakeControl, TOKEN, within},
    node::TestNode,
};

struct Pop {
    _state: tempfile::TempDir,
    _node: TestNode,
    bird: Child,
    speaker: Arc<Bird>,
    standing: watch::Receiver<Standing>,
    drain: Drain,
}

/// Tells the story, or ends the lab.
pub(crate) async fn pops_that_lose_their_control_plane_withdraw_nothing() {
    let control = FakeControl::start().await;
    let mut pops = Vec::new();
    let mut lanes = Vec::new();
    for number in 0..POPS {
        pops.push(Pop::start(&control, number));
        // The others renew theirs meanwhile.
        while control.identity_given().await != "enrol" {}
        lanes.push(control.telemetry_lane().await);
    }
    // Half of them were told to announce less, with permits that end in a moment; the others were told nothing.
    let prefix = PrefixId::parse("lab").unwrap();
    let soon = SystemTime::now() + Duration::from_secs(20);
    let expires_unix_ms = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    for lane in lanes.iter().step_by(2) {
        let order = LevelOrder { level: Level::Prepend(2), epoch: 3, expires_unix_ms };
        let levels = [(prefix.clone(), order)].into();
        lane.order(&Orders { levels, ..Orders::default() }.to_bytes()).await;
    }
    // The lanes belong to five nodes each way: which of them got the order is seen at the speakers.
    let announced = async |level: Level| {
        let mut count = 0;
        for pop in &pops {
            let state = pop.speaker.state().await.unwrap();
            assert!(!state.is_gate_closed);
            count += usize::from(state.levels[&prefix] == level);
        }
        count
    };
    within(async {
        while announced(Level::Prepend(2)).await < POPS / 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    drop(lanes);
    control.vanish();
    for pop in &pops {
        let mut standing = pop.standing.clone();
        for _ in 0..ROUNDS {
            within(standing.changed()).await.unwrap();
        }
    }
    assert_eq!(announced(Level::Prepend(2)).await, POPS / 2);
    assert_eq!(announced(Level::Normal).await, POPS / 2);
    assert_eq!(announced(Level::Withdrawn).await, 0);
    // One file is read anew, which sets every protocol to what the file says: the node puts back what it was told.
    let mut prepended = None;
    for pop in &pops {
        if pop.speaker.state().await.unwrap().levels[&prefix] == Level::Prepend(2) {
            prepended = Some(pop);
        }
    }
    let pop = prepended.unwrap();
    pop.speaker.guard(Duration::from_secs(60)).await.unwrap();
    pop.speaker.confirm().await.unwrap();
    let mut standing = pop.standing.clone();
    for _ in 0..ROUNDS {
        within(standing.changed()).await.unwrap();
    }
    assert_eq!(announced(Level::Prepend(2)).await, POPS / 2);
    println!("ten PoPs lost their control plane: 0 withdrawals");
}

impl Pop {
    fn start(control: &FakeControl, number: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let at = state.path();
        let text = format!(
            "socket = \"{}/bird.ctl\"\nlocal_as = 65001\nrouter_id = \"10.0.0.{}\"\nbfd = {{ is_on = false }}\n\
             prefixes = [{{ id = \"lab\", block = \"192.0.2.0/24\" }}]\n",
            at.display(),
            number + 1,
        );
        let config: Config = toml::from_str(&text).unwrap();
        fs::write(at.join("bird.conf"), bird::write(&config)).unwrap();
        let bird = Command::new("bird")
            .args(["-f", "-c"])
            .arg(at.join("bird.conf"))
            .arg("-s")
            .arg(at.join("bird.ctl"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        fs::write(at.join("token"), TOKEN).unwrap();
        let settings = control::Config {
            endpoints: vec![format!("https://localhost:{}", control.address.port())],
            ca: control.write_ca(at),
            state_dir: at.join("state"),
            enrolment_token_file: Some(at.join("token")),
            ..control::Config::default()
        };
        let node = TestNode::try_start(&settings).unwrap();
        let speaker = Arc::new(Bird::new(&config));
        let (stood, standing) = watch::channel(Standing::default());
        let drain = Drain::new();
        let levels = Levels::new(speaker.clone(), Clock::system());
        tokio::spawn(levels.run(node.orders.subscribe(), stood, drain.clone()));
        Self { _state: state, _node: node, bird, speaker, standing, drain }
    }
}

impl Drop for Pop {
    fn drop(&mut self) {
        self.drain.begin();
        let _ = self.bird.kill();
        let _ = self.bird.wait();
    }
}

const POPS: usize = 10;
/// Seconds without anybody.
const ROUNDS: usize = 3;
