//! When the control plane was asked where its log ends.
//!
//! Its answers name the question, so that a node knows of when an answer speaks, however long that was on its way.
//! Invariant: what is not remembered any more was asked before everything that is.

use std::{collections::VecDeque, time::SystemTime};

use super::wire::PurgeAsk;

/// The questions of one lane that may still be answered.
#[derive(Debug)]
pub struct Questions {
    /// Number and time, the oldest first; never empty.
    asked: VecDeque<(u64, SystemTime)>,
}

impl Questions {
    /// A lane began: its hello is question 0.
    #[must_use]
    pub fn begun(now: SystemTime) -> Self {
        Self { asked: VecDeque::from([(0, now)]) }
    }

    /// The next question.
    pub fn ask(&mut self, now: SystemTime) -> PurgeAsk {
        let number = self.asked.back().map_or(0, |(number, _)| number + 1);
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((number, now));
        PurgeAsk { number }
    }

    /// When the question was asked that is answered; `None` when it never was. Older ones are forgotten: no later
    /// answer is to one of them.
    pub fn answered(&mut self, number: u64) -> Option<SystemTime> {
        while self.asked.len() > 1 && self.asked.front().is_some_and(|(old, _)| *old < number) {
            self.asked.pop_front();
        }
        // Of an answer to what was forgotten the oldest that is known says too much: it gets the time of none.
        self.asked.front().filter(|(asked, _)| *asked == number).map(|(_, at)| *at)
    }
}

/// One is asked for each answer, so there are few; a server that answers none gets no more attention than this.
const ASKED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_as_old_as_its_question() {
        let mut questions = Questions::begun(at(1));
        assert_eq!(questions.answered(0), Some(at(1)));
        assert_eq!((questions.ask(at(2)).number, questions.ask(at(3)).number), (1, 2));
        assert_eq!(questions.answered(0), Some(at(1)), "nothing newer was read there");
        assert_eq!(questions.answered(2), Some(at(3)));
        assert_eq!(questions.answered(1), None, "answers do not go back");
        assert_eq!(questions.answered(3), None);
    }

    #[test]
    fn questions_are_bounded() {
        let mut questions = Questions::begun(at(0));
        for second in 1..1000 {
            questions.ask(at(second));
        }
        assert_eq!(questions.asked.len(), ASKED_MAX);
        assert_eq!(questions.answered(999), Some(at(999)));
    }
}
