//! The map of now: what is heard of the fleet, what this node sees itself, and the world that comes of it.
//!
//! ```text
//!  control plane ──▶ feed ──┐                      ┌──▶ world::Worlds ──▶ DNS, steering
//!  files of fleet, places ──┼──▶ inbox ──▶ rounds ─┤
//!  own eyes: probe ─────────┘                      └──▶ state ──▶ explanations, the map as a table, differences
//! ```
//!
//! Every node makes the same map from the same feed, so there is no leader to lose. Invariant: nothing here is waited for
//! by whoever answers a client; without anything to be heard the last map goes on being served.

mod feed; // what the control plane tells
mod questions; // what operators ask through it
mod own_load; // what the own PoP carries
mod rounds; // one map after the other
pub mod still; // a world of files alone
mod files; // the fleet and places out of files that change
mod state; // what the rounds know, for those who ask
mod history; // the maps of the last half hour
mod kept; // what a start without a control plane begins with
mod ingest; // round trips and demand by unit
mod catchment; // from where clients reach which PoP
mod trust; // how far a map can be trusted
mod probe; // this node's own eyes
mod inbox; // what the rounds have not heard yet
mod seen; // what looks at PoPs mean
mod told; // the fleet as it is told, in the words of the map
mod metrics; // numbers
pub mod config; // what can be set

use std::{path::Path, sync::Arc, thread};

use anyhow::{Context, ensure};
use reqwest::Url;
use tidegate_chassis::{Clock, Process};
use tidegate_contract::geo_feed::FleetView;
use tokio::sync::{oneshot, watch};

pub use self::{
    catchment::{CatchmentView, NetworkView, PopCatchment},
    history::{Difference, Flow},
    questions::{Above, Answers, Resolve, Resolved, Roll, Signing, Steer, Zones},
    state::{LiveExplanation, MapView, PopLine, State},
};
use self::{
    config::{ControlConfig, FleetConfig, OwnConfig, PlacesConfig, ProbeConfig},
    feed::{Follower, Shared},
    files::Stamps,
    inbox::Inbox,
    kept::Kept,
    metrics::Metrics,
    probe::Prober,
    rounds::{Beginning, Rounds},
    told::Watched,
};
use crate::world::Worlds;

/// What it is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sections<'a> {
    /// `[control]`
    pub control: &'a ControlConfig,
    /// `[fleet]`
    pub fleet: &'a FleetConfig,
    /// `[places]`
    pub places: &'a PlacesConfig,
    /// `[own]`
    pub own: &'a OwnConfig,
    /// `[probe]`
    pub probe: &'a ProbeConfig,
}

/// The map of now. It begins when it is opened and goes on once it is started.
pub struct Live {
    rounds: Rounds,
    inbox: Arc<Inbox>,
    metrics: Metrics,
    clock: Clock,
    state: Arc<State>,
    views: Arc<watch::Sender<Arc<FleetView>>>,
    /// The files as they were before they were read: places, fleet.
    files: (Stamps, Stamps),
}

/// The hold on the map of this node.
#[derive(Clone)]
pub struct Hold(Arc<Inbox>);

impl Sections<'_> {
    /// Whether the values make sense together.
    ///
    /// # Errors
    /// What does not, with its key.
    pub fn check(&self) -> anyhow::Result<()> {
        self.control.check()?;
        self.places.check()?;
        self.own.check()?;
        self.probe.check()?;
        ensure!(
            self.fleet.file.is_none() || self.control.urls.is_empty(),
            "fleet.file and control.urls both say what the fleet is; one of them is too much"
        );
        Ok(())
    }
}

impl Live {
    /// Reads the files and makes the first world. It takes as long as a file of places takes to be read.
    ///
    /// # Errors
    /// When a file cannot be read or is wrong.
    pub fn open(sections: Sections<'_>, process: &Process, clock: Clock) -> anyhow::Result<Self> {
        sections.check()?;
        let Sections { control, fleet, places, own, .. } = sections;
        let metrics = Metrics::register(process.registry());
        let inbox = Inbox::new(metrics.clone());
        let kept = control.data.as_deref().map(|folder| {
            let named = || format!("control.data {}", folder.display());
            Kept::open(folder).with_context(named)
        });
        let of_places = places.places.iter().chain(&places.networks);
        let files = (Stamps::of(of_places), Stamps::of(&fleet.file));
        let fleet = fleet.file.as_deref().map(files::fleet).transpose()?;
        let beginning = Beginning {
            own: own.pop.clone(),
            alone_after: own.alone_after,
            home: places.home()?,
            has_control: !control.urls.is_empty(),
            units: Arc::new(files::places(places)?),
            fleet,
            kept: kept.transpose()?,
        };
        let rounds = Rounds::begin(beginning, Arc::clone(&inbox), clock.clone(), metrics.clone());
        let state = Arc::clone(rounds.state());
        let views = Arc::new(watch::Sender::new(rounds.view().cloned().unwrap_or_default()));
        Ok(Self { rounds, inbox, metrics, clock, state, views, files })
    }

    /// What answers are made from.
    #[must_use]
    pub fn worlds(&self) -> &Arc<Worlds> {
        self.state.worlds()
    }

    /// What is known, for those who ask.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The fleet as it is told, with its zones and steering policies; empty until something was told or kept.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<FleetView>> {
        self.views.subscribe()
    }

    /// The hold on the map of this node.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold(Arc::clone(&self.inbox))
    }

    /// Follows everything until the process drains. `above` answers what operators ask of what is not the map.
    ///
    /// # Errors
    /// When something in the configuration cannot be used.
    pub fn start(
        self,
        sections: Sections<'_>,
        process: &Process,
        above: Above,
    ) -> anyhow::Result<Answers> {
        let Self { rounds, inbox, metrics, clock, state, views, files } = self;
        let (of_places, of_fleet) = files;
        let drain = process.drain();
        let answers = Answers::new(Arc::clone(&state), clock.clone(), above);
        let targets = watch::Sender::new(match rounds.view() {
            Some(view) => told::watched(view, sections.probe),
            None => told::watched_in(rounds.told(), sections.probe),
        });
        let targets = Arc::new(targets);
        if sections.probe.enabled {
            let config = sections.probe.clone();
            let prober = Prober::new(config, Arc::clone(&inbox), metrics.clone())?;
            let (looking, drain) = (prober.run(targets.subscribe(), drain.clone()), drain.clone());
            process.spawn("probe", async move {
                looking.await;
                drain.started().await;
                Ok(())
            });
        }
        follow_places(sections, of_places, process, &inbox, &metrics);
        match sections.fleet.file.clone() {
            Some(path) => {
                let (config, targets) = (sections.probe.clone(), Arc::clone(&targets));
                let told = move |fleet: &crate::fleet::Fleet| {
                    targets.send_replace(told::watched_in(fleet, &config));
                };
                let following = files::follow_fleet(
                    path,
                    of_fleet,
                    Arc::clone(&inbox),
                    metrics.clone(),
                    drain.clone(),
                    told,
                );
                process.spawn("fleet", async move {
                    following.await;
                    Ok(())
                });
            }
            None => follow_views(sections.probe.clone(), process, views.subscribe(), targets),
        }
        follow_load(sections.own, process, &state, &inbox)?;
        let (replicas, held) = (Arc::default(), Arc::clone(&views));
        let shared = Shared {
            inbox: Arc::clone(&inbox),
            metrics,
            clock,
            replicas,
            views,
            answers: answers.clone(),
        };
        follow_control(sections.control, sections.own, process, &shared)?;
        make_rounds(rounds, process, inbox, held)?;
        Ok(answers)
    }
}

impl Hold {
    /// Holds the map as it is; PoPs that die are still left out.
    pub fn freeze(&self, reason: String) {
        self.0.tell(|news| news.hold = Some(Some(reason)));
    }

    /// Lets it go. A hold of the control plane stays.
    pub fn thaw(&self) {
        self.0.tell(|news| news.hold = Some(None));
    }
}

/// Runs the rounds on a thread of their own, for which no runtime waits. Whoever follows `views` may do so until the end,
/// also where nobody ever tells one.
fn make_rounds(
    rounds: Rounds,
    process: &Process,
    inbox: Arc<Inbox>,
    views: Arc<watch::Sender<Arc<FleetView>>>,
) -> anyhow::Result<()> {
    let drain = process.drain();
    let (sender, mut ended) = oneshot::channel();
    let run = move || {
        rounds.run();
        let _ = sender.send(());
    };
    thread::Builder::new().name("geo-rounds".into()).spawn(run).context("a thread")?;
    process.spawn("rounds", async move {
        let _views = views;
        // When it panics nobody says that it has ended.
        tokio::select! {
            ended = &mut ended => return ended.context("the rounds broke off"),
            () = drain.started() => inbox.tell(|news| news.is_ended = true),
        }
        ended.await.context("the rounds broke off")
    });
    Ok(())
}

fn follow_places(
    sections: Sections<'_>,
    read: Stamps,
    process: &Process,
    inbox: &Arc<Inbox>,
    metrics: &Metrics,
) {
    let (config, inbox) = (sections.places.clone(), Arc::clone(inbox));
    let following = files::follow_places(config, read, inbox, metrics.clone(), process.drain());
    process.spawn("places", async move {
        following.await;
        Ok(())
    });
}

/// Looks at what the newest view names.
fn follow_views(
    config: ProbeConfig,
    process: &Process,
    mut views: watch::Receiver<Arc<FleetView>>,
    targets: Arc<watch::Sender<Vec<Watched>>>,
) {
    let drain = process.drain();
    process.spawn("targets", async move {
        loop {
            tokio::select! {
                () = drain.started() => return Ok(()),
                changed = views.changed() => changed.context("views")?,
            }
            let watched = told::watched(&views.borrow_and_update(), &config);
            targets.send_if_modified(|targets| {
                let is_new = *targets != watched;
                *targets = watched;
                is_new
            });
        }
    });
}

fn follow_load(
    own: &OwnConfig,
    process: &Process,
    state: &Arc<State>,
    inbox: &Arc<Inbox>,
) -> anyhow::Result<()> {
    let Some(pop) = own.pop.clone().filter(|_| !own.load.is_empty()) else { return Ok(()) };
    let urls = own.load.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>()?;
    let (state, inbox, drain) = (Arc::clone(state), Arc::clone(inbox), process.drain());
    process
        .spawn("own-load", own_load::follow(urls, pop, state, inbox, own_load::ASKED_EVERY, drain));
    Ok(())
}

fn follow_control(
    control: &ControlConfig,
    own: &OwnConfig,
    process: &Process,
    shared: &Shared,
) -> anyhow::Result<()> {
    let Some(token_file) = control.token_file.clone().filter(|_| !control.urls.is_empty()) else {
        return Ok(());
    };
    // Said at the start, when somebody looks; later a token that is unusable is only waited for.
    feed::token(&token_file)?;
    let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let pop = own.pop.as_ref().map(|pop| format!("{pop}/")).unwrap_or_default();
    let node = format!("{pop}{}", host.trim());
    for (number, url) in control.urls.iter().enumerate() {
        let files = (token_file.clone(), control.ca_file.clone());
        let url = Url::parse(&format!("{}/", url.trim_end_matches('/')))?;
        let follower = Follower::new(number, url, files, node.clone(), shared.clone());
        let drain = process.drain();
        process.spawn("feed", async move {
            follower.run(drain).await;
            Ok(())
        });
    }
    Ok(())
}
