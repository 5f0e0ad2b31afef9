//! Reading ahead: a thread of its own reads the file, so that a slow one holds up no replies.

use std::thread;

use tokio::sync::mpsc;

use super::report::Past;
use super::row::{Content, Row};
use super::rows::Rows;
use crate::cli::output::Failure;

/// Rows that are published at a time.
pub(super) type Chunk = Vec<Row>;

/// As many rows are published at a time,
const ROWS_MAX: usize = 200;

/// or fewer, if they are large.
const BYTES_MAX: usize = 4 << 20;

/// As many chunks are read ahead.
const AHEAD: usize = 2;

/// Begins to read. Rows that a report has already are left out; the file must still have them.
pub(super) fn read(
    rows: Rows,
    past: Option<Past>,
) -> Result<mpsc::Receiver<Result<Chunk, Failure>>, Failure> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reading = move || {
        let mut rows = rows;
        let skipped = past.map_or(Ok(()), |past| skip(&mut rows, past));
        if let Err(failure) = skipped {
            sender.blocking_send(Err(failure)).ok();
            return;
        }
        while let Some(chunk) = next_chunk(&mut rows).transpose() {
            let is_last = chunk.is_err();
            // Nobody listens any more: it was given up.
            if sender.blocking_send(chunk).is_err() || is_last {
                return;
            }
        }
    };
    // It is not waited for: it may stand in a read of a terminal when we end.
    thread::Builder::new()
        .name("file".to_owned())
        .spawn(reading)
        .map_err(Failure::new)?;
    Ok(receiver)
}

/// Reads the next rows; none at the end.
fn next_chunk(rows: &mut Rows) -> Result<Option<Chunk>, Failure> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while chunk.len() < ROWS_MAX && bytes < BYTES_MAX {
        let Some(row) = rows.next().transpose()? else {
            break;
        };
        if let Content::Request(body) = &row.content {
            bytes += body.len();
        }
        chunk.push(row);
    }
    Ok((!chunk.is_empty()).then_some(chunk))
}

fn skip(rows: &mut Rows, mut past: Past) -> Result<(), Failure> {
    let mut number: u64 = 0;
    while let Some(original) = past.next()? {
        number += 1;
        let row = rows.next().transpose()?;
        let line = row.as_ref().and_then(|row| row.place.0);
        if row.and_then(|row| row.original) != Some(original) {
            let place = line.map_or("the end of the file".to_owned(), |line| {
                format!("line {line}")
            });
            return Err(Failure::usage(format_args!(
                "--resume: row {number} of the report is not that of {place}: the file was changed \
                 since. Send it with a new --report: what is equal is not added again"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::cli::send::rows::Source;

    fn rows(text: String) -> Rows {
        let bytes = Box::new(Cursor::new(text.into_bytes()));
        Rows::new("a file".to_owned(), Source::lines(bytes, None), true)
    }

    fn lengths(text: String) -> Vec<usize> {
        let mut rows = rows(text);
        std::iter::from_fn(|| next_chunk(&mut rows).unwrap())
            .map(|chunk| chunk.len())
            .collect()
    }

    #[test]
    fn no_more_than_a_chunk_is_read_at_a_time() {
        assert_eq!(lengths("x\n".repeat(ROWS_MAX + 1)), [ROWS_MAX, 1]);
        assert_eq!(
            lengths((("x".repeat(BYTES_MAX) + "\n").repeat(2)) + "y"),
            [1, 1, 1]
        );
        assert!(lengths(String::new()).is_empty());
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_end() {
        let mut chunks = read(rows("a\nb\n".to_owned()), None).unwrap();
        assert_eq!(chunks.recv().await.unwrap().unwrap().len(), 2);
        assert!(chunks.recv().await.is_none());
    }
}
