//! Whose fault a failed exchange is, which status it gets, and its name for programs.
//!
//! Every failure of the data path passes here once. Invariant: the answer tells a client nothing of addresses,
//! certificates or files behind the edge.

use tidegate_contract::problem::Problem;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The client: the request cannot be answered as it is.
    Client,
    /// An upstream: it did not answer, or not in time.
    Upstream,
    /// This node.
    Edge,
}

/// What a failed exchange is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Who has to act.
    pub blame: Blame,
    /// The status; 0 when there is nobody left to answer.
    pub status: u16,
    /// The kind of problem, for programs and labels.
    pub kind: &'static str,
    /// The kind in a few words.
    pub title: &'static str,
}

impl Blame {
    /// The word in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Edge => "edge",
        }
    }
}

impl Failure {
    /// No property serves the host.
    pub const UNKNOWN_HOST: Self =
        Self::new(Blame::Client, 421, "unknown-host", "no property serves this host");
    /// The request passed this node before.
    pub const LOOP: Self = Self::new(Blame::Client, 508, "loop", "the request runs in a circle");
    /// There is no configuration yet.
    pub const NO_POLICY: Self =
        Self::new(Blame::Edge, 503, "not-configured", "this node has no configuration yet");
    /// The client wants a stored response and there is none.
    pub const NOT_STORED: Self =
        Self::new(Blame::Client, 504, "only-if-cached", "there is no stored response");
    /// The request's target or host cannot be read.
    pub const BAD_REQUEST: Self =
        Self::new(Blame::Client, 400, "bad-request", "the request cannot be understood");
    /// A condition of the request does not hold.
    pub const PRECONDITION: Self =
        Self::new(Blame::Client, 412, "precondition", "a condition of the request does not hold");
    /// No upstream could be connected to.
    pub const UNREACHABLE: Self =
        Self::new(Blame::Upstream, 502, "upstream-unreachable", "no upstream can be reached");
    /// An upstream did not answer in time.
    pub const TIMEOUT: Self =
        Self::new(Blame::Upstream, 504, "upstream-timeout", "the upstream did not answer in time");
    /// An upstream broke off or made no sense.
    pub const BROKEN: Self =
        Self::new(Blame::Upstream, 502, "upstream-failed", "the upstream's answer failed");
    /// Our own.
    pub const INTERNAL: Self =
        Self::new(Blame::Edge, 500, "internal", "this node could not answer");
    /// The client is gone.
    pub const GONE: Self = Self::new(Blame::Client, 0, "client-gone", "the client is gone");

    const fn new(blame: Blame, status: u16, kind: &'static str, title: &'static str) -> Self {
        Self { blame, status, kind, title }
    }

    /// An upstream answered another request for the same resource with this status, and will not be asked again for
    /// each that waited.
    #[must_use]
    pub const fn refused(status: u16) -> Self {
        Self::new(Blame::Upstream, status, "upstream-status", "the upstream answered with an error")
    }

    /// The answer's body.
    #[must_use]
    pub fn problem(self) -> Problem {
        Problem::new(self.status, self.kind, self.title, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_status_and_the_name_of_its_failure() {
        let problem = Failure::refused(503).problem();
        assert_eq!((problem.status, problem.kind.as_str()), (503, "/problem/upstream-status"));
        assert_eq!(Failure::LOOP.problem().status, 508);
    }
}
