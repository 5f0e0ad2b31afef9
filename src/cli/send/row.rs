//! One record of a file: what is sent for it, and how a report repeats it.

use std::fmt;

use csv::StringRecord;

use super::outcome::Outcome;

/// One record of a file.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it stands.
    pub(super) place: Place,
    /// What is to be done with it.
    pub(super) content: Content,
    /// How a report repeats it; `None` where there is no report.
    pub(super) original: Option<Original>,
}

/// Where a record stands: the line that it begins in, from 1 on; `None` where it is the whole file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(pub(super) Option<u64>);

/// As the beginning of what is said of it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

/// What is to be done with a record.
#[derive(Debug)]
pub(super) enum Content {
    /// It is sent.
    Request(Vec<u8>),
    /// No request can be made of it, for this reason.
    Unreadable(String),
    /// The file is a report, and says that this one was added.
    Added(Outcome),
}

/// A record as it stood in the file, without what an earlier report added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Original {
    /// The cells of a table, as many as its header has.
    Cells(StringRecord),
    /// A line, or all of the file.
    Text(String),
}

impl Original {
    /// The memory that it takes, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Cells(cells) => cells.as_slice().len(),
            Self::Text(text) => text.len(),
        }
    }
}
