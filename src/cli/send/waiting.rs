//! Rows whose answers are awaited, or came before those of earlier rows.

use std::collections::VecDeque;

use super::row::Original;
use crate::broker::requester::ReceivedReply;

/// The rows that are not told of, in the order of the file.
#[derive(Default)]
pub(super) struct Waiting {
    /// The number of the first.
    first: u64,
    rows: VecDeque<WaitingRow>,
    /// The memory that their originals take, about.
    pub(super) bytes: usize,
}

struct WaitingRow {
    original: Option<Original>,
    answer: Option<Answer>,
}

/// What became of a row.
#[derive(Debug)]
pub(super) struct Answer {
    /// A reply, or what reads as one.
    pub(super) body: Vec<u8>,
    /// The code of its header.
    pub(super) code: Option<i64>,
    /// Whether it was asked for.
    pub(super) origin: Origin,
}

/// Where an answer is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A worker.
    Reply,
    /// Ourselves: the row can't be read.
    Unreadable,
    /// An earlier run, whose report is being sent.
    Report,
}

impl Waiting {
    /// Begins with the row of this number.
    pub(super) fn starting_at(first: u64) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Adds a row; returns its number. One that is not sent has its answer.
    pub(super) fn push(&mut self, original: Option<Original>, answer: Option<Answer>) -> u64 {
        self.bytes += original.as_ref().map_or(0, Original::size);
        self.rows.push_back(WaitingRow { original, answer });
        self.first + self.rows.len() as u64 - 1
    }

    /// Takes in a reply. One that answers no row that waits is left out.
    pub(super) fn accept(&mut self, reply: ReceivedReply) {
        let number = reply.correlation_id.parse::<u64>().ok();
        let index = number.and_then(|number| number.checked_sub(self.first));
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(row) = index.and_then(|index| self.rows.get_mut(index)) {
            row.answer.get_or_insert(Answer {
                body: reply.body,
                code: reply.error,
                origin: Origin::Reply,
            });
        }
    }

    /// Hands out the first row, if its answer is there.
    pub(super) fn take(&mut self) -> Option<(Option<Original>, Answer)> {
        let answer = self.rows.front_mut()?.answer.take()?;
        let original = self.rows.pop_front()?.original;
        self.first += 1;
        self.bytes -= original.as_ref().map_or(0, Original::size);
        Some((original, answer))
    }

    /// Leaves out the rows that have no answer: nobody waits for it.
    pub(super) fn forget_open(&mut self) {
        let before = self.rows.len();
        self.rows.retain(|row| row.answer.is_some());
        self.first += (before - self.rows.len()) as u64;
    }

    /// How many rows wait.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(correlation_id: &str) -> ReceivedReply {
        ReceivedReply {
            correlation_id: correlation_id.to_owned(),
            body: correlation_id.as_bytes().to_vec(),
            error: Some(0),
        }
    }

    fn taken(waiting: &mut Waiting) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| waiting.take())
            .map(|(_, answer)| answer.body)
            .collect()
    }

    #[test]
    fn an_answer_waits_for_those_of_earlier_rows() {
        let mut waiting = Waiting::default();
        for number in 0..3 {
            assert_eq!(
                waiting.push(Some(Original::Text("text".to_owned())), None),
                number
            );
        }
        waiting.accept(reply("1"));
        assert!(taken(&mut waiting).is_empty());
        waiting.accept(reply("0"));
        assert_eq!(taken(&mut waiting), [b"0", b"1"]);
        assert_eq!((waiting.len(), waiting.bytes), (1, 4));
        assert_eq!(waiting.push(None, None), 3);
        waiting.accept(reply("3"));
        waiting.accept(reply("2"));
        assert_eq!(taken(&mut waiting), [b"2", b"3"]);
        assert_eq!((waiting.len(), waiting.bytes), (0, 0));
    }

    #[test]
    fn a_row_that_is_not_sent_keeps_its_place() {
        let mut waiting = Waiting::default();
        waiting.push(None, None);
        let answer = Answer {
            body: b"bad".to_vec(),
            code: Some(400),
            origin: Origin::Unreadable,
        };
        waiting.push(None, Some(answer));
        assert!(taken(&mut waiting).is_empty());
        waiting.accept(reply("0"));
        assert_eq!(taken(&mut waiting), [&b"0"[..], b"bad"]);
    }

    #[test]
    fn a_reply_to_nobody_or_a_second_one_is_left_out() {
        let mut waiting = Waiting::default();
        waiting.push(None, None);
        for id in ["x", "-1", "1", "99999999999999999999", "0", "0"] {
            waiting.accept(reply(id));
        }
        assert_eq!(taken(&mut waiting), [b"0"]);
        waiting.accept(reply("0"));
        assert_eq!((taken(&mut waiting).len(), waiting.len()), (0, 0));
    }
}
