//! Round trips above transport: an answer that provably waited for what was asked, from [`EventKind::Ask`] and
//! [`EventKind::Answer`] events.
//!
//! Reads: events. Emits: one sample a closed loop, on the side of who answered.
//! Bias: never shorter than the loop, because the question is timed by its last byte and the answer by its first;
//! longer by what the answering program computes before it answers (each method says what that is) and by queues.
//! A question repeated before its answer makes the sample ambiguous, timed from the first one.
//! Over TCP an answer must acknowledge the question: what does not left before the question came, whatever it says.

use crate::base::{Direction, Event, EventKind, Loop, RttSample, Side, Timestamp};

/// At most this many questions are open at once in one flow.
const OPEN: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Question {
    at: Timestamp,
    dir: Direction,
    of: Loop,
    repeated: bool,
    /// Over TCP, what acknowledges it.
    end: Option<u32>,
}

/// The open questions of one flow.
#[derive(Debug, Default)]
pub struct Turnaround {
    open: Vec<Question>,
    /// Of the segment at hand: who sent it, where it ends, and what it acknowledges.
    segment: Option<(Direction, u32, u32)>,
}

impl Turnaround {
    /// The events that follow come from a segment of `dir` that ends at this sequence number and acknowledges that one.
    pub const fn on_segment(&mut self, dir: Direction, end: u32, ack: u32) {
        self.segment = Some((dir, end, ack));
    }

    /// An event of the flow's analyzer.
    pub fn on_event(&mut self, event: &Event) -> Option<RttSample> {
        match event.kind {
            EventKind::Ask(of) => {
                // Some analyzers tell a question only with its answer; then its segment is gone.
                let end = self.segment.filter(|(dir, ..)| *dir == event.dir).map(|(_, end, _)| end);
                self.ask(Question { at: event.at, dir: event.dir, of, repeated: false, end });
                None
            }
            EventKind::Answer(of) => self.answer(event.at, event.dir, of),
            _ => None,
        }
    }

    /// `dir` sent again what it had sent: whichever copy the other end answers, the loop may be too long by the wait.
    pub fn on_repeat(&mut self, dir: Direction) {
        self.open.iter_mut().filter(|q| q.dir == dir).for_each(|q| q.repeated = true);
    }

    fn ask(&mut self, question: Question) {
        if let Some(same) = self.open.iter_mut().find(|q| q.of == question.of && q.dir == question.dir) {
            same.repeated = true;
        } else if self.open.len() < OPEN {
            self.open.push(question);
        }
    }

    fn answer(&mut self, at: Timestamp, dir: Direction, of: Loop) -> Option<RttSample> {
        let place = self.open.iter().position(|q| q.of == of && q.dir == dir.flip())?;
        let question = self.open.swap_remove(place);
        let side = match dir {
            Direction::Orig => Side::Client,
            Direction::Resp => Side::Server,
        };
        // Serial number arithmetic (RFC 1982).
        if let (Some(end), Some((sender, _, ack))) = (question.end, self.segment)
            && sender == dir
            && ack.wrapping_sub(end) >= 1 << 31
        {
            return None;
        }
        let rtt = at.since(question.at)?;
        Some(RttSample { at, side, rtt, layer: of.layer, method: of.method, ambiguous: question.repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Layer;
    use std::time::Duration;

    #[test]
    fn only_the_other_end_can_answer() {
        let of = Loop { layer: Layer::Tls, method: "server-hello-done" };
        let event = |ms: i64, dir, kind| Event { at: Timestamp::from_nanos(ms * 1_000_000), dir, kind };
        let mut m = Turnaround::default();
        assert_eq!(m.on_event(&event(0, Direction::Resp, EventKind::Ask(of))), None);
        assert_eq!(m.on_event(&event(5, Direction::Resp, EventKind::Answer(of))), None);
        let sample = m.on_event(&event(40, Direction::Orig, EventKind::Answer(of))).unwrap();
        assert_eq!((sample.rtt, sample.side, sample.ambiguous), (Duration::from_millis(40), Side::Client, false));
        assert_eq!(m.on_event(&event(60, Direction::Orig, EventKind::Answer(of))), None);
        m.on_event(&event(70, Direction::Resp, EventKind::Ask(of)));
        m.on_event(&event(80, Direction::Resp, EventKind::Ask(of)));
        assert!(m.on_event(&event(90, Direction::Orig, EventKind::Answer(of))).unwrap().ambiguous);
    }

    #[test]
    fn an_answer_acknowledges_its_question() {
        let of = Loop { layer: Layer::Tls, method: "settings-ack" };
        let event = |ms: i64, dir, kind| Event { at: Timestamp::from_nanos(ms * 1_000_000), dir, kind };
        for (ack, answers) in [(5, true), (6, true), (4, false), (u32::MAX, false)] {
            let mut m = Turnaround::default();
            m.on_segment(Direction::Resp, 5, 77);
            m.on_event(&event(0, Direction::Resp, EventKind::Ask(of)));
            m.on_segment(Direction::Orig, 78, ack);
            let sample = m.on_event(&event(40, Direction::Orig, EventKind::Answer(of)));
            assert_eq!(sample.is_some(), answers, "{ack}");
        }
    }

    #[test]
    fn a_retransmission_makes_open_questions_ambiguous() {
        let of = Loop { layer: Layer::Tls, method: "server-flight" };
        let event = |ms: i64, dir, kind| Event { at: Timestamp::from_nanos(ms * 1_000_000), dir, kind };
        for (again, ambiguous) in [(Direction::Resp, true), (Direction::Orig, false)] {
            let mut m = Turnaround::default();
            m.on_event(&event(0, Direction::Resp, EventKind::Ask(of)));
            m.on_repeat(again);
            let sample = m.on_event(&event(240, Direction::Orig, EventKind::Answer(of))).unwrap();
            assert_eq!(sample.ambiguous, ambiguous);
        }
    }
}
