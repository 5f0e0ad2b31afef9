//! The rules on addresses: which of them a subscription over a channel needs.

use super::kinds::facets;
use crate::domain::address::{self, AddressPart};
use crate::domain::channel::Channel;
use crate::domain::kind::Kind;

/// Makes an XPath test: a subscription over this channel has one of its addresses.
pub(super) fn address_rule(channel: Channel) -> String {
    let alternative = |parts: &&[AddressPart]| {
        parts
            .iter()
            .map(part_rule)
            .collect::<Vec<_>>()
            .join(" and ")
    };
    let alternatives: Vec<_> = address::alternatives(channel)
        .iter()
        .map(alternative)
        .collect();
    format!(
        "not(normalize-space(channel) = '{}') or ({})",
        channel.name(),
        alternatives.join(" or ")
    )
}

/// Makes an XPath test: the part is there, and is what it should be.
fn part_rule(part: &AddressPart) -> String {
    let path = part.path.join("/");
    if part.kind == Kind::Integer {
        let number = format!("xs:decimal(normalize-space({path}))");
        return format!(
            "(if (normalize-space({path}) castable as xs:decimal) then string({number}) castable as xs:long else false())"
        );
    }
    let tests = facets(part.kind).into_iter().map(|(_, pattern)| {
        // A quote in a literal of XPath is written twice.
        let pattern = pattern.replace('\'', "''");
        format!("matches(normalize-space({path}), '^{pattern}$')")
    });
    tests.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_for_its_channel_only() {
        for channel in Channel::ALL {
            let rule = address_rule(channel);
            let name = channel.name();
            let others = format!("not(normalize-space(channel) = '{name}') or (");
            assert!(rule.starts_with(&others), "{rule}");
        }
    }

    #[test]
    fn every_part_of_every_address_is_tested() {
        for channel in Channel::ALL {
            let rule = address_rule(channel);
            for part in address::alternatives(channel).iter().copied().flatten() {
                let path = format!("normalize-space({})", part.path.join("/"));
                assert!(rule.contains(&path), "{rule} has no {path}");
            }
        }
    }
}
