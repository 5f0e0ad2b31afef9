//! What of a report is whole, whatever ended the process that wrote it. An error says why it is no
//! report of ours.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use csv::ByteRecord;

use super::lines::without_outcome;
use super::outcome::NAMES;

/// What of a report is whole.
#[derive(Default)]
pub(super) struct Extent {
    /// Its rows, without the header.
    pub(super) rows: u64,
    /// Where the last of them ends, in bytes.
    pub(super) end: u64,
}

/// Finds what is whole of a table with these columns, which begins with `head`.
pub(super) fn of_table(
    rows: &mut csv::Reader<File>,
    header: &[String],
    head: &[u8],
) -> Result<Extent, String> {
    let in_words = |error: io::Error| error.to_string();
    let size = rows.get_ref().metadata().map_err(in_words)?.len();
    let (begin, last) = ends(rows.get_ref(), size, head.len()).map_err(in_words)?;
    // Torn within its head, it is begun again; whatever else is short is somebody's.
    if head.starts_with(&begin) && begin.len() < head.len() {
        return Ok(Extent::default());
    }
    let mut extent = Extent::default();
    // Not strings: the end may be torn within a character.
    let mut row = ByteRecord::new();
    let mut is_header = true;
    while rows
        .read_byte_record(&mut row)
        .map_err(|error| error.to_string())?
    {
        let end = rows.position().byte();
        let is_last = end >= size;
        let is_whole = row.len() == header.len() + NAMES.len() && (!is_last || last == Some(b'\n'));
        if !is_whole && is_last && !is_header {
            break;
        }
        let ours = header.iter().map(String::as_str).chain(NAMES);
        let is_ours = ours.map(str::as_bytes).eq(row.iter());
        if (is_header && !is_ours) || !is_whole {
            return Err(format!(
                "line {} is other than it was written",
                row.position().map_or(0, csv::Position::line)
            ));
        }
        extent.rows += u64::from(!is_header);
        extent.end = end;
        is_header = false;
    }
    Ok(extent)
}

/// Finds what is whole of lines.
pub(super) fn of_lines(lines: &mut BufReader<File>) -> Result<Extent, String> {
    let mut extent = Extent::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        let read = read.map_err(|error| error.to_string())?;
        if !line.ends_with(b"\n") {
            // Without one whole row it may be anything.
            return match extent.rows {
                0 if read > 0 => Err("it has no whole line".to_owned()),
                _ => Ok(extent),
            };
        }
        let Ok(text) = str::from_utf8(&line) else {
            return Err("it is not UTF-8".to_owned());
        };
        if without_outcome(text.trim_end()).1.is_none() {
            return Err(format!("line {} has no outcome", extent.rows + 1));
        }
        extent.rows += 1;
        extent.end += read as u64;
    }
}

/// The first bytes of a file, at most so many, and the last one. It is read from where it was.
fn ends(mut file: &File, size: u64, most: usize) -> io::Result<(Vec<u8>, Option<u8>)> {
    let place = file.stream_position()?;
    file.rewind()?;
    let mut begin = Vec::new();
    file.take(most as u64).read_to_end(&mut begin)?;
    let mut last = [0];
    if size > 0 {
        file.seek(SeekFrom::Start(size - 1))?;
        file.read_exact(&mut last)?;
    }
    file.seek(SeekFrom::Start(place))?;
    Ok((begin, (size > 0).then_some(last[0])))
}
