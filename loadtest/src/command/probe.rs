//! `probe`: what one player sees of a URL: how it is served, what can be played, and how it plays.
//!
//! Invariant: what is printed was seen by this machine just now; nothing is guessed from names.

use std::{fmt::Write, time::Duration};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    run::{in_runtime, stop_by_signal},
    say::print,
    source::{Changes, Reach, read},
};
use crate::{
    kind::Protocol,
    manifest::{self, Format, Presentation, SegmentList, dash::Mpd, hls},
    net::{Ask, Fetched, Net, Session, SessionPlan},
    output::lines,
    results::{Interval, Results},
    run::{Inputs, RunPlan, Watch, execute, prepare, unix_ms},
    scenario::Scenario,
};

#[derive(Args)]
pub(super) struct ProbeArgs {
    /// A playlist or an MPD
    #[arg(value_name = "URL")]
    url: String,
    /// For how long it is played; 0s only looks
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    lasts: Duration,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn probe(args: &ProbeArgs) -> Result<Exit, Failure> {
    let mut changes = Changes::from(args.reach.clone());
    changes.reach.set.extend(ALONE.iter().map(|setting| (*setting).to_owned()));
    let lasts = args.lasts.max(Duration::from_secs(1));
    changes.reach.set.push(format!("arrivals.duration={}", humantime::format_duration(lasts)));
    let (scenario, text) = read(&args.url, &changes)?;
    in_runtime(async {
        let inputs = prepare(&scenario).await.map_err(Failure::usage)?;
        let is_seen = look(&scenario).await?;
        if !is_seen || args.lasts.is_zero() {
            return Ok(if is_seen { Exit::Ok } else { Exit::Failed });
        }
        play(scenario, inputs, text).await
    })
}

/// Looks at the first document, and at the first rendition.
async fn look(scenario: &Scenario) -> Result<bool, Failure> {
    let net = Net::new(scenario.net.clone()).map_err(Failure::usage)?;
    let url = &scenario.target.urls[0];
    let is_plain = url.scheme() == "http";
    let protocol = if is_plain { Protocol::H1 } else { scenario.sessions.protocols.at(0.0) };
    let session = net.session(SessionPlan::new(protocol));
    let fetched = fetch(&session, url.clone()).await;
    print(&answer(&fetched, protocol));
    let Ok(answer) = &fetched.outcome else { return Ok(false) };
    let body = answer.body.clone().unwrap_or_default();
    let text = match manifest::sniff(&body) {
        Ok(Format::Hls) => hls_text(&session, &body, &answer.url).await,
        Ok(Format::Dash) => dash_text(&body, &answer.url),
        Err(error) => Err(error.to_string()),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => {
            print(&format!("cannot be played: {error}\n"));
            return Ok(false);
        }
    }
    Ok(true)
}

async fn hls_text(session: &Session, body: &[u8], url: &url::Url) -> Result<String, String> {
    let presentation = hls::multivariant(body, url).map_err(|error| error.to_string())?;
    let mut text = renditions(&presentation);
    let first = &presentation.variants[0];
    let list = if first.url == *url {
        hls::media(body, url, None)
    } else {
        let fetched = fetch(session, first.url.clone()).await;
        let outcome = fetched.outcome.map_err(|failure| {
            format!("the first media playlist: {:?}, {}", failure.class, failure.detail)
        })?;
        hls::media(&outcome.body.unwrap_or_default(), &outcome.url, None)
    };
    text.push_str(&segments(&list.map_err(|error| error.to_string())?));
    Ok(text)
}

fn dash_text(body: &[u8], url: &url::Url) -> Result<String, String> {
    let mpd = Mpd::parse(body, url).map_err(|error| error.to_string())?;
    let presentation = mpd.presentation();
    let mut text = renditions(&presentation);
    if let Some(representation) = &presentation.variants[0].representation {
        let list = mpd.segments(representation, unix_ms()).map_err(|error| error.to_string())?;
        text.push_str(&segments(&list));
    }
    Ok(text)
}

async fn fetch(session: &Session, url: url::Url) -> Fetched {
    let ask = Ask {
        url,
        range: None,
        headers: Vec::new(),
        urgency: 1,
        keep: Some(DOCUMENT_BYTES_MAX),
        hash: false,
        timeout: TIMEOUT,
    };
    session.fetch(ask, &mut |_| {}).await
}

/// How the first document came.
fn answer(fetched: &Fetched, protocol: Protocol) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14} {value}");
    };
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    match &fetched.outcome {
        Ok(answer) => {
            let mut shown = answer.url.clone();
            shown.set_query(None);
            line("answer", format!("{} from {shown}, {} bytes", answer.status, fetched.bytes));
        }
        Err(failure) => {
            let status = fetched.facts.status.map(|status| format!(", status {status}"));
            line(
                "failed",
                format!("{:?}{}: {}", failure.class, status.unwrap_or_default(), failure.detail),
            );
        }
    }
    line("protocol", format!("{protocol:?}"));
    if let Some(made) = &fetched.connection {
        let times = [("name", made.dns), ("connect", made.connect), ("handshake", made.handshake)];
        let times: Vec<String> = times
            .iter()
            .filter_map(|(name, time)| Some(format!("{name} {}", ms((*time)?))))
            .collect();
        line("connection", times.join(", "));
    }
    if let Some(first_byte) = fetched.first_byte {
        line("first byte", ms(first_byte));
    }
    let facts = &fetched.facts;
    let cache = match facts.is_hit {
        Some(true) => "hit",
        Some(false) => "miss",
        None => "not told",
    };
    let age = facts.age.map(|age| format!(", {age} s old")).unwrap_or_default();
    line("cache", format!("{cache}{age}"));
    if let Some(pop) = &facts.pop {
        line("answered by", pop.clone());
    }
    text
}

fn renditions(presentation: &Presentation) -> String {
    let kind = if presentation.is_dash { "DASH" } else { "HLS" };
    let mut text = format!("{:<14} {kind}\n", "format");
    for variant in &presentation.variants {
        let size = variant.resolution.map(|(width, height)| format!("{width}x{height}"));
        let _ = writeln!(
            text,
            "{:<14} {:>8.2} Mbit/s  {:<10} {}",
            "rendition",
            variant.bandwidth as f64 / 1e6,
            size.unwrap_or_default(),
            variant.codecs.as_deref().unwrap_or_default()
        );
    }
    for audio in &presentation.audio {
        let default = if audio.is_default { ", default" } else { "" };
        let _ = writeln!(text, "{:<14} group {}{default}", "audio", audio.group);
    }
    if let Some(steering) = &presentation.steering {
        let host = steering.server.host_str().unwrap_or_default();
        let _ = writeln!(text, "{:<14} by {host}", "steering");
    }
    text
}

fn segments(list: &SegmentList) -> String {
    let seconds = list.segments.iter().map(|segment| segment.duration.as_secs_f64()).sum::<f64>();
    let kind = match (list.is_ended, list.part_target) {
        (true, _) => "on demand".to_owned(),
        (false, Some(part)) => format!("live, low latency, parts of {} ms", part.as_millis()),
        (false, None) => "live".to_owned(),
    };
    format!(
        "{:<14} {kind}; {} segments of up to {:.1} s, {seconds:.1} s in all\n\n",
        "content",
        list.segments.len(),
        list.target_duration.as_secs_f64()
    )
}

async fn play(scenario: Scenario, inputs: Inputs, text: String) -> Result<Exit, Failure> {
    let plan = RunPlan { scenario, inputs, part: 0, of: 1, has_faults: false, scenario_text: text };
    let stop = stop_by_signal()?;
    let results = execute(&plan, &stop, &mut Unwatched).await.map_err(Failure::failed)?;
    print(&lines::summary(&results));
    let is_shown = results.quality.startup_ms.count() > 0;
    Ok(if results.is_interrupted {
        Exit::Interrupted
    } else if is_shown {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// One player is not watched while it plays.
struct Unwatched;

impl Watch for Unwatched {
    fn second(&mut self, _: &Interval, _: Option<&Results>) {}

    fn note(&mut self, _: &str) {}
}

/// One viewer, at once, without anything to hold.
const ALONE: &[&str] = &[
    "name=probe",
    "gates=[]",
    "arrivals.profile={ kind = \"burst\", count = 1, over = \"1ms\" }",
    "arrivals.spacing=even",
    "arrivals.drain=0s",
    "rig.workers=1",
];
const DOCUMENT_BYTES_MAX: usize = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(20);
