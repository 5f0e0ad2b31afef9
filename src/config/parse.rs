//! One small parser per kind of setting. Each says what it wanted.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;

/// `none`, or an address with a port.
pub(super) fn admin_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        "must be an address with a port, such as 0.0.0.0:9464 or [::1]:9464, or none".to_owned()
    })
}

/// A share, from nothing to all.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// The name of a queue or an exchange: an AMQP short string.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.starts_with("amq.") {
        return Err(
            "must be a name of 1 to 255 bytes that does not begin with \"amq.\"".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// An API token: what a header can carry behind `Bearer`.
pub(super) fn token(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| !c.is_ascii_graphic()) {
        return Err("must be a token, which has no blanks or line breaks in it".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

pub(super) fn count<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let value = text
        .parse::<T>()
        .ok()
        .filter(|value| (&min..=&max).contains(&value));
    value.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

fn size(text: &str, min: ByteSize, max: ByteSize) -> Result<u64, String> {
    let value = has_unit(text)
        .then(|| text.parse::<ByteSize>().ok())
        .flatten();
    let value = value.filter(|value| (min..=max).contains(value));
    value
        .map(|value| value.as_u64())
        .ok_or_else(|| format!("must be a size with a unit, such as 10MiB, from {min} to {max}"))
}

/// The largest body, in bytes.
pub(super) fn body_max(text: &str) -> Result<u64, String> {
    size(text, ByteSize::kib(1), ByteSize::mib(128))
}

pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .ok()
        .filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| {
        let [min, max] = [min, max].map(|end| humantime::format_duration(end).to_string());
        format!("must be a duration with a unit, such as 30s, from {min} to {max}")
    })
}

fn has_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphabetic())
}
