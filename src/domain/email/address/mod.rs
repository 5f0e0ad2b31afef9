//! What an email address is, and its canonical form.

use std::borrow::Cow;

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{
    ComposingNormalizer, ComposingNormalizerBorrowed, DecomposingNormalizer,
    DecomposingNormalizerBorrowed,
};
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::key::EmailKey;
use crate::domain::blank::{category, is_hidden, is_space, trim};
use crate::domain::complaint::Complaint;

/// The longest address that SMTP can carry (RFC 5321, section 4.5.3.1.3, less the brackets), and
/// RFC 6531 counts in bytes, too. It holds for an address as it is stored, and with its host in
/// ASCII.
const ADDRESS_BYTES_MAX: usize = 254;

/// What is longer than this is not looked at: composed, no text is shorter than a quarter of it.
const GIVEN_BYTES_MAX: usize = 4 * ADDRESS_BYTES_MAX;

/// The longest local part (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();
const NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfd();
const CASES: CaseMapperBorrowed<'static> = CaseMapper::new();

/// An email address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    address: String,
    canonical: String,
}

impl Email {
    /// Reads an address. Blanks and invisible characters around it do not count.
    ///
    /// The syntax is RFC 5321's with RFC 6531's letters, less what no subscriber's address has:
    /// quotes, comments, a display name, an address literal, a host without a dot.
    ///
    /// # Errors
    ///
    /// What is wrong, in words that follow the path and a colon. Nothing of the text is in them but
    /// the number of a character.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let address = composed(text)?;
        let (local, host) = parts(&address)?;
        let canonical = format!("{}@{host}", folded(local));
        Ok(Self {
            address: address.into_owned(),
            canonical,
        })
    }

    /// As it was given, trimmed, in NFC: what is stored and shown.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What all spellings of this address have in common. It is for comparison: mail may not arrive
    /// there.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The canonical form as the database keeps it.
    pub fn key(&self) -> EmailKey {
        EmailKey::of(&self.canonical)
    }
}

/// Reads an address of which only the spelling is wanted: as [`Email::parse`], for less.
pub fn address(text: &str) -> Result<String, Complaint> {
    let address = composed(text)?;
    parts(&address)?;
    Ok(address.into_owned())
}

/// The canonical form of an address that was read before; of what is none, the text itself.
pub fn canonical(address: &str) -> Cow<'_, str> {
    // Of ASCII only A-labels are written in two ways that differ in more than case.
    if address.is_ascii() && !address.contains("--") {
        return in_small_letters(address);
    }
    Email::parse(address).map_or(Cow::Borrowed(address), |email| Cow::Owned(email.canonical))
}

const NO_ADDRESS: &str = "not an email address";
const NO_HOST: &str =
    "not an email address: after the @ must be a domain name, such as example.com";

fn too_long() -> Complaint {
    format!("{NO_ADDRESS}: more than {ADDRESS_BYTES_MAX} bytes").into()
}

/// What is left of a text without what can't be seen around it, in NFC.
fn composed(text: &str) -> Result<Cow<'_, str>, Complaint> {
    let given = trim(text);
    if given.len() > GIVEN_BYTES_MAX {
        return Err(too_long());
    }
    match hidden_character(text, given) {
        Some(hidden) => Err(hidden),
        None if given.is_ascii() => Ok(Cow::Borrowed(given)),
        None => Ok(NFC.normalize(given)),
    }
}

/// What stands before the `@`, and the host in ASCII.
fn parts(address: &str) -> Result<(&str, Cow<'_, str>), Complaint> {
    let (local, host) = address.split_once('@').ok_or(NO_ADDRESS)?;
    check_local(local)?;
    let host = ascii_host(host).ok_or(NO_HOST)?;
    if address.len().max(local.len() + 1 + host.len()) > ADDRESS_BYTES_MAX {
        return Err(too_long());
    }
    Ok((local, host))
}

/// The first character of `given`, a part of `text`, that nobody can see, by number and place.
fn hidden_character(text: &str, given: &str) -> Option<Complaint> {
    if given.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (at, hidden) = given.char_indices().find(|(_, c)| is_hidden(*c))?;
    // `given` begins where the trimmed characters of `text` end.
    let before = text.find(given).unwrap_or(0) + at;
    let position = text
        .get(..before)
        .map_or(0, |before| before.chars().count())
        + 1;
    let kind = if is_space(hidden) {
        "a blank"
    } else {
        "an invisible"
    };
    Some(
        format!(
            "has {kind} character U+{:04X} at position {position}",
            u32::from(hidden)
        )
        .into(),
    )
}

/// A local part of atoms (RFC 5322, section 3.2.3, dot-atom), with letters, marks and digits of all
/// scripts (RFC 6531, section 3.3, less signs and symbols).
fn check_local(local: &str) -> Result<(), Complaint> {
    if let Some(other) = local.chars().find(|c| *c != '.' && !is_atom_character(*c)) {
        let number = u32::from(other);
        return Err(
            format!("{NO_ADDRESS}: before the @ must not be the character U+{number:04X}").into(),
        );
    }
    // A mark without its letter would be drawn over what stands before it.
    if local
        .split('.')
        .any(|atom| atom.chars().next().is_none_or(is_mark))
    {
        return Err(NO_ADDRESS.into());
    }
    if local.len() > LOCAL_BYTES_MAX {
        return Err(format!("{NO_ADDRESS}: more than {LOCAL_BYTES_MAX} bytes before the @").into());
    }
    Ok(())
}

/// The ASCII characters of an atom (RFC 5322, section 3.2.3, atext).
const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

fn is_atom_character(c: char) -> bool {
    if c.is_ascii() {
        return is_atext(c as u8);
    }
    let category = category(c);
    [
        GeneralCategoryGroup::Letter,
        GeneralCategoryGroup::Mark,
        GeneralCategoryGroup::Number,
    ]
    .iter()
    .any(|group| group.contains(category))
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && GeneralCategoryGroup::Mark.contains(category(c))
}

/// The host as DNS knows it: labels of letters, digits and hyphens in lower case. `None` if it has
/// none, or is a name without a dot, or something that is no name of a domain: its last label has
/// one character, or digits only (RFC 3696, section 2).
///
/// A hyphen in third and fourth place is allowed: such hosts exist.
fn ascii_host(host: &str) -> Option<Cow<'_, str>> {
    let host = Uts46::new().to_ascii(
        host.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    let host = host.ok()?;
    let (_, last) = host.rsplit_once('.')?;
    let is_name = last.len() > 1 && !last.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_assigned(&host)).then_some(host)
}

/// Whether all characters of a host mean something to this version of Unicode. The library takes
/// some that do not, and what they will be mapped to nobody knows.
fn is_assigned(host: &str) -> bool {
    if !host.split('.').any(|label| label.starts_with("xn--")) {
        return true;
    }
    let (host, _) = Uts46::new().to_unicode(
        host.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
    );
    !host.chars().any(|c| {
        matches!(
            category(c),
            GeneralCategory::Unassigned | GeneralCategory::PrivateUse
        )
    })
}

/// The canonical form of a local part: that of Unicode's canonical caseless match, composed again.
fn folded(local: &str) -> Cow<'_, str> {
    if local.is_ascii() {
        return in_small_letters(local);
    }
    let folded = CASES.fold_string(&NFD.normalize(local)).into_owned();
    // Folding may leave marks out of order (D145 decomposes once more; to compose does that, too).
    Cow::Owned(NFC.normalize(&folded).into_owned())
}

fn in_small_letters(ascii: &str) -> Cow<'_, str> {
    match ascii.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(ascii.to_ascii_lowercase()),
        false => Cow::Borrowed(ascii),
    }
}

#[cfg(test)]
mod tests;
