//! A URL that names several servers, in libpq's form:
//! `scheme://user:password@one:1,two,[::3]:3/rest`.
//!
//! `AMQP_URL` and `DATABASE_URL` have it in common. The libraries behind them read URLs of one
//! server, so it is taken apart before; what else a URL says is left to them.

/// One URL for each server, which says the same but for the server.
pub(crate) fn one_by_one(url: &str) -> Result<Vec<String>, String> {
    let begin = url.find("://").map_or(0, |index| index + 3);
    let end = url[begin..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |index| begin + index);
    // A password may hold an @ where whoever wrote it forgot to encode it.
    let begin = url[begin..end]
        .rfind('@')
        .map_or(begin, |index| begin + index + 1);
    let (before, hosts, after) = (&url[..begin], &url[begin..end], &url[end..]);
    let several = hosts.contains(',');
    let each = |host: &str| {
        let host = host.trim();
        if several && (host.is_empty() || host.starts_with(':')) {
            return Err("a host is empty in the list of hosts".to_owned());
        }
        Ok(format!("{before}{host}{after}"))
    };
    hosts.split(',').map(each).collect()
}

/// A host and its port for people; an IPv6 address stands in brackets.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_a_url_of_its_own() {
        for (url, expected) in [
            ("amqp://one", &["amqp://one"][..]),
            (
                "amqp://u:p@one:1/%2f?a=b,c",
                &["amqp://u:p@one:1/%2f?a=b,c"],
            ),
            (
                "amqp://u:p,@one:1,two/v",
                &["amqp://u:p,@one:1/v", "amqp://u:p,@two/v"],
            ),
            (
                "x://u:p@ss@[::1]:1,[::2], three:3?q",
                &[
                    "x://u:p@ss@[::1]:1?q",
                    "x://u:p@ss@[::2]?q",
                    "x://u:p@ss@three:3?q",
                ],
            ),
            ("postgres:///d?host=/run", &["postgres:///d?host=/run"]),
        ] {
            assert_eq!(one_by_one(url).unwrap(), expected, "{url}");
        }
        for url in ["amqp://one,", "amqp://u@,two", "amqp://one,:5672"] {
            assert!(one_by_one(url).is_err(), "{url}");
        }
    }
}
