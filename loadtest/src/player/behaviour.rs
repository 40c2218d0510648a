//! How a viewer and its player behave: section `[player]` of a scenario. The defaults are those of hls.js where it has
//! one, so that a trace agrees with a browser on the same link.
//!
//! Invariant: every number has a range, and a player never runs with one outside of it ([`Behaviour::check`] names
//! what is wrong, [`Behaviour::within_limits`] moves it to the nearest limit).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `[player]`: how viewers and their players behave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How the rendition of the next segment is chosen: `throughput` (as hls.js), `bola`, `fixed`, `oracle` (knows the
    /// link's rate).
    pub abr: AbrRule,
    /// `fixed`: which rendition, counted from the lowest; one that is not there means the highest.
    pub fixed_index: usize,
    /// `fixed`: the rendition whose declared bits per second are nearest to this; 0 means by `fixed_index`.
    pub fixed_bitrate: u64,
    /// `oracle`: bits per second of the link, where the run does not tell it from a trace.
    pub link_rate: u64,
    /// Half-life of the quick average of throughput, in seconds of downloading.
    pub half_life_fast: f64,
    /// Half-life of the slow average. The lower one of both is believed.
    pub half_life_slow: f64,
    /// Share of the estimated throughput that the present or a lower rendition may take.
    pub bandwidth_factor: f64,
    /// Share of it that a higher rendition may take.
    pub bandwidth_up_factor: f64,
    /// Bits per second that are assumed before anything was measured.
    pub default_bandwidth: u64,
    /// The rendition that the playlist names first raises that assumption to its own bits per second, up to this.
    pub default_bandwidth_max: u64,
    /// With an empty buffer, a segment may take this long.
    #[serde(with = "humantime_serde")]
    pub starvation_max: Duration,
    /// Whether a download that will come too late is given up for a lower rendition.
    pub abandon: bool,
    /// Codecs (the part before the dot) that the device plays, best first; a presentation that has none of them is
    /// played whatever it is.
    pub codecs: Vec<String>,
    /// Whether alternate audio is fetched.
    pub audio: bool,
    /// Media ahead of the play head with which nothing more is fetched.
    #[serde(with = "humantime_serde")]
    pub buffer_max: Duration,
    /// Bytes ahead (by declared bits per second) up to which fetching goes on beyond `buffer_max`, but not beyond ten
    /// minutes. 0 means by time only; hls.js has 60 MB.
    pub buffer_bytes: u64,
    /// Media ahead that is needed to begin; at least one segment is.
    #[serde(with = "humantime_serde")]
    pub buffer_start: Duration,
    /// Media ahead that is needed to go on after a stall or a seek; at least one segment is.
    #[serde(with = "humantime_serde")]
    pub buffer_resume: Duration,
    /// The viewer leaves when nothing is shown for this long; `0s` never.
    #[serde(with = "humantime_serde")]
    pub patience_start: Duration,
    /// The viewer leaves in a stall or a seek of this length; `0s` never.
    #[serde(with = "humantime_serde")]
    pub patience_stall: Duration,
    /// How much media a session watches: `whole`, `fixed`, `log-normal`.
    pub watch: Watch,
    /// `fixed`: that much; `log-normal`: the median.
    #[serde(with = "humantime_serde")]
    pub watch_time: Duration,
    /// `log-normal`: standard deviation of the logarithm.
    pub watch_sigma: f64,
    /// Seeks a minute of playing, at random times to random places.
    pub seeks_per_minute: f64,
    /// The share of each video that is watched, evenly between these two; then comes the next one.
    pub share_watched: [f64; 2],
    /// How many next videos are prepared while one plays, 0 to 2.
    pub prefetch: u8,
    /// How many segments of each are fetched ahead.
    pub prefetch_segments: u8,
    /// Fetches manifests and playlists as a player does, but no media.
    pub manifest_only: bool,
    /// Whether LL-HLS is used where the server can: blocking reloads, parts, hints, delta updates.
    pub low_latency: bool,
    /// Live: distance to the edge at which playing begins; `0s` means what the manifest says.
    #[serde(with = "humantime_serde")]
    pub live_delay: Duration,
    /// Live: farther behind the edge than this, the player jumps ahead; `0s` only when the media is gone.
    #[serde(with = "humantime_serde")]
    pub live_latency_max: Duration,
    /// Live: speed of playing while farther behind the edge than at the start. 1 means none.
    pub live_catch_up_rate: f64,
    /// Whether content steering is followed.
    pub steering: bool,
    /// Where common media client data (CTA-5004) goes: `off`, `header`, `query`.
    pub cmcd: CmcdMode,
    /// How often a first manifest is asked for again.
    pub retries_manifest: u32,
    /// How often a playlist is asked for again.
    pub retries_playlist: u32,
    /// How often an init segment, segment or part is asked for again.
    pub retries_segment: u32,
    /// The first retry waits this long, the second twice as long and so on.
    #[serde(with = "humantime_serde")]
    pub retry_delay: Duration,
    /// No retry waits longer.
    #[serde(with = "humantime_serde")]
    pub retry_delay_max: Duration,
    /// A manifest or playlist that is not there by then failed.
    #[serde(with = "humantime_serde")]
    pub timeout_manifest: Duration,
    /// An init segment, segment or part that is not there by then failed.
    #[serde(with = "humantime_serde")]
    pub timeout_segment: Duration,
}

/// How the rendition is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AbrRule {
    #[default]
    Throughput,
    Bola,
    Fixed,
    Oracle,
}

/// How much is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    #[default]
    Whole,
    Fixed,
    LogNormal,
}

/// Where CMCD goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CmcdMode {
    Off,
    #[default]
    Header,
    Query,
}

/// A key outside of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("player.{key} is {value}, not from {from} to {to}")]
pub struct BehaviourError {
    pub key: &'static str,
    pub value: f64,
    pub from: f64,
    pub to: f64,
}

impl Behaviour {
    /// Whether every key is in its range.
    ///
    /// # Errors
    /// The first key that is not, with the range. Durations are in seconds there.
    pub fn check(&self) -> Result<(), BehaviourError> {
        let mut copy = self.clone();
        let mut wrong = None;
        copy.each_number(|key, value, from, to| {
            // A NaN is in no range.
            if !(from..=to).contains(value) && wrong.is_none() {
                wrong = Some(BehaviourError { key, value: *value, from, to });
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    /// The same with every number in its range.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        self.each_number(|_, value, from, to| {
            *value = if value.is_nan() { from } else { value.clamp(from, to) };
        });
        self.share_watched[1] = self.share_watched[1].max(self.share_watched[0]);
        self.codecs.truncate(CODECS_MAX);
        self
    }

    /// Shows every number with its range to `visit`, which may change it.
    fn each_number(&mut self, mut visit: impl FnMut(&'static str, &mut f64, f64, f64)) {
        let floats = [
            ("half_life_fast", &mut self.half_life_fast, 0.1, 1000.0),
            ("half_life_slow", &mut self.half_life_slow, 0.1, 1000.0),
            ("bandwidth_factor", &mut self.bandwidth_factor, 0.01, 2.0),
            ("bandwidth_up_factor", &mut self.bandwidth_up_factor, 0.01, 2.0),
            ("watch_sigma", &mut self.watch_sigma, 0.0, 5.0),
            ("seeks_per_minute", &mut self.seeks_per_minute, 0.0, 600.0),
            ("live_catch_up_rate", &mut self.live_catch_up_rate, 1.0, 2.0),
        ];
        for (key, value, from, to) in floats {
            visit(key, value, from, to);
        }
        for share in &mut self.share_watched {
            visit("share_watched", share, 0.001, 1.0);
        }
        let durations = [
            ("starvation_max", &mut self.starvation_max, 0.0, 3600.0),
            ("buffer_max", &mut self.buffer_max, 0.1, 3600.0),
            ("buffer_start", &mut self.buffer_start, 0.0, 3600.0),
            ("buffer_resume", &mut self.buffer_resume, 0.0, 3600.0),
            ("patience_start", &mut self.patience_start, 0.0, DAY),
            ("patience_stall", &mut self.patience_stall, 0.0, DAY),
            ("watch_time", &mut self.watch_time, 0.001, 365.0 * DAY),
            ("live_delay", &mut self.live_delay, 0.0, DAY),
            ("live_latency_max", &mut self.live_latency_max, 0.0, DAY),
            ("retry_delay", &mut self.retry_delay, 0.01, 3600.0),
            ("retry_delay_max", &mut self.retry_delay_max, 0.01, 3600.0),
            ("timeout_manifest", &mut self.timeout_manifest, 0.1, 3600.0),
            ("timeout_segment", &mut self.timeout_segment, 0.1, 3600.0),
        ];
        for (key, value, from, to) in durations {
            let mut seconds = value.as_secs_f64();
            let before = seconds;
            visit(key, &mut seconds, from, to);
            if seconds.to_bits() != before.to_bits() {
                *value = Duration::from_secs_f64(seconds);
            }
        }
        let retries = [
            ("retries_manifest", &mut self.retries_manifest),
            ("retries_playlist", &mut self.retries_playlist),
            ("retries_segment", &mut self.retries_segment),
        ];
        for (key, value) in retries {
            let mut number = f64::from(*value);
            visit(key, &mut number, 0.0, 100.0);
            *value = number as u32;
        }
        for (key, value, to) in [
            ("prefetch", &mut self.prefetch, 2.0),
            ("prefetch_segments", &mut self.prefetch_segments, 10.0),
        ] {
            let mut number = f64::from(*value);
            visit(key, &mut number, 0.0, to);
            *value = number as u8;
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            abr: AbrRule::Throughput,
            fixed_index: 0,
            fixed_bitrate: 0,
            link_rate: 0,
            half_life_fast: 3.0,
            half_life_slow: 9.0,
            bandwidth_factor: 0.95,
            bandwidth_up_factor: 0.7,
            default_bandwidth: 500_000,
            default_bandwidth_max: 5_000_000,
            starvation_max: Duration::from_secs(4),
            abandon: true,
            codecs: vec!["avc1".into(), "avc3".into()],
            audio: true,
            buffer_max: Duration::from_secs(30),
            buffer_bytes: 0,
            buffer_start: Duration::ZERO,
            buffer_resume: Duration::ZERO,
            patience_start: Duration::from_secs(30),
            patience_stall: Duration::from_secs(60),
            watch: Watch::Whole,
            watch_time: Duration::from_secs(300),
            watch_sigma: 1.0,
            seeks_per_minute: 0.0,
            share_watched: [1.0, 1.0],
            prefetch: 1,
            prefetch_segments: 1,
            manifest_only: false,
            low_latency: true,
            live_delay: Duration::ZERO,
            live_latency_max: Duration::ZERO,
            live_catch_up_rate: 1.0,
            steering: true,
            cmcd: CmcdMode::Header,
            retries_manifest: 1,
            retries_playlist: 2,
            retries_segment: 6,
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(8),
            timeout_manifest: Duration::from_secs(20),
            timeout_segment: Duration::from_secs(120),
        }
    }
}

const DAY: f64 = 86_400.0;
/// Codec families a device names; there are fewer in the world.
const CODECS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_a_scenario_writes_them() {
        let text = "abr = \"bola\"\nbuffer_max = \"12s\"\nwatch = \"log-normal\"\n\
                    share_watched = [0.1, 0.9]\ncmcd = \"query\"\nseeks_per_minute = 0.5\n";
        let read: Behaviour = toml::from_str(text).unwrap();
        assert_eq!(read.abr, AbrRule::Bola);
        assert_eq!(read.buffer_max, Duration::from_secs(12));
        assert_eq!(read.watch, Watch::LogNormal);
        assert_eq!(read.cmcd, CmcdMode::Query);
        assert_eq!(read.retries_segment, Behaviour::default().retries_segment);
        assert!(toml::from_str::<Behaviour>("bufer_max = \"12s\"").is_err(), "a slip is refused");
    }

    #[test]
    fn defaults_are_in_their_ranges_and_survive_a_file() {
        let defaults = Behaviour::default();
        assert_eq!(defaults.check(), Ok(()));
        assert_eq!(defaults.clone().within_limits(), defaults);
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(toml::from_str::<Behaviour>(&text).unwrap(), defaults);
    }

    #[test]
    fn what_is_out_of_range_is_named_and_moved_to_the_limit() {
        type Change = fn(&mut Behaviour);
        let table: [(&str, Change); 5] = [
            ("half_life_fast", |b| b.half_life_fast = f64::NAN),
            ("bandwidth_factor", |b| b.bandwidth_factor = -1.0),
            ("buffer_max", |b| b.buffer_max = Duration::ZERO),
            ("prefetch", |b| b.prefetch = 9),
            ("share_watched", |b| b.share_watched = [0.5, 7.0]),
        ];
        for (key, change) in table {
            let mut wrong = Behaviour::default();
            change(&mut wrong);
            assert_eq!(wrong.check().unwrap_err().key, key);
            assert_eq!(wrong.within_limits().check(), Ok(()), "{key}");
        }
    }
}
