//! What must hold of any bytes that a broker sends: what goes on to the client library can be
//! parsed by it, with a small stack, and what it could have parsed by itself goes on as it is.

use std::sync::Arc;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::types::{AMQPValue, FieldTable};
use arbtest::arbitrary::{Result, Unstructured};
use profile_worker::broker::frames::filter::{CHUNK_BYTES, Filter};
use profile_worker::broker::frames::inbound::Inbound;
use profile_worker::broker::frames::set_aside::SetAside;

/// More than any frame grows by that is mended.
const GROWTH_MAX: usize = 320;

/// The library's parser, which has no limit of its own, is given no more: a hundred levels at most.
const PARSED_MAX_BYTES: usize = 500;

/// Deeper and more than anything that goes on.
const DEPTH_MAX: usize = 40;
const VALUES_MAX: usize = 1_000;

/// What is made of a stream that comes in pieces of these sizes, again and again; an error if it is
/// refused.
fn filtered(stream: &[u8], pieces: &[u8]) -> std::io::Result<(Vec<u8>, Arc<SetAside>)> {
    let set_aside = Arc::<SetAside>::default();
    let mut filter = Filter::new(Inbound::new(set_aside.clone()));
    let mut out = Vec::new();
    let mut rest = stream;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(CHUNK_BYTES, |size| usize::from(*size) + 1);
        let (piece, after) = rest.split_at(size.min(rest.len()));
        let space = filter.space();
        assert!(space.len() >= piece.len());
        space[..piece.len()].copy_from_slice(piece);
        filter.filled(piece.len())?;
        // Not all at once, as a slow reader would.
        let count = filter.ready().len().div_ceil(2);
        out.extend_from_slice(&filter.ready()[..count]);
        filter.gave(count);
        rest = after;
    }
    out.extend_from_slice(filter.ready());
    Ok((out, set_aside))
}

/// The frames of a stream up to the first that is none, or not whole.
fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(&[kind, _, _, a, b, c, d]) = stream.first_chunk::<7>() {
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let is_frame = matches!(kind, 2 | 3 | 8) || kind == 1 && size >= 4;
        let Some(frame) = stream.get(..size.saturating_add(8)).filter(|_| is_frame) else {
            break;
        };
        frames.push(frame);
        stream = &stream[frame.len()..];
    }
    frames
}

/// Checks one stream, cut into pieces of these sizes.
pub fn check(stream: &[u8], pieces: &[u8]) {
    let whole = filtered(stream, &[]);
    let in_pieces = filtered(stream, pieces);
    let (Ok((out, set_aside)), Ok((also_out, _))) = (whole, in_pieces) else {
        return;
    };
    assert!(out == also_out, "it depends on the pieces that it comes in");
    let (before, after) = (frames(stream), frames(&out));
    assert_eq!(before.len(), after.len());
    assert!(set_aside.bytes() <= stream.len());
    for (before, after) in before.into_iter().zip(after) {
        check_frame(before, after);
    }
}

fn check_frame(before: &[u8], after: &[u8]) {
    assert!(after.len() <= before.len().max(GROWTH_MAX));
    let is_content = before[0] == 2 && before.len() > 7 + 12;
    if is_content && before.ends_with(&[0xce]) {
        let Ok((_, AMQPFrame::Header(_, header))) = parse_frame(after) else {
            panic!("a content header that can't be parsed goes on");
        };
        let (depth, values) = header.properties.headers().as_ref().map_or((0, 0), measure);
        assert!(
            depth <= DEPTH_MAX && values <= VALUES_MAX,
            "{depth} levels, {values} values"
        );
    }
    if before != after {
        assert!(is_bad(before), "what could be parsed was mended");
    }
}

/// Whether there is a reason to mend a frame. Only for what is small enough to be parsed at all.
fn is_bad(frame: &[u8]) -> bool {
    const RESERVED: &[u8] = b"x-profile-worker-internal-";
    if frame.len() > PARSED_MAX_BYTES
        || frame.windows(RESERVED.len()).any(|bytes| bytes == RESERVED)
    {
        return true;
    }
    // Of equal names the library keeps the last one, so how deep an earlier one was can't be seen
    // there.
    if frame
        .iter()
        .filter(|byte| matches!(byte, b'A' | b'F'))
        .count()
        > 30
    {
        return true;
    }
    match parse_frame(frame) {
        Ok((_, AMQPFrame::Header(_, header))) => {
            let (depth, values) = header.properties.headers().as_ref().map_or((0, 0), measure);
            // Flags that have no meaning, which the library does not look at.
            depth > 30 || values > VALUES_MAX || frame[7 + 12 + 1] & 0b11 != 0
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Depth and number of values.
fn measure(table: &FieldTable) -> (usize, usize) {
    let each = table.into_iter().map(|(_, value)| measure_value(value));
    each.fold((1, 0), |(depth, values), (d, v)| {
        (depth.max(d + 1), values + v)
    })
}

fn measure_value(value: &AMQPValue) -> (usize, usize) {
    match value {
        AMQPValue::FieldTable(table) => {
            let (depth, values) = measure(table);
            (depth, values + 1)
        }
        AMQPValue::FieldArray(array) => {
            let each = array.as_slice().iter().map(measure_value);
            each.fold((1, 1), |(depth, values), (d, v)| {
                (depth.max(d + 1), values + v)
            })
        }
        _ => (0, 1),
    }
}

/// Any bytes, in pieces whose sizes the first of them say.
pub fn bytes_that_pass_can_be_parsed(u: &mut Unstructured<'_>) -> Result<()> {
    let pieces: [u8; 3] = u.arbitrary()?;
    check(u.bytes(u.len())?, &pieces);
    Ok(())
}

/// Frames as a broker might send them, whole and nearly whole.
pub fn frames_that_pass_can_be_parsed(u: &mut Unstructured<'_>) -> Result<()> {
    let mut stream = Vec::new();
    for _ in 0..u.int_in_range(1..=6)? {
        stream.extend(frame(u)?);
    }
    if u.ratio(1, 8)? && !stream.is_empty() {
        let at = u.choose_index(stream.len())?;
        stream[at] = u.arbitrary()?;
    }
    if u.ratio(1, 8)? {
        stream.truncate(u.choose_index(stream.len() + 1)?);
    }
    let pieces: [u8; 3] = u.arbitrary()?;
    check(&stream, &pieces);
    Ok(())
}

fn frame(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (kind, payload) = match u.int_in_range(0..=9)? {
        0 => (
            1,
            [
                &[0, 60, 0, 60][..],
                &short(u)?,
                &[0; 9],
                &short(u)?,
                &short(u)?,
            ]
            .concat(),
        ),
        1 => (
            1,
            [
                &[0, 60, 0, 50, 1, 56][..],
                &short(u)?,
                &short(u)?,
                &short(u)?,
            ]
            .concat(),
        ),
        2 => (
            1,
            [&[0, 20, 0, 40, 1, 148][..], &short(u)?, &[0; 4]].concat(),
        ),
        3 => (3, u.arbitrary()?),
        4 => (8, Vec::new()),
        _ => (
            2,
            [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], &properties(u)?[..]].concat(),
        ),
    };
    let size = payload.len() as u32;
    Ok([
        &[kind, 0, u.int_in_range(1..=2)?][..],
        &size.to_be_bytes(),
        &payload,
        &[0xce],
    ]
    .concat())
}

fn properties(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let flags = u.arbitrary::<u16>()? & if u.ratio(1, 9)? { 0xffff } else { 0xfffc };
    let mut list = flags.to_be_bytes().to_vec();
    for bit in (2..16).rev().filter(|bit| flags & 1 << bit != 0) {
        match bit {
            13 => list.extend(table(u)?),
            12 | 11 => list.push(u.arbitrary()?),
            6 => list.extend(u.arbitrary::<[u8; 8]>()?),
            _ => list.extend(short(u)?),
        }
    }
    Ok(list)
}

/// Mostly texts, now and then of the names that are ours.
fn short(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let bytes = match u.int_in_range(0..=9)? {
        0 => u.bytes(2)?.to_vec(),
        1 => b"x-profile-worker-internal-set-aside".to_vec(),
        _ => u.arbitrary::<String>()?.into_bytes(),
    };
    let size = bytes.len().min(255);
    Ok([&[size as u8], &bytes[..size]].concat())
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn table(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        entries.extend(short(u)?);
        entries.extend(value(u)?);
    }
    Ok(long(&entries))
}

fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = *u.choose(b"tbBsuUIifDlLdTSxVAFAFN")?;
    let value = match kind {
        b'V' => Vec::new(),
        b't' | b'b' | b'B' => u.bytes(1)?.to_vec(),
        b's' | b'u' | b'U' => u.bytes(2)?.to_vec(),
        b'I' | b'i' | b'f' => u.bytes(4)?.to_vec(),
        b'D' => u.bytes(5)?.to_vec(),
        b'l' | b'L' | b'd' | b'T' => u.bytes(8)?.to_vec(),
        b'A' if u.ratio(1, 4)? => nested(u.int_in_range(0..=3_000)?),
        b'A' => long(&value(u)?),
        b'F' => table(u)?,
        _ => long(&u.arbitrary::<Vec<u8>>()?),
    };
    Ok([&[kind][..], &value].concat())
}

/// Arrays in one another.
fn nested(depth: u32) -> Vec<u8> {
    let lengths = (0..depth).rev().map(|inner| inner * 5);
    let mut bytes: Vec<u8> = lengths
        .flat_map(|length| [&length.to_be_bytes()[..], b"A"].concat())
        .collect();
    bytes.pop();
    if depth == 0 { long(&[]) } else { bytes }
}
