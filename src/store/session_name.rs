//! What our sessions are called in `pg_stat_activity`.

use super::migrations;

/// Their name unless `DATABASE_URL` has an `application_name`.
pub(super) const APPLICATION_NAME: &str = "profile-worker";

/// The name of a session, with the last migration that this program knows: by that a contracting
/// migration sees whether somebody older is still there. PostgreSQL cuts names off at 63 bytes.
pub(super) fn known_as(name: &str) -> String {
    const NAME_BYTES_MAX: usize = 63 - "/99999".len();
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}/{}", &name[..end], migrations::last_number())
}
