//! The limits of what is held at a time, all of them here, and the sum that leads to the promised
//! memory. How long a field may be is a rule of the contract, and stands where that field is read.
//!
//! A worker does with 256 MiB whatever is sent to it (with `MALLOC_MMAP_THRESHOLD_=1048576`, as the
//! image has it, and the default `BODY_MAX`). At worst it holds at one moment:
//!
//! | what | limit | MiB |
//! |---|---|---|
//! | bodies and headers that came in and are not settled | [`UNSETTLED_BYTES_MAX`] | 48 |
//! | bodies that are arriving or being unpacked: three of `BODY_MAX` | [`ARRIVING_BYTES`] | 30 |
//! | the text of a body that was packed, or is in another character set | [`TEXT_BYTES`] | 10 |
//! | what one decision takes: a profile of as many fields as fit | [`DECISION_BYTES`] | 107 |
//! | messages that wait beside the lanes | [`DEFERRED_BYTES_MAX`] | 16 |
//! | what an idle worker has | [`IDLE_BYTES`] | 20 |
//! | together | | 231 |
//!
//! The rest is for the statement that is being stored. It holds because only one batch with large
//! bodies ([`LARGE_BODY_BYTES`], packed ones by what they unpack to) is on its way from decision to
//! commit at a time, and because no tree is built of a body whose token is not good, nor while a
//! body is unpacked: that takes the unpacked body and, by zstd, as much again to look back into, or
//! its text in UTF-8. `benches/worst_case` measures a decision, `tests/it/memory` the whole.

/// Bytes in a mebibyte.
const MIB: usize = 1 << 20;

// ---- what comes in

/// Bodies that the window lets the broker send. With more, nothing is asked for until half of it is
/// settled.
pub(crate) const WINDOW_BYTES_MAX: usize = 32 * MIB;

/// With so much or less, something is asked for again.
pub(crate) const WINDOW_RESUME_BYTES: usize = WINDOW_BYTES_MAX / 2;

/// With more bytes that came in and are not settled nothing is read any more. It is more than the
/// window asks for, so that normally nothing waits here: the broker's heartbeats would, too, and a
/// broker that can't send for 15 seconds closes the connection.
pub(crate) const UNSETTLED_BYTES_MAX: usize = 48 * MIB;

/// Three of the default `BODY_MAX`: one for each channel, and what is read ahead.
pub const ARRIVING_BYTES: usize = 30 * MIB;

// ---- what is decided on and stored

/// One default `BODY_MAX`: beside the tree there is one text that it borrows from.
pub const TEXT_BYTES: usize = 10 * MIB;

/// A packed body of more bytes counts as a large one. Smaller ones are unpacked as they come in, to
/// see whether they are large: 2,000 of the worst take less than a second.
pub(crate) const MEASURED_BODY_BYTES: usize = 4 * 1024;

/// The most values of one document: fields and items of arrays at any depth. In the tree a value
/// takes many times its bytes; this keeps 10 MiB of `0,0,0` from taking hundreds.
pub const VALUES_MAX: usize = 1_000_000;

/// What the worst body that `benches/worst_case` knows takes while it is decided on.
pub const DECISION_BYTES: usize = 107 * MIB;

/// A request with a body of so many bytes takes several times as much memory while it is worked on,
/// and long to decide on. Such requests go one batch at a time, and small ones overtake them.
pub(crate) const LARGE_BODY_BYTES: usize = 128 * 1024;

/// Bytes of bodies in one batch of small requests; it bounds the memory of a batch and the size of
/// its statement.
pub(crate) const SMALL_BATCH_BYTES_MAX: usize = MIB;

/// The same while the lane holds much of the batch form.
pub(crate) const BUSY_BATCH_BYTES_MAX: usize = MIB / 4;

/// Bytes of bodies in one batch of large requests; the request that reaches the limit is the last
/// one.
pub(crate) const LARGE_BATCH_BYTES_MAX: usize = 8 * MIB;

/// Of a batch, requests of about this memory are decided on at a time and stored before the rest.
/// Small bodies may say much: ten thousand empty profiles are 30 KB.
pub(crate) const DECIDED_BYTES_MAX: usize = 8 * MIB;

/// What a lane holds of requests in the batch form, in bytes; with more it takes nothing new until
/// some are done. It bounds the memory of what was read but is not stored yet. One request as large
/// as the default `BODY_MAX` is less.
pub(crate) const ENTRIES_BYTES_MAX: usize = 24 * MIB;

/// With more than so much of them it takes small batches only, and no other lane takes large ones.
pub(crate) const ENTRIES_BYTES_ENOUGH: usize = ENTRIES_BYTES_MAX / 3;

/// After a statement as large as this the connection is closed: the client library keeps a buffer
/// of that size for as long as a connection lives, and another one may be next.
pub(crate) const LARGE_STATEMENT_BYTES: usize = MIB;

// ---- what is published

/// With so many messages that wait beside the lanes these wait, too, until some are gone.
pub(crate) const DEFERRED_MESSAGES_MAX: usize = 1000;

/// The same for their bytes.
pub(crate) const DEFERRED_BYTES_MAX: usize = 16 * MIB;

// ---- the promise

/// What a worker has that holds nothing.
pub const IDLE_BYTES: usize = 20 * MIB;

/// What a worker does with.
pub const MEMORY_BYTES: usize = 256 * MIB;

/// What is left for the statement that is being stored: its texts, once in our memory and once in
/// the client library's buffer.
const STORED_BYTES: usize = 2 * LARGE_BATCH_BYTES_MAX;

const _: () = assert!(
    UNSETTLED_BYTES_MAX
        + ARRIVING_BYTES
        + TEXT_BYTES
        + DECISION_BYTES
        + DEFERRED_BYTES_MAX
        + IDLE_BYTES
        + STORED_BYTES
        <= MEMORY_BYTES,
    "the limits do not add up to the promised memory"
);

const _: () = assert!(WINDOW_BYTES_MAX < UNSETTLED_BYTES_MAX);
