//! A buffer that frames go through, where some of them are looked at and mended.

use std::io;

/// How much is read or written at a time.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The largest frame that is held until all of it is there. RabbitMQ's own limit is 128 KiB where
/// its operators set no other.
const HELD_MAX_BYTES: usize = 16 << 20;

const HEAD_BYTES: usize = 7;
const METHOD_ID_BYTES: usize = 4;

/// The types of frames. A protocol header is no frame, but may come in the place of the first.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const PROTOCOL_HEADER: u8 = b'A';
const PROTOCOL_HEADER_BYTES: usize = 8;

/// Class and method.
pub(crate) type MethodId = (u16, u16);

/// Which frames are looked at, and what becomes of them.
pub trait Rules {
    /// Whether a method is to be looked at. All others pass.
    fn wants(&self, method: (u16, u16)) -> bool;

    /// Another payload for a method that is wanted; none if it may pass as it is.
    fn method(
        &mut self,
        channel: u16,
        id: (u16, u16),
        payload: &[u8],
    ) -> io::Result<Option<Vec<u8>>>;

    /// Another payload for a content header; none if it may pass as it is.
    fn header(&mut self, channel: u16, payload: &[u8]) -> io::Result<Option<Vec<u8>>>;
}

/// Bytes on their way in one direction.
#[derive(Debug)]
pub struct Filter<R> {
    rules: R,
    /// Three parts: what was given away, what may be, and what is not looked at yet.
    buffer: Vec<u8>,
    given: usize,
    checked: usize,
    end: usize,
    /// Bytes of the frame at hand that pass, and have not come yet.
    passing: u64,
}

/// What the first bytes of a frame say.
struct Head {
    kind: u8,
    channel: u16,
    payload: usize,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let &[kind, a, b, s0, s1, s2, s3] = bytes.first_chunk::<HEAD_BYTES>()?;
        let payload = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).ok()?;
        Some(Self {
            kind,
            channel: u16::from_be_bytes([a, b]),
            payload,
        })
    }

    fn total(&self) -> usize {
        HEAD_BYTES.saturating_add(self.payload).saturating_add(1)
    }
}

/// What is to be done with the frame at hand.
enum Look {
    /// The next so many bytes pass.
    Pass(u64),
    /// More must come before anything can be said.
    Wait,
    /// All of it is there and is to be looked at.
    Whole(Head, Option<MethodId>),
}

impl<R: Rules> Filter<R> {
    /// Nothing is under way yet.
    pub fn new(rules: R) -> Self {
        Self {
            rules,
            buffer: Vec::new(),
            given: 0,
            checked: 0,
            end: 0,
            passing: 0,
        }
    }

    /// Where the next bytes are to be put: see [`Self::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.given > 0 {
            self.buffer.copy_within(self.given..self.end, 0);
            (self.checked, self.end) = (self.checked - self.given, self.end - self.given);
            self.given = 0;
        }
        // A large frame that was held leaves no large buffer behind.
        self.buffer.resize(self.end + CHUNK_BYTES, 0);
        self.buffer.shrink_to(4 * CHUNK_BYTES);
        &mut self.buffer[self.end..]
    }

    /// Takes so many bytes that were put into the space; fails if they can't be what they should
    /// be.
    pub fn filled(&mut self, count: usize) -> io::Result<()> {
        self.end += count;
        while self.step()? {}
        Ok(())
    }

    /// What may go on.
    pub fn ready(&self) -> &[u8] {
        &self.buffer[self.given..self.checked]
    }

    /// Notes that so many bytes went on.
    pub fn gave(&mut self, count: usize) {
        self.given += count;
    }

    /// Goes one frame on, or to where a frame begins; false if more must come first.
    fn step(&mut self) -> io::Result<bool> {
        let rest = &self.buffer[self.checked..self.end];
        if self.passing > 0 {
            let count = rest
                .len()
                .min(usize::try_from(self.passing).unwrap_or(usize::MAX));
            self.checked += count;
            self.passing -= count as u64;
            return Ok(self.passing == 0);
        }
        match self.look(rest)? {
            Look::Pass(count) => self.passing = count,
            Look::Wait => return Ok(false),
            Look::Whole(head, method) => self.mend(&head, method)?,
        }
        Ok(true)
    }

    fn look(&self, rest: &[u8]) -> io::Result<Look> {
        if rest.first() == Some(&PROTOCOL_HEADER) {
            return Ok(Look::Pass(PROTOCOL_HEADER_BYTES as u64));
        }
        let Some(head) = Head::of(rest) else {
            return Ok(Look::Wait);
        };
        let method = match head.kind {
            BODY | HEARTBEAT => return Ok(Look::Pass(head.total() as u64)),
            HEADER => None,
            METHOD if head.payload >= METHOD_ID_BYTES => {
                let Some(id) = method_id(&rest[HEAD_BYTES..]) else {
                    return Ok(Look::Wait);
                };
                if !self.rules.wants(id) {
                    return Ok(Look::Pass(head.total() as u64));
                }
                Some(id)
            }
            // No frame of AMQP: the library says so, and nothing more is parsed.
            _ => return Ok(Look::Pass(u64::MAX)),
        };
        if head.total() > HELD_MAX_BYTES {
            let text = format!(
                "a frame of {} bytes: lower the broker's frame_max",
                head.total()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(if rest.len() < head.total() {
            Look::Wait
        } else {
            Look::Whole(head, method)
        })
    }

    fn mend(&mut self, head: &Head, method: Option<MethodId>) -> io::Result<()> {
        let frame = self.checked..self.checked + head.total();
        let payload = &self.buffer[frame.start + HEAD_BYTES..frame.end - 1];
        let mended = match method {
            Some(id) => self.rules.method(head.channel, id, payload)?,
            None => self.rules.header(head.channel, payload)?,
        };
        let Some(payload) = mended else {
            self.checked = frame.end;
            return Ok(());
        };
        let frame_end = self.buffer[frame.end - 1];
        let mended = write_frame(head, &payload, frame_end)?;
        self.checked = frame.start + mended.len();
        self.buffer.truncate(self.end);
        self.buffer.splice(frame, mended);
        self.end = self.buffer.len();
        Ok(())
    }
}

fn method_id(payload: &[u8]) -> Option<MethodId> {
    let [a, b, c, d] = *payload.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn write_frame(head: &Head, payload: &[u8], frame_end: u8) -> io::Result<Vec<u8>> {
    let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len() + 1);
    frame.push(head.kind);
    frame.extend_from_slice(&head.channel.to_be_bytes());
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(frame_end);
    Ok(frame)
}
