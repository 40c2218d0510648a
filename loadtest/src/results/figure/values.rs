//! The histograms that percentiles are taken from.
//!
//! Invariant: a percentile over several histograms is one of their sum.

use std::borrow::Cow;

use crate::{
    kind::{ObjectKind, Protocol},
    results::{Connections, Fetches, Histogram, Results},
};

/// Measured values of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    Startup,
    Stall,
    RebufferRatio,
    Bitrate,
    LiveLatency,
    ScheduleError,
    LoopLag,
    FirstFresh,
    Dns,
    Connect,
    Handshake,
    /// Of one kind, or of all.
    FirstByte(Option<ObjectKind>),
    Took(Option<ObjectKind>),
    TimeOverDuration(Option<ObjectKind>),
}

impl Values {
    /// The values, in the unit of their field.
    #[must_use]
    pub fn find(self, results: &Results, protocol: Option<Protocol>) -> Cow<'_, Histogram> {
        let quality = &results.quality;
        let connections = |field: fn(&Connections) -> &Histogram| {
            let connections = results.connections.iter();
            let wanted = connections.filter(|(of, _)| protocol.is_none_or(|it| it == **of));
            sum(wanted.map(|(_, connections)| field(connections)))
        };
        let fetches = |kind: Option<ObjectKind>, field: fn(&Fetches) -> &Histogram| {
            let of_kind = results.fetches.iter().filter(|it| kind.is_none_or(|k| k == it.kind));
            let wanted = of_kind.filter(|it| protocol.is_none_or(|p| p == it.protocol));
            sum(wanted.map(field))
        };
        match self {
            Self::Startup => Cow::Borrowed(&quality.startup_ms),
            Self::Stall => Cow::Borrowed(&quality.stall_ms),
            Self::RebufferRatio => Cow::Borrowed(&quality.rebuffer_ratio),
            Self::Bitrate => Cow::Borrowed(&quality.bitrate_bps),
            Self::LiveLatency => Cow::Borrowed(&quality.live_latency_ms),
            Self::ScheduleError => Cow::Borrowed(&results.arrivals.schedule_error_us),
            Self::LoopLag => Cow::Borrowed(&results.rig.loop_lag_us),
            Self::FirstFresh => sum(results.pops.values().map(|pop| &pop.first_fresh_ms)),
            Self::Dns => connections(|it| &it.dns_us),
            Self::Connect => connections(|it| &it.connect_us),
            Self::Handshake => connections(|it| &it.handshake_us),
            Self::FirstByte(kind) => fetches(kind, |it| &it.first_byte_us),
            Self::Took(kind) => fetches(kind, |it| &it.took_us),
            Self::TimeOverDuration(kind) => fetches(kind, |it| &it.time_over_duration),
        }
    }

    /// The same of one kind of object.
    pub(super) fn of_kind(self, kind: Option<ObjectKind>) -> Self {
        match self {
            Self::FirstByte(_) => Self::FirstByte(kind),
            Self::Took(_) => Self::Took(kind),
            Self::TimeOverDuration(_) => Self::TimeOverDuration(kind),
            other => other,
        }
    }

    pub(super) fn is_by_kind(self) -> bool {
        matches!(self, Self::FirstByte(_) | Self::Took(_) | Self::TimeOverDuration(_))
    }

    pub(super) fn is_by_protocol(self) -> bool {
        self.is_by_kind() || matches!(self, Self::Dns | Self::Connect | Self::Handshake)
    }
}

/// A single one is not copied.
fn sum<'a>(mut all: impl Iterator<Item = &'a Histogram>) -> Cow<'a, Histogram> {
    match (all.next(), all.next()) {
        (None, _) => Cow::Owned(Histogram::default()),
        (Some(only), None) => Cow::Borrowed(only),
        (Some(a), Some(b)) => Cow::Owned(Histogram::merged([a, b].into_iter().chain(all))),
    }
}
