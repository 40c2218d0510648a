//! Segments of a live MPD that are asked for while they are made (`availabilityTimeOffset`): what has come of one is
//! played before the rest is there.
//!
//! Bodies are not kept, so how much media lies in the bytes that came is told by how long they are: by the bytes a second
//! of the segment before, else by what is declared. Invariant: a growing segment is never longer than what can have been
//! made by now, and is as long as the MPD says when it is whole.

use std::time::Duration;

use super::{
    super::{
        track::{Growth, Role, What},
        world::World,
    },
    state::Video,
};

impl Video {
    /// Whether this segment is still being made; what is known of it then.
    pub(super) fn growth(
        &self,
        role: Role,
        what: &What,
        start: Duration,
        duration: Duration,
        world: &World<'_>,
    ) -> Option<Growth> {
        let is_possible = world.behaviour.low_latency && self.mpd.is_some() && self.is_live;
        if !is_possible || *what != What::Segment || start + duration <= self.axis_now(world)? {
            return None;
        }
        let track = self.track(role)?;
        let known = track.bytes_per_second.filter(|(source, _)| *source == track.source);
        let declared = || Some(self.declared(role, track.source)? as f64 / 8.0);
        let bytes_per_second = known.map(|(_, rate)| rate).or_else(declared)?;
        (bytes_per_second >= 1.0).then_some(Growth {
            bytes_per_second,
            pushed: Duration::ZERO,
            pushed_bytes: 0,
            is_sampled: false,
        })
    }

    /// Some bytes of a segment that is being made have come: as much as can be played is there.
    pub(super) fn grow(&mut self, role: Role, world: &mut World<'_>) {
        let Some(now) = self.axis_now(world) else { return };
        let Some(track) = self.track_mut(role) else { return };
        let Some(loading) = &mut track.loading else { return };
        let Some(growth) = &mut loading.growth else { return };
        if !growth.is_sampled && role == Role::Main {
            // What was made before comes as fast as the link is; the rest only as fast as it is made.
            growth.is_sampled = true;
            let took = world.now.saturating_sub(loading.asked_at);
            world.estimate.downloaded(loading.bytes, took, loading.first_byte.unwrap_or(took));
        }
        let by_bytes = Duration::from_secs_f64(
            (loading.bytes as f64 / growth.bytes_per_second).min(LONGEST.as_secs_f64()),
        );
        let made = now.saturating_sub(loading.start);
        // The last of it is there when the whole is.
        let most = loading.duration.saturating_sub(STEP);
        let grown = by_bytes.min(made).min(most);
        if grown < growth.pushed + STEP {
            return;
        }
        let from = loading.start + growth.pushed;
        let (length, bytes) = (grown - growth.pushed, loading.bytes - growth.pushed_bytes);
        (growth.pushed, growth.pushed_bytes) = (grown, loading.bytes);
        let source = loading.source;
        let bitrate = self.bitrate_of_source(role, source);
        if let Some(track) = self.track_mut(role) {
            track.push(from, length, bytes, bitrate);
        }
    }

    /// Where the present lies on the media's axis; `None` when nothing is live.
    pub(super) fn axis_now(&self, world: &World<'_>) -> Option<Duration> {
        let now_us = (world.now.as_micros() as i64).saturating_add(self.live_shift_us(world)?);
        Some(Duration::from_micros(u64::try_from(now_us).unwrap_or(0)))
    }

    /// Bits per second as the MPD has them.
    fn declared(&self, role: Role, source: usize) -> Option<u64> {
        match role {
            Role::Main => Some(self.bitrate_of_source(role, source)),
            Role::Audio => self.presentation.as_ref()?.audio.get(source)?.bandwidth,
        }
    }
}

/// Media is put into the buffer in pieces no shorter than this: about as long as a chunk.
const STEP: Duration = Duration::from_millis(100);
/// No segment is longer.
const LONGEST: Duration = Duration::from_secs(86_400);
