//! What the other commands need.

use std::net::SocketAddr;

use super::parse::{admin_address, name};
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

    /// What `send` needs: the broker and the request queue.
    pub fn sender(mut self) -> Result<(BrokerUrl, String), Problems> {
        let url = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let queue = self.read(setting::REQUEST_QUEUE, name);
        self.finish(url.zip(queue))
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
