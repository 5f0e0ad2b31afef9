//! `profile-worker contract`

use clap::ValueEnum;

use super::output::{Failure, put};
use crate::contract::xsd::Message;
use crate::contract::{asyncapi, json_schema, xsd};

/// Print the contract for machines: an AsyncAPI document or schemas.
///
/// They are made from the tables that the worker reads requests by. Queues and exchange have the
/// names that they have by default.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// asyncapi: AsyncAPI 3.0, with all schemas. json-schema: JSON Schema, draft 7, of requests,
    /// replies and trigger events. xsd: XML Schema 1.1 of requests or replies.
    #[arg(long, value_name = "FORMAT", default_value = "asyncapi")]
    format: Format,
    /// Of what to print an XML schema, as requests and replies have the same root element.
    #[arg(long, value_name = "MESSAGE", default_value = "request")]
    message: MessageName,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Asyncapi,
    JsonSchema,
    Xsd,
}

#[derive(Clone, Copy, ValueEnum)]
enum MessageName {
    Request,
    Reply,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let json = |document| serde_json::to_string_pretty(&document).map_err(Failure::new);
    put(match arguments.format {
        Format::Asyncapi => json(asyncapi::document())?,
        Format::JsonSchema => json(json_schema::document())?,
        Format::Xsd => xsd::document(match arguments.message {
            MessageName::Request => Message::Request,
            MessageName::Reply => Message::Reply,
        }),
    })
}
