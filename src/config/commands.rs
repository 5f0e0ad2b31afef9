//! What the other commands need.

use std::net::SocketAddr;

use super::parse::{admin_address, body_max, name, token};
use super::setting;
use super::source::{Problems, Source};
use crate::broker::url::BrokerUrl;
use crate::store::url::DatabaseUrl;

impl Source {
    /// What the operator's commands need.
    pub fn database(mut self) -> Result<DatabaseUrl, Problems> {
        let url = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        self.finish(url)
    }

    /// What `send` needs: the broker, the request queue, and the token of requests without one.
    pub fn sender(mut self) -> Result<(BrokerUrl, String, Option<String>), Problems> {
        let url = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let queue = self.read(setting::REQUEST_QUEUE, name);
        let token = if self.has(setting::API_TOKEN) {
            self.read(setting::API_TOKEN, token).map(Some)
        } else {
            Some(None)
        };
        let all = url.zip(queue).zip(token);
        self.finish(all.map(|((url, queue), token)| (url, queue, token)))
    }

    /// What `send` needs to check requests without sending them: the largest body, in bytes.
    pub fn checker(mut self) -> Result<u64, Problems> {
        let body_max = self.read(setting::BODY_MAX, body_max);
        self.finish(body_max)
    }

    /// What `health` needs: where the worker listens.
    pub fn admin(mut self) -> Result<SocketAddr, Problems> {
        let address = self.read(setting::ADMIN_ADDR, |text| match admin_address(text)? {
            Some(address) if address.port() != 0 => Ok(address),
            _ => Err("must be the address that the worker listens on".to_owned()),
        });
        self.finish(address)
    }

    /// What `try` needs: the broker, the request queue and the database.
    pub fn trial(mut self) -> Result<(BrokerUrl, String, DatabaseUrl), Problems> {
        let broker = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let queue = self.read(setting::REQUEST_QUEUE, name);
        let database = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        let all = broker.zip(queue).zip(database);
        self.finish(all.map(|((broker, queue), database)| (broker, queue, database)))
    }
}
