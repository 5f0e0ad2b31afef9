//! The file, or standard input: its beginning, the rest, and how far it is read.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cli::output::Failure;

/// An open file whose beginning is known.
pub(super) struct Input {
    /// Its name, as it was given.
    pub(super) name: String,
    /// Its beginning.
    pub(super) head: Vec<u8>,
    /// How far it is read.
    pub(super) position: Position,
    rest: Box<dyn Read + Send>,
}

/// How far a file is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    read: Arc<AtomicU64>,
    /// All bytes there are, if that is known.
    pub(super) size: Option<u64>,
}

impl Position {
    /// Bytes that were read.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// Enough for a guess of what a file is. Memory is bounded by this, whatever its size.
pub(super) const HEAD_BYTES: u64 = 1 << 20;

impl Input {
    /// Opens a file, or standard input for "-", and reads so many bytes of it.
    pub(super) fn open(name: &str, head_bytes: u64) -> Result<Self, Failure> {
        let mut size = None;
        let mut rest: Box<dyn Read + Send> = if name == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(name);
            let file =
                file.map_err(|error| Failure::new(format_args!("can't open {name}: {error}")))?;
            let metadata = file.metadata().ok();
            size = metadata
                .filter(|data| data.is_file())
                .map(|data| data.len());
            Box::new(file)
        };
        let mut head = Vec::new();
        rest.by_ref()
            .take(head_bytes)
            .read_to_end(&mut head)
            .map_err(|error| unreadable(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            head,
            position: Position {
                read: Arc::default(),
                size,
            },
            rest,
        })
    }

    /// The whole file, from its beginning.
    pub(super) fn bytes(&mut self) -> Box<dyn Read + Send> {
        let rest = std::mem::replace(&mut self.rest, Box::new(io::empty()));
        Box::new(Counted {
            bytes: Cursor::new(std::mem::take(&mut self.head)).chain(rest),
            read: self.position.read.clone(),
        })
    }
}

/// Says that a file can't be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(format_args!("can't read {name}: {error}"))
}

struct Counted<R> {
    bytes: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
