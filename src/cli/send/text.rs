//! The text of a file: which encoding it is in, and how it becomes UTF-8 on the way.

use std::io::{self, Read};
use std::str;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};

/// What is said of a row that has other bytes than its file's encoding has.
pub(super) const FOREIGN_BYTES: &str =
    "has bytes that are not of the file's encoding: see --encoding";

/// The encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Charset {
    /// What it is.
    pub(super) encoding: &'static Encoding,
    /// How that is known.
    pub(super) known_by: KnownBy,
}

/// How an encoding is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownBy {
    /// The command line says so.
    Flag,
    /// The file begins with a byte order mark.
    Mark,
    /// All of its beginning is valid UTF-8.
    Validity,
    /// The frequencies of its letters.
    Guess,
}

impl Charset {
    /// Says which it is and how that is known, for people.
    pub(super) fn describe(self) -> String {
        let name = self.encoding.name();
        match self.known_by {
            KnownBy::Flag | KnownBy::Validity => name.to_owned(),
            KnownBy::Mark => format!("{name} by its byte order mark"),
            KnownBy::Guess => format!("{name} by a guess, --encoding sets another"),
        }
    }

    /// Looks at the beginning of a file. An error says why it is no text.
    pub(super) fn of(head: &[u8], told: Option<&'static Encoding>) -> Result<Self, &'static str> {
        let found = |encoding, known_by| Ok(Self { encoding, known_by });
        if let Some(encoding) = told {
            return found(encoding, KnownBy::Flag);
        }
        if let Some((encoding, _)) = Encoding::for_bom(head) {
            return found(encoding, KnownBy::Mark);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0") {
            return Err("is a workbook or an archive: save it as CSV in UTF-8");
        }
        if head.contains(&0) {
            return Err("has bytes 0: is it UTF-16? Then say so: --encoding utf-16le, or utf-16be");
        }
        match str::from_utf8(head) {
            Ok(_) => return found(UTF_8, KnownBy::Validity),
            // A character that the end of what was read cuts in half.
            Err(error) if error.error_len().is_none() => return found(UTF_8, KnownBy::Validity),
            Err(_) => {}
        }
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(head, true);
        found(detector.guess(None, Utf8Detection::Deny), KnownBy::Guess)
    }
}

/// Reads the name of an encoding, such as `windows-1251`.
pub(super) fn encoding(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        "must be an encoding of the web, such as utf-8, utf-16le, windows-1251, windows-1252, \
         iso-8859-2, shift_jis or gbk"
            .to_owned()
    })
}

/// Bytes of any encoding, read as UTF-8 without a byte order mark. What is not of the encoding
/// becomes U+FFFD.
pub(super) struct Decoded<R> {
    bytes: R,
    decoder: Decoder,
    input: Window,
    text: Window,
    state: State,
    /// Bytes of text that may still be read.
    budget: usize,
    is_damaged: bool,
    /// Whether its lines end with CR LF, once one has ended.
    has_crlf: Option<bool>,
}

/// A buffer, and what of it is to be read.
struct Window {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    /// All bytes are read.
    Ended,
    /// And the decoder has said its last.
    Finished,
}

const BUFFER_BYTES: usize = 64 * 1024;

/// The largest row: as large as the largest request that a worker can be made to take. One whose
/// quote is not closed would else take all of the file.
const ROW_BYTES_MAX: usize = 128 << 20;

impl Window {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl<R> Decoded<R> {
    pub(super) fn new(bytes: R, encoding: &'static Encoding) -> Self {
        Self {
            bytes,
            decoder: encoding.new_decoder_with_bom_removal(),
            input: Window::new(),
            text: Window::new(),
            state: State::Reading,
            budget: ROW_BYTES_MAX,
            is_damaged: false,
            has_crlf: None,
        }
    }

    /// A row begins.
    pub(super) fn begin_row(&mut self) {
        self.budget = ROW_BYTES_MAX;
    }

    /// Whether anything was not of the encoding so far. The reader may be ahead of who asks.
    pub(super) const fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Whether its lines end with CR LF.
    pub(super) fn has_crlf(&self) -> bool {
        self.has_crlf.unwrap_or_default()
    }
}

impl<R: Read> Decoded<R> {
    /// Reads and decodes the next piece, if there is one.
    fn decode(&mut self) -> io::Result<()> {
        if self.state == State::Reading && self.input.unread().is_empty() {
            self.input.start = 0;
            self.input.end = self.bytes.read(&mut self.input.buffer)?;
            if self.input.end == 0 {
                self.state = State::Ended;
            }
        }
        let has_ended = self.state == State::Ended;
        let (input, text) = (self.input.unread(), &mut self.text.buffer);
        let (result, read, written, is_damaged) =
            self.decoder.decode_to_utf8(input, text, has_ended);
        self.input.start += read;
        (self.text.start, self.text.end) = (0, written);
        self.is_damaged |= is_damaged;
        if has_ended && result == CoderResult::InputEmpty {
            self.state = State::Finished;
        }
        if self.has_crlf.is_none() {
            let text = self.text.unread();
            let first = text.iter().position(|byte| *byte == b'\n');
            self.has_crlf = first.map(|at| text[..at].ends_with(b"\r"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.text.unread().is_empty() && self.state != State::Finished {
            self.decode()?;
        }
        let size = self.text.unread().read(out)?;
        self.text.start += size;
        self.budget = self.budget.checked_sub(size).ok_or_else(|| {
            let most = ROW_BYTES_MAX >> 20;
            io::Error::other(format!(
                "a row is larger than {most} MiB: is a quote not closed?"
            ))
        })?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252};

    use super::*;

    /// What spreadsheets write, and how it is known.
    #[test]
    fn the_encoding_is_found() {
        let russian = "Имя;Фамилия;Город\nИван;Петров;Москва\nМария;Сидорова;Казань\n";
        let german = "Vorname;Straße;Ort\nJürgen;Königsstraße 5;München\nJörg;Gäßchen 1;Köln\n";
        let japanese = "名前,住所\n山田太郎,東京都千代田区\n鈴木花子,大阪市北区\n";
        let encoded = |text: &str, encoding: &'static Encoding| encoding.encode(text).0.to_vec();
        let utf16 = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            b"\xff\xfe".iter().copied().chain(units).collect()
        };
        for (source, head, wanted, known_by) in [
            ("Google Sheets", russian.into(), UTF_8, KnownBy::Validity),
            (
                "Excel, CSV UTF-8",
                [b"\xef\xbb\xbf", russian.as_bytes()].concat(),
                UTF_8,
                KnownBy::Mark,
            ),
            (
                "Excel, Unicode text",
                utf16(russian),
                UTF_16LE,
                KnownBy::Mark,
            ),
            (
                "the other order",
                b"\xfe\xff\0a".to_vec(),
                UTF_16BE,
                KnownBy::Mark,
            ),
            (
                "Excel, CSV on a Russian Windows",
                encoded(russian, WINDOWS_1251),
                WINDOWS_1251,
                KnownBy::Guess,
            ),
            (
                "Excel, CSV on a German Windows",
                encoded(german, WINDOWS_1252),
                WINDOWS_1252,
                KnownBy::Guess,
            ),
            (
                "Excel, CSV on a Japanese Windows",
                encoded(japanese, SHIFT_JIS),
                SHIFT_JIS,
                KnownBy::Guess,
            ),
            (
                "cut in half by the end",
                "a;é".as_bytes()[..3].to_vec(),
                UTF_8,
                KnownBy::Validity,
            ),
        ] {
            let charset = Charset::of(&head, None).unwrap();
            assert_eq!(charset.encoding, wanted, "{source}");
            assert_eq!(charset.known_by, known_by, "{source}");
        }
    }

    #[test]
    fn the_command_line_wins_and_what_is_no_text_is_told() {
        let told = Charset::of(b"\xef\xbb\xbfa", Some(WINDOWS_1251)).unwrap();
        assert_eq!(told.encoding, WINDOWS_1251);
        for head in [&b"PK\x03\x04..."[..], b"\xd0\xcf\x11\xe0", b"a\0b\0"] {
            assert!(Charset::of(head, None).is_err());
        }
        assert_eq!(encoding("CP1251"), Ok(WINDOWS_1251));
        assert!(encoding("cp850").is_err());
    }

    fn decoded(bytes: &[u8], encoding: &'static Encoding) -> (String, bool) {
        let mut reader = Decoded::new(bytes, encoding);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        (text, reader.is_damaged())
    }

    #[test]
    fn a_file_is_read_as_utf8() {
        let long = "Пример;".repeat(50_000);
        let bytes = WINDOWS_1251.encode(&long).0;
        assert_eq!(decoded(&bytes, WINDOWS_1251), (long, false));
        assert_eq!(
            decoded(b"\xff\xfea\0\x3d\xd8\0\xde", UTF_16LE),
            ("a😀".to_owned(), false)
        );
        assert_eq!(decoded(b"\xef\xbb\xbfa", UTF_8), ("a".to_owned(), false));
        assert_eq!(decoded(b"", UTF_8), (String::new(), false));
    }

    #[test]
    fn damage_is_seen() {
        assert_eq!(decoded(b"a\xffb", UTF_8), ("a\u{fffd}b".to_owned(), true));
        assert_eq!(decoded(b"a\xd0", UTF_8), ("a\u{fffd}".to_owned(), true));
        // The character itself is none.
        assert!(!decoded("\u{fffd}".as_bytes(), UTF_8).1);
    }
}
