//! Good or bad, out of one probe after the other.
//!
//! Pure. A node turns bad after some failures in a row and good again after more successes in a row. Invariant: one lost
//! packet changes nothing.

use std::collections::BTreeSet;

use tidegate_contract::telemetry::{Probe, SelfTest};

/// What is thought of the node.
#[derive(Debug, Clone)]
pub struct Verdict {
    test: SelfTest,
    against: u32,
}

impl Default for Verdict {
    /// Bad until it has proved itself once.
    fn default() -> Self {
        Self { test: SelfTest::default(), against: SUCCESSES - 1 }
    }
}

impl Verdict {
    /// Takes the outcome of a round of probes.
    pub fn probed(&mut self, failed: BTreeSet<Probe>) -> &SelfTest {
        let is_good = failed.is_empty();
        self.test.failed = failed;
        if is_good == self.test.is_good {
            self.against = 0;
            return &self.test;
        }
        self.against += 1;
        let needed = if is_good { SUCCESSES } else { FAILURES };
        if self.against >= needed {
            self.test.is_good = is_good;
            self.against = 0;
        }
        &self.test
    }
}

const FAILURES: u32 = 3;
const SUCCESSES: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_three_failures_in_a_row_to_turn_and_five_successes_to_turn_back() {
        let mut verdict = Verdict::default();
        let mut probed = |text: &str| {
            let round = |byte: u8| {
                let failed = if byte == b'x' { [Probe::H3].into() } else { BTreeSet::new() };
                if verdict.probed(failed).is_good { '+' } else { '-' }
            };
            text.bytes().map(round).collect::<String>()
        };
        assert_eq!(probed("."), "+", "the first success of its life is enough");
        assert_eq!(probed("xx.xx.xxx"), "++++++++-");
        assert_eq!(probed("....x....."), "---------+");
    }
}
