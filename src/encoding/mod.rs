//! What a message says of its body's bytes: how they are packed, and in which character set their
//! text is; and the way back to plain UTF-8.

pub mod charset;
pub mod coding;
pub mod declared;
pub mod unknown;
pub mod unpack;
mod zstd_frames;
