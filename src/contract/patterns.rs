//! Patterns for the texts of kinds, which both schemas have. They are written in what the regular
//! expressions of ECMA-262, Python, XML Schema and XPath have in common, but for the escapes of
//! characters (`\u00a0`), for which XML Schema has the characters themselves.
//!
//! Whatever they match is accepted, but for emails with other characters than those of ASCII. They
//! know the usual ones of the characters that nobody sees, the usual ways to put brackets into a
//! phone number, time zones as IANA writes them, and leap seconds in UTC.

use crate::domain::channel::Channel;
use crate::domain::kind::Kind;
use crate::domain::parse::{STATUSES, time_zones};

/// The blanks and invisible characters that do not count around a value, for a class.
pub(super) const BLANKS: &str =
    "\\u0020\\u007f-\\u00a0\\u00ad\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u3000\\ufeff";

/// What separates the digits of a phone number, for a class.
const SEPARATORS: &str = "\\u0009\\u0020\\-./\\u00a0\\u00ad\\u2000-\\u2015\\u2028-\\u202f\\u205f-\\u2064\\u2212\\u3000\\ufeff";

/// The pattern of a text of this kind that is no number, without what may be around it; `None`
/// where any will do.
pub(super) fn pattern(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Email => email(),
        Kind::Phone => phone(),
        Kind::Country => "[A-Za-z]{2}".to_owned(),
        Kind::Ip => format!("{}|{}", ipv4(), ipv6()),
        Kind::Date => date(),
        Kind::DateTime => date_time(),
        Kind::DateOrDateTime => format!("{}|{}", date(), date_time()),
        Kind::TimeZone => one_of(time_zones()),
        Kind::Sex => one_of(["male", "female"]),
        Kind::Status => one_of(STATUSES),
        Kind::Channel => one_of(Channel::ALL.map(Channel::name)),
        _ => return None,
    })
}

/// A pattern of a text with something to see in it: none of the characters of the class `without`,
/// and one that is neither in the class `unseen` nor a blank.
pub(super) fn visible(without: &str, unseen: &str) -> String {
    format!("[^{without}]*[^{without}{unseen}{BLANKS}][^{without}]*")
}

/// A pattern that matches one of these words.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words
        .into_iter()
        .map(|word| word.replace('+', "\\+"))
        .collect();
    words.join("|")
}

/// Numbers in five forms: without brackets; with a zero in them after a country code that does not
/// keep it; with an area code in them, which begins with a zero where that is dialled from abroad;
/// with the country code in them.
fn phone() -> String {
    let s = format!("[{SEPARATORS}]*");
    let more = |least: usize, most: usize| format!("({s}[0-9]){{{least},{most}}}");
    let rest = |least: usize, most: usize| format!("{}{s}", more(least, most));
    let code = format!("[1-9]{}", more(0, 2));
    let zero = format!("{s}\\({s}0{s}\\)");
    let with_zero = [
        format!("[1-9]{zero}{}", rest(6, 14)),
        format!("([124-9][0-9]|3[0-8]){zero}{}", rest(5, 13)),
        format!(
            "([13-9][0-9]{{2}}|2[013-9][0-9]|22[0-46-9]){zero}{}",
            rest(4, 12)
        ),
    ];
    format!(
        "([Tt][Ee][Ll]:)?{s}(\\+{s}([1-9]{plain}|{with_zero}|({code}{s}\\({s}[1-9]|(39|225){s}\\({s}0{s}[0-9]){area}{s}\\){end})|\\({s}\\+{s}{code}{s}\\){after})",
        plain = rest(6, 14),
        with_zero = with_zero.join("|"),
        area = more(0, 3),
        end = rest(5, 7),
        after = rest(6, 12),
    )
}

/// Addresses of ASCII as the service has them, less their lengths; of others, of which Unicode says
/// more than a pattern can, the form.
fn email() -> String {
    let atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]+";
    let label = "[A-Za-z0-9]([A-Za-z0-9\\-]*[A-Za-z0-9])?";
    let last = "[A-Za-z]([A-Za-z0-9\\-]*[A-Za-z0-9])|[0-9][A-Za-z0-9\\-]*[A-Za-z]\
        |[0-9][A-Za-z0-9\\-]*[A-Za-z\\-][A-Za-z0-9\\-]*[0-9]";
    let of_ascii = format!("{atom}(\\.{atom})*@({label}\\.)+({last})");
    let beyond = "[^!-~\\s]";
    let dot = "[.\\u3002\\uff0e\\uff61]";
    let local = format!("[^@\\s\"]*{beyond}[^@\\s\"]*@[^@\\s]+{dot}[^@\\s]+");
    let host = format!(
        "[^@\\s\"]+@([^@\\s]*{beyond}[^@\\s]*{dot}[^@\\s]+|[^@\\s]+{dot}[^@\\s]*{beyond}[^@\\s]*)"
    );
    format!("{of_ascii}|{local}|{host}")
}

fn date() -> String {
    let year = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})";
    let of_four = "0[48]|[2468][048]|[13579][26]";
    let long = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])";
    let short = "(0[469]|11)-(0[1-9]|[12][0-9]|30)";
    let february = "02-(0[1-9]|1[0-9]|2[0-8])";
    format!("({year}-({long}|{short}|{february})|([0-9]{{2}}({of_four})|({of_four})00)-02-29)")
}

fn date_time() -> String {
    let hour = "([01][0-9]|2[0-3])";
    let minute = "[0-5][0-9]";
    let fraction = "(\\.[0-9]+)?";
    let offset = format!("([Zz]|[+\\-]{hour}:{minute})");
    format!(
        "{date}[Tt]({hour}:{minute}:{minute}{fraction}{offset}|23:59:60{fraction}([Zz]|[+\\-]00:00))",
        date = date(),
    )
}

fn ipv4() -> String {
    let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    format!("{octet}(\\.{octet}){{3}}")
}

/// RFC 3986, 3.2.2, `IPv6address`.
fn ipv6() -> String {
    let h16 = "[0-9A-Fa-f]{1,4}";
    let ls32 = format!("({h16}:{h16}|{})", ipv4());
    let before = |most: usize| format!("(({h16}:){{0,{most}}}{h16})?::");
    let mut forms = vec![
        format!("({h16}:){{6}}{ls32}"),
        format!("::({h16}:){{5}}{ls32}"),
    ];
    forms.extend((0..5).map(|n| format!("{}({h16}:){{{}}}{ls32}", before(n), 4 - n)));
    forms.push(format!("{}{h16}", before(5)));
    forms.push(before(6));
    forms.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::blank::is_hidden;
    use crate::domain::parse;

    /// The characters of a class that has nothing but escapes such as `\u00a0`, and ranges.
    fn characters(class: &str) -> Vec<char> {
        let number = |escape: &str| u32::from_str_radix(&escape[..4], 16).unwrap();
        let mut characters = Vec::new();
        let mut from = None;
        for escape in class.split("\\u").skip(1) {
            let last = number(escape);
            let first = from.take().unwrap_or(last);
            characters.extend((first..=last).filter_map(char::from_u32));
            from = escape.ends_with('-').then_some(last);
        }
        characters
    }

    #[test]
    fn what_the_schemas_ignore_around_a_value_the_worker_ignores() {
        let blanks = characters(BLANKS);
        assert!(blanks.contains(&'\u{a0}') && blanks.contains(&'\u{2003}'));
        assert!(blanks.iter().all(|c| is_hidden(*c)), "{blanks:?}");
    }

    #[test]
    fn what_separates_digits_in_the_schemas_separates_them_in_the_worker() {
        let separators = characters(&SEPARATORS.replace("\\-./", ""));
        assert!(separators.contains(&'\u{2011}'));
        for separator in separators.into_iter().chain(['-', '.', '/']) {
            let number = parse::phone(&format!("+7{separator}9000000000"));
            assert_eq!(number.as_deref(), Ok("+79000000000"), "{separator:?}");
        }
    }
}
