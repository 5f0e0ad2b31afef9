//! Replies in the order of their requests.

use std::collections::BTreeMap;

use crate::broker::requester::ReceivedReply;

/// Replies that came before those of earlier requests.
#[derive(Default)]
pub(super) struct Replies {
    /// By the request's number.
    early: BTreeMap<u64, ReceivedReply>,
}

impl Replies {
    /// Takes in a reply. One that answers no request of ours is left out.
    pub(super) fn accept(&mut self, reply: ReceivedReply) {
        if let Ok(number) = reply.correlation_id.parse() {
            self.early.insert(number, reply);
        }
    }

    /// Hands out the reply to the request of this number, if it has come.
    pub(super) fn take(&mut self, number: u64) -> Option<ReceivedReply> {
        self.early.remove(&number)
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

    fn taken(replies: &mut Replies, from: u64) -> Vec<Vec<u8>> {
        (from..)
            .map_while(|number| replies.take(number))
            .map(|reply| reply.body)
            .collect()
    }

    #[test]
    fn a_reply_waits_for_those_of_earlier_requests() {
        let mut replies = Replies::default();
        replies.accept(reply("1"));
        replies.accept(reply("10"));
        assert!(taken(&mut replies, 0).is_empty());
        replies.accept(reply("0"));
        assert_eq!(taken(&mut replies, 0), [b"0", b"1"]);
        assert_eq!(taken(&mut replies, 10), [b"10"]);
    }

    #[test]
    fn a_reply_to_somebody_else_is_left_out() {
        let mut replies = Replies::default();
        replies.accept(reply("x"));
        replies.accept(reply("-1"));
        assert!(replies.early.is_empty());
    }
}
