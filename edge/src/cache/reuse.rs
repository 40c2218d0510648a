//! May a stored response answer this request now, and if not by itself, what must happen first?
//!
//! The one place where freshness, purges and the freshness lease meet. Pure. Invariants: what was hard-purged is
//! never served; what can change is never served past the lease without asking upstream; a tier below gets
//! nothing stale that it could mistake for fresh.

use std::time::{Duration, SystemTime};

use super::{freshness::Freshness, purge::Verdict, wishes::Wishes};

/// Everything the answer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The time of day.
    pub now: SystemTime,
    /// How long the response counts.
    pub freshness: &'a Freshness,
    /// What purges say of it.
    pub verdict: Verdict,
    /// Whether every purge is known here.
    pub is_certain: bool,
    /// For how long after its last confirmation a mutable response is served while purges may be unknown.
    pub uncertain_age_max: Duration,
    /// Whether the request was made before the response arrived, that is, it waited for this very fill.
    pub waited_for_it: bool,
    /// Whether another node asks for its own cache: it has its own rules for what is stale.
    pub is_for_child: bool,
    /// For how long a soft-purged response is served while it is revalidated when it grants no window itself.
    pub soft_window: Duration,
    /// What the client wishes.
    pub wishes: Wishes,
}

/// What to do with the stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it.
    Serve,
    /// Serve it stale, and revalidate it in the background.
    ServeAndRevalidate,
    /// Ask upstream whether it still holds; when that fails it may be served, or not.
    Revalidate {
        /// Whether it may be served when upstream fails, be it by an answer that is an error.
        on_error: bool,
        /// Whether it may be served when upstream gives no answer at all.
        if_unreachable: bool,
    },
    /// As if it were not there.
    Refetch,
}

/// Answers the question.
#[must_use]
pub fn decide(question: &Question<'_>) -> Reuse {
    let Question { now, freshness, wishes, .. } = *question;
    match question.verdict {
        Verdict::Hard => return Reuse::Refetch,
        Verdict::Suspect => return revalidate(question),
        Verdict::Soft { at } => return after_soft_purge(question, at),
        Verdict::Valid => {}
    }
    if is_doubtful(question) {
        return revalidate(question);
    }
    if question.waited_for_it && !freshness.always_revalidate {
        return Reuse::Serve; // whatever it wishes: the answer was made for it
    }
    let age = freshness.age(now);
    if wishes.refuse(age, freshness.lifetime.saturating_sub(age)) {
        return revalidate(question);
    }
    let is_wished = wishes.max_stale.is_some_and(|window| freshness.may_serve_on_wish(window, now));
    if freshness.is_fresh(now) || (is_wished && !question.is_for_child) {
        Reuse::Serve
    } else if freshness.may_serve_while_revalidating(now) && !question.is_for_child {
        Reuse::ServeAndRevalidate
    } else {
        revalidate(question)
    }
}

fn revalidate(question: &Question<'_>) -> Reuse {
    let Question { now, freshness, .. } = *question;
    let is_fresh = freshness.is_fresh(now);
    Reuse::Revalidate {
        on_error: is_fresh || freshness.may_serve_on_error(now),
        if_unreachable: is_fresh || freshness.may_serve_when_unreachable(now),
    }
}

/// A soft purge is the operator's word that stale is fine for a while, unless the response forbids it.
fn after_soft_purge(question: &Question<'_>, at: SystemTime) -> Reuse {
    let Question { now, freshness, wishes, .. } = *question;
    let since = now.duration_since(at).unwrap_or_default();
    let window = question.soft_window.max(freshness.stale_while_revalidate);
    let is_servable = freshness.is_fresh(now) || freshness.may_serve_while_revalidating(now);
    let is_refused = wishes.refuse(freshness.age(now), Duration::ZERO);
    let is_allowed = !freshness.forbids_stale && !question.is_for_child && !is_doubtful(question);
    if is_allowed && is_servable && !is_refused && since < window {
        return Reuse::ServeAndRevalidate;
    }
    match revalidate(question) {
        Reuse::Revalidate { .. } if freshness.forbids_stale => {
            Reuse::Revalidate { on_error: false, if_unreachable: false }
        }
        other => other,
    }
}

/// A purge of it may have been missed.
fn is_doubtful(question: &Question<'_>) -> bool {
    !question.is_certain
        && !question.freshness.is_immutable
        && question.freshness.resident(question.now) > question.uncertain_age_max
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const REVALIDATE: Reuse = Reuse::Revalidate { on_error: true, if_unreachable: true };

    /// Fresh for 10 s, then 5 s stale-while-revalidate, 20 s stale-if-error, 40 s if unreachable; received at 0.
    fn freshness() -> Freshness {
        Freshness {
            received_at: at(0),
            initial_age: Duration::ZERO,
            lifetime: secs(10),
            stale_while_revalidate: secs(5),
            stale_if_error: secs(20),
            stale_if_unreachable: secs(40),
            always_revalidate: false,
            forbids_stale: false,
            is_for_shared: false,
            is_immutable: false,
        }
    }

    fn question(freshness: &Freshness, now: u64) -> Question<'_> {
        Question {
            now: at(now),
            freshness,
            verdict: Verdict::Valid,
            is_certain: true,
            uncertain_age_max: secs(2),
            waited_for_it: false,
            is_for_child: false,
            soft_window: secs(60),
            wishes: Wishes::default(),
        }
    }

    #[test]
    fn time_alone_leads_from_fresh_over_stale_to_revalidation() {
        let freshness = freshness();
        for (now, expected) in [
            (9, Reuse::Serve),
            (10, Reuse::ServeAndRevalidate),
            (14, Reuse::ServeAndRevalidate),
            (15, Reuse::Revalidate { on_error: true, if_unreachable: true }),
            (30, Reuse::Revalidate { on_error: false, if_unreachable: true }),
            (50, Reuse::Revalidate { on_error: false, if_unreachable: false }),
        ] {
            assert_eq!(decide(&question(&freshness, now)), expected, "at {now}");
        }
    }

    #[test]
    fn a_child_is_never_given_something_stale_without_asking_upstream() {
        let freshness = freshness();
        let soft = Verdict::Soft { at: at(1) };
        for (now, verdict) in [(12, Verdict::Valid), (2, soft), (12, soft)] {
            let asked = Question { is_for_child: true, verdict, ..question(&freshness, now) };
            assert_eq!(decide(&asked), REVALIDATE, "at {now}");
        }
    }

    #[test]
    fn a_hard_purge_is_final_and_a_soft_one_serves_stale_for_a_while() {
        let freshness = freshness();
        let hard = Question { verdict: Verdict::Hard, ..question(&freshness, 1) };
        assert_eq!(decide(&hard), Reuse::Refetch);
        let waited = Question { waited_for_it: true, ..hard };
        assert_eq!(decide(&waited), Reuse::Refetch);

        let long = Freshness { lifetime: secs(1000), ..freshness };
        let soft = |now| Question { verdict: Verdict::Soft { at: at(1) }, ..question(&long, now) };
        assert_eq!(decide(&soft(2)), Reuse::ServeAndRevalidate);
        assert_eq!(decide(&soft(61)), REVALIDATE);

        let strict = Freshness { forbids_stale: true, ..long };
        let soft = Question { freshness: &strict, ..soft(2) };
        assert_eq!(decide(&soft), Reuse::Revalidate { on_error: false, if_unreachable: false });
    }

    #[test]
    fn a_node_that_may_have_missed_a_purge_asks_before_it_serves_what_can_change() {
        let mutable = freshness();
        let cut = |freshness, now| Question { is_certain: false, ..question(freshness, now) };
        assert_eq!(decide(&cut(&mutable, 2)), Reuse::Serve, "just confirmed");
        assert_eq!(decide(&cut(&mutable, 3)), REVALIDATE);
        let immutable = Freshness { is_immutable: true, ..mutable };
        assert_eq!(decide(&cut(&immutable, 3)), Reuse::Serve);

        let suspect = Question { verdict: Verdict::Suspect, ..question(&mutable, 1) };
        assert_eq!(decide(&suspect), REVALIDATE);
    }

    #[test]
    fn a_request_that_waited_for_the_fill_may_have_it_although_it_is_never_fresh() {
        let never_fresh = Freshness { lifetime: Duration::ZERO, ..freshness() };
        let never_fresh = Freshness { stale_while_revalidate: Duration::ZERO, ..never_fresh };
        let waited = Question { waited_for_it: true, ..question(&never_fresh, 0) };
        assert_eq!(decide(&waited), Reuse::Serve);
        let no_cache = Freshness { always_revalidate: true, ..never_fresh };
        let waited = Question { freshness: &no_cache, ..waited };
        assert!(matches!(decide(&waited), Reuse::Revalidate { .. }));
    }

    #[test]
    fn a_wish_makes_a_request_to_upstream_or_takes_something_stale() {
        let freshness = freshness();
        let with = |wishes, now| Question { wishes, ..question(&freshness, now) };
        let no_cache = Wishes { no_cache: true, ..Wishes::default() };
        assert_eq!(decide(&with(no_cache, 1)), REVALIDATE);
        let waited = Question { waited_for_it: true, ..with(no_cache, 1) };
        assert_eq!(decide(&waited), Reuse::Serve, "the answer is younger than the wish");
        let max_age = Wishes { max_age: Some(secs(3)), ..Wishes::default() };
        assert_eq!(decide(&with(max_age, 3)), Reuse::Serve);
        assert_eq!(decide(&with(max_age, 4)), REVALIDATE);
        assert_eq!(decide(&with(max_age, 12)), REVALIDATE, "not even while it is revalidated");
        let min_fresh = Wishes { min_fresh: Some(secs(5)), ..Wishes::default() };
        assert_eq!(decide(&with(min_fresh, 5)), Reuse::Serve);
        assert_eq!(decide(&with(min_fresh, 6)), REVALIDATE);
        let max_stale = Wishes { max_stale: Some(secs(30)), ..Wishes::default() };
        assert_eq!(decide(&with(max_stale, 39)), Reuse::Serve);
        assert_ne!(decide(&with(max_stale, 40)), Reuse::Serve);
        let soft = Question { verdict: Verdict::Soft { at: at(1) }, ..with(no_cache, 2) };
        assert_eq!(decide(&soft), REVALIDATE);
    }

    #[test]
    fn no_wish_overrides_what_the_origin_forbids() {
        let wishes = Wishes { max_stale: Some(secs(30)), ..Wishes::default() };
        let strict = Freshness { forbids_stale: true, ..freshness() };
        let shared = Freshness { is_for_shared: true, ..freshness() };
        let always = Freshness { always_revalidate: true, ..freshness() };
        for freshness in [strict, shared, always] {
            let asked = Question { wishes, ..question(&freshness, 20) };
            assert_eq!(decide(&asked), REVALIDATE, "{freshness:?}");
        }
        let purged = Question { wishes, verdict: Verdict::Hard, ..question(&strict, 1) };
        assert_eq!(decide(&purged), Reuse::Refetch);
    }
}
