//! Rate profiles: how many sessions a second begin, over the run.
//!
//! Invariant: a profile that was checked has finite rates within the limits, and a curve.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::rate::RateCurve;

/// How the rate of new sessions goes over the run. `kind` chooses; the other keys belong to the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Profile {
    /// The same `rate` all the time.
    Constant { rate: f64 },
    /// From one rate to another in a straight line over a time, then that one.
    Ramp {
        #[serde(default)]
        from: f64,
        to: f64,
        #[serde(with = "humantime_serde")]
        over: Duration,
    },
    /// One rate after the other, the last one to the end.
    Steps { steps: Vec<Step> },
    /// A base rate; `at` a time it grows to `factor` times as much `within` a time, stays so for `hold`, and falls as it
    /// rose. All that is above the base goes for one video.
    FlashCrowd {
        base: f64,
        factor: f64,
        #[serde(with = "humantime_serde")]
        at: Duration,
        #[serde(with = "humantime_serde")]
        within: Duration,
        #[serde(with = "humantime_serde")]
        hold: Duration,
    },
    /// A day, in `period`: lowest at the beginning, highest in the middle, `swing` (0 to 1) around the mean.
    Diurnal {
        mean: f64,
        #[serde(default = "half")]
        swing: f64,
        #[serde(with = "humantime_serde")]
        period: Duration,
    },
    /// So many sessions within a time, then none.
    Burst {
        count: u32,
        #[serde(with = "humantime_serde")]
        over: Duration,
    },
    /// The times of an access log: Common or Combined, or JSON lines with `time`. Lines whose path does not hold
    /// `matching` are left out; `paths` plays what the log names instead of what the catalogue would choose.
    Replay {
        file: PathBuf,
        #[serde(default)]
        matching: String,
        #[serde(default = "one")]
        speed: f64,
        #[serde(default)]
        paths: bool,
    },
}

/// One step of `steps`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub rate: f64,
    #[serde(rename = "for", with = "humantime_serde")]
    pub lasts: Duration,
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    #[error("{what} is {value}, which is not from 0 to {max}")]
    OutOfRange { what: &'static str, value: f64, max: f64 },
    #[error("steps needs from 1 to {STEPS_MAX} steps")]
    Steps,
    #[error("{0} must be longer than nothing")]
    NoTime(&'static str),
    #[error("a replay has the rate of its log; speed makes it faster")]
    RateOfReplay,
}

impl Profile {
    /// Checks all values.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), ProfileError> {
        let rate = |what, value| in_range(what, value, RATE_MAX);
        let some = |what, time: Duration| {
            if time.is_zero() { Err(ProfileError::NoTime(what)) } else { Ok(()) }
        };
        match self {
            Self::Constant { rate: value } => rate("rate", *value),
            Self::Ramp { from, to, over } => {
                rate("from", *from)?;
                rate("to", *to)?;
                some("over", *over)
            }
            Self::Steps { steps } => {
                if steps.is_empty() || steps.len() > STEPS_MAX {
                    return Err(ProfileError::Steps);
                }
                steps.iter().try_for_each(|step| {
                    rate("rate", step.rate)?;
                    some("for", step.lasts)
                })
            }
            Self::FlashCrowd { base, factor, within, .. } => {
                rate("base", *base)?;
                in_range("factor", *factor, FACTOR_MAX)?;
                rate("base times factor", base * factor)?;
                some("within", *within)
            }
            Self::Diurnal { mean, swing, period } => {
                rate("mean", *mean)?;
                in_range("swing", *swing, 1.0)?;
                some("period", *period)
            }
            Self::Burst { count, over } => {
                some("over", *over)?;
                rate("count over its time", f64::from(*count) / over.as_secs_f64())
            }
            Self::Replay { speed, .. } => {
                in_range("speed", *speed, SPEED_MAX)?;
                if *speed > 0.0 { Ok(()) } else { Err(ProfileError::NoTime("speed")) }
            }
        }
    }

    /// The rate over a run; `None` for a replay, whose times are its log's. In the warm-up, which comes first, it is
    /// what the profile begins with; a burst has none.
    #[must_use]
    pub fn curve(&self, warm_up: Duration, duration: Duration) -> Option<RateCurve> {
        let seconds = |time: &Duration| time.as_secs_f64();
        let points = match self {
            Self::Constant { rate } => vec![(0.0, *rate)],
            Self::Ramp { from, to, over } => vec![(0.0, *from), (seconds(over), *to)],
            Self::Steps { steps } => {
                let mut points = Vec::with_capacity(steps.len() * 2);
                let mut at = 0.0;
                for step in steps {
                    points.push((at, step.rate));
                    at += seconds(&step.lasts);
                    points.push((at, step.rate));
                }
                points
            }
            Self::FlashCrowd { base, factor, at, within, hold } => {
                let up = seconds(at) + seconds(within);
                let down = up + seconds(hold);
                vec![
                    (seconds(at), *base),
                    (up, base * factor),
                    (down, base * factor),
                    (down + seconds(within), *base),
                ]
            }
            Self::Diurnal { mean, swing, period } => {
                let piece = seconds(period) / f64::from(PIECES_PER_PERIOD);
                let count = (seconds(&duration) / piece).ceil().min(PIECES_MAX) as u32 + 1;
                let level = |index: u32| {
                    let turn = f64::from(index) / f64::from(PIECES_PER_PERIOD) - 0.25;
                    mean * (1.0 + swing * (turn * std::f64::consts::TAU).sin())
                };
                (0..=count).map(|index| (f64::from(index) * piece, level(index))).collect()
            }
            Self::Burst { count, over } => {
                let rate = f64::from(*count) / seconds(over);
                vec![(0.0, 0.0), (0.0, rate), (seconds(over), rate), (seconds(over), 0.0)]
            }
            Self::Replay { .. } => return None,
        };
        let shift = |(at, rate): (f64, f64)| (at + warm_up.as_secs_f64(), rate);
        let points: Vec<(f64, f64)> = points.into_iter().map(shift).collect();
        Some(RateCurve::through(&points, warm_up + duration))
    }

    /// Which share of the sessions at a time go for one video, because a crowd came for it.
    #[must_use]
    pub fn crowd_share(&self, rate: f64) -> f64 {
        match self {
            Self::FlashCrowd { base, .. } if rate > *base => (rate - base) / rate,
            _ => 0.0,
        }
    }

    /// The same profile with another rate: the constant one, the base, the mean, or the highest.
    ///
    /// # Errors
    /// A replay has no rate of its own.
    pub fn with_rate(&self, rate: f64) -> Result<Self, ProfileError> {
        let mut changed = self.clone();
        match &mut changed {
            Self::Constant { rate: old } => *old = rate,
            Self::Ramp { from, to, .. } => {
                *from *= if *to > 0.0 { rate / *to } else { 1.0 };
                *to = rate;
            }
            Self::Steps { steps } => {
                let highest = steps.iter().map(|step| step.rate).fold(0.0, f64::max);
                for step in steps {
                    step.rate *= if highest > 0.0 { rate / highest } else { 1.0 };
                }
            }
            Self::FlashCrowd { base, .. } => *base = rate,
            Self::Diurnal { mean, .. } => *mean = rate,
            Self::Burst { count, over } => *count = (rate * over.as_secs_f64()).round() as u32,
            Self::Replay { .. } => return Err(ProfileError::RateOfReplay),
        }
        changed.check()?;
        Ok(changed)
    }
}

fn in_range(what: &'static str, value: f64, max: f64) -> Result<(), ProfileError> {
    if (0.0..=max).contains(&value) {
        Ok(())
    } else {
        Err(ProfileError::OutOfRange { what, value, max })
    }
}

fn half() -> f64 {
    0.5
}

fn one() -> f64 {
    1.0
}

/// Sessions a second; more than one machine can begin.
const RATE_MAX: f64 = 1e6;
const FACTOR_MAX: f64 = 1e4;
const SPEED_MAX: f64 = 1e4;
const STEPS_MAX: usize = 1_000;
/// Straight pieces that stand for one turn of the sine: off by less than a thousandth.
const PIECES_PER_PERIOD: u32 = 96;
/// Pieces of one diurnal run: more than a thousand days.
const PIECES_MAX: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        #[derive(Deserialize)]
        struct Holder {
            profile: Profile,
        }
        toml::from_str::<Holder>(&format!("profile = {text}")).unwrap().profile
    }

    #[test]
    fn every_kind_has_the_rate_it_says() {
        let table: &[(&str, &[(f64, f64)])] = &[
            (r#"{ kind = "constant", rate = 5 }"#, &[(0.0, 5.0), (99.0, 5.0)]),
            (
                r#"{ kind = "ramp", to = 10, over = "20s" }"#,
                &[(0.0, 0.0), (10.0, 5.0), (50.0, 10.0)],
            ),
            (
                r#"{ kind = "steps", steps = [{ rate = 1, for = "10s" }, { rate = 7, for = "5s" }] }"#,
                &[(5.0, 1.0), (10.0, 7.0), (60.0, 7.0)],
            ),
            (
                r#"{ kind = "flash-crowd", base = 2, factor = 10, at = "10s", within = "4s", hold = "6s" }"#,
                &[(5.0, 2.0), (12.0, 11.0), (14.0, 20.0), (19.0, 20.0), (22.0, 11.0), (60.0, 2.0)],
            ),
            (
                r#"{ kind = "diurnal", mean = 10, swing = 0.5, period = "80s" }"#,
                &[(0.0, 5.0), (20.0, 10.0), (40.0, 15.0), (60.0, 10.0), (80.0, 5.0)],
            ),
            (r#"{ kind = "burst", count = 100, over = "2s" }"#, &[(1.0, 50.0), (2.5, 0.0)]),
        ];
        for (text, points) in table {
            let profile = profile(text);
            profile.check().unwrap();
            let warm_up = Duration::from_secs(7);
            let curve = profile.curve(warm_up, Duration::from_secs(100)).unwrap();
            for (seconds, rate) in *points {
                let got = curve.at(*seconds + 7.0);
                assert!((got - rate).abs() < 1e-6, "{text} at {seconds}: {got}, not {rate}");
            }
        }
    }

    #[test]
    fn the_warm_up_has_the_rate_of_the_beginning() {
        let table = [
            (r#"{ kind = "ramp", from = 3, to = 10, over = "20s" }"#, 3.0),
            (r#"{ kind = "burst", count = 100, over = "2s" }"#, 0.0),
        ];
        for (text, rate) in table {
            let curve =
                profile(text).curve(Duration::from_secs(5), Duration::from_secs(9)).unwrap();
            assert!((curve.at(2.5) - rate).abs() < 1e-9, "{text}: {}", curve.at(2.5));
        }
    }

    #[test]
    fn nothing_endless_passes_the_check() {
        for text in [
            r#"{ kind = "constant", rate = nan }"#,
            r#"{ kind = "constant", rate = -1 }"#,
            r#"{ kind = "constant", rate = 1e9 }"#,
            r#"{ kind = "ramp", to = 1, over = "0s" }"#,
            r#"{ kind = "steps", steps = [] }"#,
            r#"{ kind = "flash-crowd", base = 1e3, factor = 1e4, at = "1s", within = "1s", hold = "1s" }"#,
            r#"{ kind = "diurnal", mean = 1, swing = 1.5, period = "1h" }"#,
            r#"{ kind = "replay", file = "a.log", speed = 0 }"#,
        ] {
            assert!(profile(text).check().is_err(), "{text}");
        }
    }

    #[test]
    fn another_rate_keeps_the_form() {
        let ramp = profile(r#"{ kind = "ramp", from = 1, to = 10, over = "20s" }"#);
        let twice = ramp.with_rate(20.0).unwrap();
        assert_eq!(twice, profile(r#"{ kind = "ramp", from = 2, to = 20, over = "20s" }"#));
        let replay = profile(r#"{ kind = "replay", file = "a.log" }"#);
        assert_eq!(replay.with_rate(1.0), Err(ProfileError::RateOfReplay));
    }

    #[test]
    fn the_crowd_is_what_is_above_the_base() {
        let text = r#"{ kind = "flash-crowd", base = 2, factor = 10, at = "1s", within = "1s", hold = "1s" }"#;
        let crowd = profile(text);
        assert!((crowd.crowd_share(20.0) - 0.9).abs() < 1e-9);
        assert!(crowd.crowd_share(2.0).abs() < 1e-9);
        assert!(profile(r#"{ kind = "constant", rate = 9 }"#).crowd_share(9.0).abs() < 1e-9);
    }
}
