//! What is stored as the arrays that a statement takes, one element per row.

use std::time::SystemTime;

use super::super::email::hash::Hash;
use super::super::time::system_time;
use crate::domain::email::Email;
use crate::domain::hex::Hex;
use crate::domain::identity::RequestId;
use crate::domain::moment::Moment;
use crate::domain::profile::NewProfile;
use crate::domain::value::Json;

pub(super) fn texts(ids: &[Hex<24>]) -> Vec<&str> {
    ids.iter().map(Hex::as_str).collect()
}

/// PostgreSQL counts from 1.
pub(super) fn index(row: &tokio_postgres::Row) -> usize {
    let index: i64 = row.get(0);
    usize::try_from(index - 1).unwrap_or(0)
}

/// The arrays of the statement, one element per row.
pub(super) struct Columns<'a> {
    pub(super) profiles: ProfileColumns<'a>,
    pub(super) subscriptions: SubscriptionColumns<'a>,
}

#[derive(Default)]
pub(super) struct ProfileColumns<'a> {
    pub(super) db_id: Vec<i64>,
    pub(super) id: Vec<Hex<24>>,
    pub(super) email: Vec<Option<&'a str>>,
    pub(super) email_hash: Vec<Option<Hash>>,
    pub(super) data: Vec<&'a str>,
    pub(super) request_id: Vec<Option<&'a [u8]>>,
    pub(super) created_at: Vec<SystemTime>,
}

#[derive(Default)]
pub(super) struct SubscriptionColumns<'a> {
    pub(super) db_id: Vec<i64>,
    pub(super) profile_id: Vec<Hex<24>>,
    pub(super) position: Vec<i32>,
    pub(super) resource_id: Vec<i64>,
    pub(super) channel: Vec<&'a str>,
    pub(super) address: Vec<&'a str>,
    pub(super) status: Vec<&'a str>,
    pub(super) priority: Vec<Option<i64>>,
    pub(super) cats: Vec<Option<&'a str>>,
    pub(super) custom_fields: Vec<Option<&'a str>>,
    pub(super) date: Vec<Option<SystemTime>>,
    pub(super) ip: Vec<Option<String>>,
    pub(super) url: Vec<Option<&'a str>>,
    pub(super) created_at: Vec<SystemTime>,
}

impl<'a> ProfileColumns<'a> {
    pub(super) fn of(profiles: impl Iterator<Item = &'a NewProfile>) -> Self {
        let mut columns = Self::default();
        for profile in profiles {
            columns.push(profile);
        }
        columns
    }

    fn push(&mut self, profile: &'a NewProfile) {
        self.db_id.push(profile.db_id);
        self.id.push(profile.id.hex());
        self.email.push(profile.email.as_ref().map(Email::address));
        self.email_hash
            .push(profile.email.as_ref().map(|email| Hash(email.key())));
        self.data.push(profile.data.as_str());
        self.request_id.push(
            profile
                .request_id
                .as_ref()
                .map(|RequestId(bytes)| &bytes[..]),
        );
        self.created_at.push(system_time(profile.added_at));
    }
}

impl<'a> Columns<'a> {
    pub(super) fn of(profiles: impl Iterator<Item = &'a NewProfile>) -> Self {
        let mut columns = Self {
            profiles: ProfileColumns::default(),
            subscriptions: SubscriptionColumns::default(),
        };
        for profile in profiles {
            columns.profiles.push(profile);
            columns.subscriptions.extend(profile);
        }
        columns
    }
}

impl<'a> SubscriptionColumns<'a> {
    fn extend(&mut self, profile: &'a NewProfile) {
        for (position, subscription) in (0..).zip(&profile.subscriptions) {
            self.db_id.push(profile.db_id);
            self.profile_id.push(profile.id.hex());
            self.position.push(position);
            self.resource_id.push(subscription.resource_id);
            self.channel.push(subscription.channel.name());
            self.address.push(&subscription.address);
            self.status.push(&subscription.status);
            self.priority.push(subscription.priority);
            self.cats.push(subscription.cats.as_ref().map(Json::as_str));
            self.custom_fields
                .push(subscription.custom_fields.as_ref().map(Json::as_str));
            self.date.push(subscription.date.map(Moment::system_time));
            self.ip.push(subscription.ip.map(|ip| ip.to_string()));
            self.url.push(subscription.url.as_deref());
            self.created_at.push(system_time(profile.added_at));
        }
    }
}
