//! Names that are nearly those of a field.

/// The field that a name is most likely meant for, of which it is not the name: the two differ in
/// case, blanks, underscores, hyphens, or in a prefix that ends with a colon, and in nothing else.
pub fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let mut known = known.into_iter();
    known.find(|known| *known != name && letters(known).eq(letters(name)))
}

/// What two names are compared by.
fn letters(name: &str) -> impl Iterator<Item = char> {
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    let counts = |c: &char| !c.is_whitespace() && !matches!(c, '_' | '-');
    local.chars().filter(counts).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_differs_in_how_it_is_written_only_is_meant() {
        let known = ["email", "phones", "_fname", "_postal_code"];
        for (name, meant_name) in [
            ("Email", "email"),
            (" email", "email"),
            ("EMAIL\u{a0}", "email"),
            ("e-mail", "email"),
            ("fname", "_fname"),
            ("_FName", "_fname"),
            ("__fname", "_fname"),
            ("ns:email", "email"),
            ("a:b:_fname", "_fname"),
            ("postalCode", "_postal_code"),
            ("_postal code", "_postal_code"),
        ] {
            assert_eq!(meant(name, known), Some(meant_name), "{name}");
        }
        for name in [
            "email", "_fname", "mail", "emails", "phone", "", "_", ":", "code",
        ] {
            assert_eq!(meant(name, known), None, "{name}");
        }
    }
}
