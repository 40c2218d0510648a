//! The whole system, told as stories over one running system of real processes.
//!
//! The stories are told in order, since some end what others need: the last ones kill what the PoPs live from.
//! Run one with its name as an argument; those that make the video are always told first.

// A story that cannot go on ends; what was told goes to the test's output.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod bad_input;
mod browser;
mod dns;
mod loss;
mod playback;
mod purge;
mod runbook;
mod scenario;
mod stage;
mod upgrade;
mod upload;
mod viewers;

use std::{
    panic::AssertUnwindSafe,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use tidegate_system_test::system::System;

use self::stage::Stage;

type Story = for<'a> fn(&'a mut Stage) -> BoxFuture<'a, ()>;

macro_rules! stories {
    ($($story:path,)*) => {
        [$((stringify!($story), (|stage| $story(stage).boxed()) as Story)),*]
    };
}

fn main() -> ExitCode {
    let stories = stories![
        upload::an_upload_broken_by_a_crash_is_resumed,
        upload::a_job_whose_packager_was_killed_is_finished_by_another,
        upload::the_same_content_again_is_not_made_again,
        playback::every_byte_of_every_segment_is_that_of_the_object_store,
        playback::ffmpeg_decodes_all_frames_of_hls_and_dash,
        playback::renditions_can_be_switched_at_the_same_instants,
        dns::clients_get_the_pop_near_them_and_operators_hear_why,
        browser::browsers_and_independent_parsers_accept_it,
        viewers::fifty_viewers_cost_one_fetch_per_tier,
        viewers::a_slow_client_that_comes_first_slows_nobody,
        purge::a_purge_with_wait_is_seen_by_the_next_request_everywhere,
        purge::a_changed_manifest_of_a_real_video_is_seen_everywhere,
        purge::a_fill_that_began_before_the_purge_does_not_bring_the_old_back,
        purge::a_pop_that_was_cut_off_during_a_purge_serves_the_new,
        purge::a_body_that_comes_with_the_purge_is_served_everywhere_without_a_fetch,
        dns::a_pop_that_dies_is_out_of_answers,
        browser::a_player_whose_pop_dies_is_steered_by_the_other,
        scenario::a_storm_of_purges_is_noticed_by_no_viewer,
        scenario::viewers_of_a_pop_that_is_killed_go_on_at_another,
        scenario::a_configuration_goes_out_and_back_and_an_origin_stands_still,
        scenario::a_search_for_the_knee_ends_with_a_rate,
        runbook::the_runbooks_do_what_they_say,
        upgrade::a_node_is_upgraded_and_no_purge_is_missed_meanwhile,
        bad_input::wrong_requests_get_the_documented_error,
        bad_input::inputs_that_are_no_video_fail_with_a_reason,
        bad_input::a_video_that_was_cut_off_plays_as_far_as_it_goes,
        loss::pops_go_on_without_control_plane_and_origin,
        loss::a_crash_of_everything_loses_nothing,
    ];
    let asked = Asked::of(std::env::args().skip(1));
    let wanted: Vec<_> = stories.iter().filter(|(name, _)| asked.wants(name)).collect();
    if asked.is_list || wanted.is_empty() {
        for (name, _) in wanted {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    // What makes the video is told in any case.
    let is_told =
        |(n, (name, _)): &(usize, &(&str, Story))| *n < VIDEO_STORIES || asked.wants(name);
    let told: Vec<_> =
        stories.iter().enumerate().filter(is_told).map(|(_, story)| *story).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(tell(&told))
}

/// What the command line asks for, in the words of Rust's own test harness.
struct Asked {
    is_list: bool,
    is_ignored: bool,
    is_exact: bool,
    filters: Vec<String>,
}

impl Asked {
    fn of(arguments: impl Iterator<Item = String>) -> Self {
        let mut asked =
            Self { is_list: false, is_ignored: false, is_exact: false, filters: Vec::new() };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => asked.is_list = true,
                "--ignored" => asked.is_ignored = true,
                "--exact" => asked.is_exact = true,
                "--format" | "--test-threads" | "--skip" | "--color" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => asked.filters.push(argument),
            }
        }
        asked
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| {
            if self.is_exact { name == filter } else { name.contains(filter.as_str()) }
        };
        !self.is_ignored && (self.filters.is_empty() || self.filters.iter().any(fits))
    }
}

/// Tells stories in order; the first that fails ends it, since those after it build on it.
async fn tell(stories: &[(&str, Story)]) -> ExitCode {
    let began = Instant::now();
    let mut stage = Stage::new(System::start().await).await;
    println!("the system is up after {:.1} s", began.elapsed().as_secs_f64());
    for (name, story) in stories {
        let began = Instant::now();
        let told = AssertUnwindSafe(story(&mut stage)).catch_unwind();
        let told = tokio::time::timeout(STORY_TIME_MAX, told).await;
        let seconds = began.elapsed().as_secs_f64();
        let failure = match told {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("failed"),
            Err(_) => Some("takes too long"),
        };
        if failure.is_some() {
            stage.system.print_logs();
        }
        println!("story {name} ... {} ({seconds:.1} s)", failure.unwrap_or("ok"));
        if failure.is_some() {
            return ExitCode::FAILURE;
        }
    }
    stage.system.stop().await;
    println!("{} stories told in {:.1} s", stories.len(), began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// The first stories upload the video that others play.
const VIDEO_STORIES: usize = 2;
/// The longest story, on a debug build and a busy machine.
const STORY_TIME_MAX: Duration = Duration::from_secs(600);
