//! Round trips whose question and answer pass on different flows between the same two addresses (IKE's move to port
//! 4500).
//!
//! Reads: questions and answers that bear the same token. Emits: one sample a closed loop, on the flow of the answer.
//! Bias: as [`super::Turnaround`]'s. Bounded: the newest [`OPEN`] questions of a worker wait. Does not: match a token
//! that both flows read the other way round.

use crate::base::{Direction, Loop, RttSample, Side, Timestamp};
use std::collections::VecDeque;

/// Questions that wait at once: a gateway to which a thousand peers come back at the same moment gets as many within the
/// round trip of the farthest.
const OPEN: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Question {
    at: Timestamp,
    dir: Direction,
    of: Loop,
    token: u64,
    repeated: bool,
}

/// The open questions of one worker.
#[derive(Debug, Default)]
pub struct Across(VecDeque<Question>);

impl Across {
    /// `dir` has sent the question.
    pub fn ask(&mut self, at: Timestamp, dir: Direction, of: Loop, token: u64) {
        if let Some(same) = self.0.iter_mut().find(|q| (q.token, q.of, q.dir) == (token, of, dir)) {
            same.repeated = true;
            return;
        }
        if self.0.len() >= OPEN {
            self.0.pop_front();
        }
        self.0.push_back(Question { at, dir, of, token, repeated: false });
    }

    /// `dir` has sent the answer.
    pub fn answer(&mut self, at: Timestamp, dir: Direction, of: Loop, token: u64) -> Option<RttSample> {
        let place = self.0.iter().position(|q| (q.token, q.of, q.dir) == (token, of, dir.flip()))?;
        let question = self.0.remove(place)?;
        let side = match dir {
            Direction::Orig => Side::Client,
            Direction::Resp => Side::Server,
        };
        let rtt = at.since(question.at)?;
        Some(RttSample { at, side, rtt, layer: of.layer, method: of.method, ambiguous: question.repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Layer;
    use Direction::{Orig, Resp};

    const OF: Loop = Loop { layer: Layer::Ike, method: "auth" };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_token_tells_which_question_is_answered() {
        let mut across = Across::default();
        across.ask(at(0), Resp, OF, 7);
        across.ask(at(1), Resp, OF, 8);
        assert_eq!(across.answer(at(40), Resp, OF, 7), None);
        assert_eq!(across.answer(at(40), Orig, OF, 9), None);
        let sample = across.answer(at(41), Orig, OF, 8).unwrap();
        assert_eq!((sample.rtt.as_millis(), sample.side, sample.ambiguous), (40, Side::Client, false));
        assert_eq!(across.answer(at(42), Orig, OF, 8), None);
        across.ask(at(50), Resp, OF, 7);
        assert!(across.answer(at(90), Orig, OF, 7).unwrap().ambiguous);
    }

    #[test]
    fn the_oldest_question_gives_way() {
        let mut across = Across::default();
        for token in 0..=OPEN as u64 {
            across.ask(at(0), Resp, OF, token);
        }
        assert_eq!(across.0.len(), OPEN);
        assert_eq!(across.answer(at(9), Orig, OF, 0), None);
        assert!(across.answer(at(9), Orig, OF, OPEN as u64).is_some());
    }
}
