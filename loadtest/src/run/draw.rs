//! Who a session is: its protocol, link, videos and seed, drawn from the run's seed and the session's number. Pure.
//!
//! Invariant: a session is the same whichever worker or machine it falls to.

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use url::Url;
use uuid::Uuid;

use super::plan::RunPlan;
use crate::{arrival::Arrival, catalogue::Ranking, kind::Protocol, scenario::Sessions};

/// One session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawn {
    pub(super) protocol: Protocol,
    pub(super) resumes: bool,
    pub(super) is_early: bool,
    pub(super) is_migrating: bool,
    /// Index into the scenario's links.
    pub(super) link: Option<usize>,
    pub(super) videos: Vec<Url>,
    pub(super) seed: u64,
    pub(super) id: Uuid,
}

/// Draws a session. Arrivals must come in the order of their times, for the ranking.
pub(super) fn draw(plan: &RunPlan, arrival: &Arrival, ranking: &mut Ranking) -> Drawn {
    let scenario = &plan.scenario;
    let mut rng = rng_of(scenario.seed, arrival.index);
    let sessions = &scenario.sessions;
    // Drawn in any case, so that one share does not move the others.
    let places: [f64; 5] = std::array::from_fn(|_| rng.random());
    let seed = rng.random();
    let id = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
    let videos = videos(plan, arrival, ranking, &mut rng);
    let is_plain = videos.first().is_some_and(|url| url.scheme() == "http");
    Drawn {
        protocol: protocol(sessions, places[0], is_plain),
        resumes: places[1] < sessions.resumed_share,
        is_early: places[2] < sessions.early_share,
        is_migrating: places[3] < sessions.migrated_share,
        link: link(sessions, places[4]),
        videos,
        seed,
        id,
    }
}

fn rng_of(seed: u64, index: u64) -> Xoshiro256PlusPlus {
    // Numbers that follow each other are spread over all of 64 bits.
    Xoshiro256PlusPlus::seed_from_u64(seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Without TLS there is nothing to agree on HTTP/2 with, and no HTTP/3: `http` is HTTP/1.1, unless HTTP/2 alone is
/// asked for, which is then spoken with prior knowledge.
fn protocol(sessions: &Sessions, place: f64, is_plain: bool) -> Protocol {
    let mix = &sessions.protocols;
    if is_plain && (mix.h1 > 0.0 || mix.h3 > 0.0) { Protocol::H1 } else { mix.at(place) }
}

fn link(sessions: &Sessions, place: f64) -> Option<usize> {
    let total: f64 = sessions.links.iter().map(|link| link.weight).sum();
    let mut rest = place * total;
    for (index, link) in sessions.links.iter().enumerate() {
        if rest < link.weight {
            return Some(index);
        }
        rest -= link.weight;
    }
    sessions.links.iter().rposition(|link| link.weight > 0.0)
}

fn videos(
    plan: &RunPlan,
    arrival: &Arrival,
    ranking: &mut Ranking,
    rng: &mut impl Rng,
) -> Vec<Url> {
    let target = &plan.scenario.target;
    let catalogue = &plan.inputs.videos;
    if let Some(path) = &arrival.path {
        let base = target.base.as_ref().or(catalogue.first());
        return base.and_then(|base| base.join(path).ok()).into_iter().collect();
    }
    let count = plan.scenario.sessions.videos as usize;
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    while chosen.len() < count && !catalogue.is_empty() {
        let video = if arrival.is_crowd && chosen.is_empty() {
            ranking.top(arrival.at)
        } else {
            ranking.pick(arrival.at, rng)
        };
        // A feed seldom shows the same video twice running.
        let is_again = chosen.last() == Some(&video) && catalogue.len() > 1;
        chosen.push(if is_again { (video + 1) % catalogue.len() } else { video });
    }
    chosen.into_iter().map(|video| catalogue[video].clone()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        run::plan::Inputs,
        scenario::{Overrides, Variables, load},
    };

    /// A plan of a scenario's text, of `[target]` and `[arrivals]` on, for five videos.
    pub(in crate::run) fn plan(text: &str) -> RunPlan {
        let urls: Vec<String> = (0..5).map(|n| format!("\"https://a.test/{n}.m3u8\"")).collect();
        let head = format!("name = \"test\"\n[target]\nurls = [{}]\n", urls.join(","));
        let arrivals =
            "[arrivals]\nprofile = { kind = \"constant\", rate = 10 }\nduration = \"60s\"\n";
        let text = format!("{head}{arrivals}{text}");
        let scenario = load(&text, "test", &Variables::default(), &Overrides::default()).unwrap();
        RunPlan {
            inputs: Inputs { videos: scenario.target.urls.clone(), ..Inputs::default() },
            scenario,
            part: 0,
            of: 1,
            has_faults: true,
            scenario_text: text,
        }
    }

    fn arrival(index: u64, is_crowd: bool) -> Arrival {
        Arrival { index, at: Duration::from_millis(index * 10), is_crowd, path: None }
    }

    fn all(plan: &RunPlan, count: u64) -> Vec<Drawn> {
        let mut ranking = Ranking::new(&plan.scenario.popularity, 5, plan.scenario.seed);
        (0..count).map(|index| draw(plan, &arrival(index, false), &mut ranking)).collect()
    }

    #[test]
    fn shares_come_out_as_asked_for() {
        let text = "[sessions]\nprotocols = { h1 = 50, h2 = 30, h3 = 20 }\nresumed_share = 0.3\n\
                    links = [{ weight = 3, rate = 1000000 }, { weight = 1 }]\n";
        let drawn = all(&plan(text), 10_000);
        let share = |is: fn(&Drawn) -> bool| drawn.iter().filter(|one| is(one)).count();
        assert!((4_800..5_200).contains(&share(|one| one.protocol == Protocol::H1)));
        assert!((1_850..2_150).contains(&share(|one| one.protocol == Protocol::H3)));
        assert!((2_800..3_200).contains(&share(|one| one.resumes)));
        assert!((7_300..7_700).contains(&share(|one| one.link == Some(0))));
        assert_eq!(share(|one| one.is_early || one.is_migrating), 0);
    }

    #[test]
    fn a_session_does_not_depend_on_the_others() {
        let plan = plan("[sessions]\nvideos = 4\n");
        let whole = all(&plan, 100);
        let mut ranking = Ranking::new(&plan.scenario.popularity, 5, plan.scenario.seed);
        for index in (1..100).step_by(7) {
            let alone = draw(&plan, &arrival(index, false), &mut ranking);
            assert_eq!(alone, whole[index as usize]);
        }
        assert!(whole.iter().all(|one| one.videos.len() == 4));
        assert!(whole.iter().all(|one| one.videos.windows(2).all(|pair| pair[0] != pair[1])));
        assert!(whole[0].id != whole[1].id && whole[0].seed != whole[1].seed);
    }

    #[test]
    fn a_crowd_goes_for_the_top_and_a_log_for_its_path() {
        let plan = plan("");
        let mut ranking = Ranking::new(&plan.scenario.popularity, 5, 1);
        for index in 0..50 {
            let drawn = draw(&plan, &arrival(index, true), &mut ranking);
            assert_eq!(drawn.videos[0].as_str(), "https://a.test/0.m3u8");
        }
        let logged = Arrival { path: Some("/x/y.m3u8".into()), ..arrival(50, false) };
        assert_eq!(
            draw(&plan, &logged, &mut ranking).videos[0].as_str(),
            "https://a.test/x/y.m3u8"
        );
    }

    #[test]
    fn without_tls_it_is_h1_unless_h2_alone_is_asked_for() {
        let mut sessions =
            Sessions { protocols: "h1=1,h2=9".parse().unwrap(), ..Sessions::default() };
        assert_eq!(protocol(&sessions, 0.9, true), Protocol::H1);
        assert_eq!(protocol(&sessions, 0.9, false), Protocol::H2);
        sessions.protocols = "h2".parse().unwrap();
        assert_eq!(protocol(&sessions, 0.9, true), Protocol::H2);
    }
}
