//! The AsyncAPI 3 document: who sends what to which queue or exchange, with which properties.

use serde_json::{Value, json};

use super::json_schema::{References, definitions};
use crate::config::{Setting, setting};

/// The document, with the names that queues and exchange have by default.
pub(crate) fn document() -> Value {
    let at = References("#/components/schemas/");
    let mut schemas = definitions(at);
    let headers = [
        ("requestHeaders", request_headers()),
        ("replyHeaders", reply_headers()),
        ("deadLetterHeaders", dead_letter_headers()),
    ];
    schemas.extend(
        headers
            .into_iter()
            .map(|(name, schema)| (name.to_owned(), schema)),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "profile-worker",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Adds profiles to databases. Requests and replies may also be XML (content type \
                            application/xml), in which the same fields are elements; `profile-worker contract \
                            --format xsd` prints its schema.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "requests": queue(setting::REQUEST_QUEUE, "Requests to add profiles", "request"),
            "replies": {
                // The producer's own queue, or RabbitMQ's direct reply-to.
                "address": null,
                "description": "Where the request's reply_to says",
                "messages": {"reply": message_reference("reply")},
            },
            "results": queue(setting::RESULT_QUEUE, "Replies without another place to go", "reply"),
            "deadLetters": queue(setting::DEAD_LETTER_QUEUE, "Messages that can't be read or stored", "deadLetter"),
            "events": {
                "address": "profile.added.{db_id}",
                "description": "Trigger events, by routing key",
                "parameters": {"db_id": {"description": "The database"}},
                "messages": {"event": message_reference("event")},
                "bindings": {"amqp": {
                    "is": "routingKey",
                    "exchange": {"name": setting::EVENT_EXCHANGE.default, "type": "topic", "durable": true, "autoDelete": false},
                    "bindingVersion": "0.3.0",
                }},
            },
        },
        "operations": {
            "addProfile": {
                "action": "receive",
                "summary": "Add a profile, or many",
                "channel": {"$ref": "#/channels/requests"},
                "messages": [{"$ref": "#/channels/requests/messages/request"}],
                "bindings": {"amqp": {"ack": true, "bindingVersion": "0.3.0"}},
                "reply": {
                    "address": {
                        "description": "The property reply_to; without it, the result queue",
                        "location": "$message.header#/replyTo",
                    },
                    "channel": {"$ref": "#/channels/replies"},
                    "messages": [{"$ref": "#/channels/replies/messages/reply"}],
                },
            },
            "keepReply": send("results", "reply", "Reply to a request without reply_to, or with nobody behind it"),
            "announceProfile": send("events", "event", "Announce an added profile, unless skip_triggers"),
            "keepDeadLetter": send("deadLetters", "deadLetter", "Keep what can't be read or stored"),
        },
        "components": {
            "schemas": schemas,
            "messages": {
                "request": {
                    "name": "profiles.add",
                    "title": "Request to add a profile",
                    "summary": "message_id makes it safe to send again; correlation_id comes back with the reply",
                    "headers": at.to("requestHeaders"),
                    "payload": at.to("request"),
                    "correlationId": {"location": "$message.header#/correlationId"},
                },
                "reply": {
                    "name": "profiles.add.result",
                    "title": "Reply to a request",
                    "headers": at.to("replyHeaders"),
                    "payload": at.to("reply"),
                    "correlationId": {"location": "$message.header#/correlationId"},
                },
                "event": {
                    "name": "profile.added",
                    "title": "Trigger event",
                    "summary": "message_id is <profile_id>.profile.added, the same on every repetition",
                    "headers": {
                        "type": "object",
                        "properties": {
                            "messageId": {"type": "string"},
                            "traceparent": {"type": "string", "description": "As in the request"},
                            "tracestate": {"type": "string", "description": "As in the request"},
                        },
                    },
                    "payload": at.to("event"),
                },
                "deadLetter": {
                    "name": "dead letter",
                    "title": "A message as it came, with the reason",
                    "headers": at.to("deadLetterHeaders"),
                    "payload": {"description": "The body, untouched"},
                },
            },
        },
    })
}

fn queue(name: Setting, description: &str, message: &str) -> Value {
    json!({
        "address": name.default,
        "description": description,
        "messages": {message: message_reference(message)},
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": name.default, "durable": true, "exclusive": false, "autoDelete": false},
            "bindingVersion": "0.3.0",
        }},
    })
}

fn send(channel: &str, message: &str, summary: &str) -> Value {
    json!({
        "action": "send",
        "summary": summary,
        "channel": {"$ref": format!("#/channels/{channel}")},
        "messages": [{"$ref": format!("#/channels/{channel}/messages/{message}")}],
        "bindings": {"amqp": {"deliveryMode": 2, "bindingVersion": "0.3.0"}},
    })
}

fn message_reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/messages/{name}")})
}

fn request_headers() -> Value {
    json!({
        "type": "object",
        "description": "The properties messageId, correlationId, replyTo, contentType and contentEncoding are those of AMQP.",
        "properties": {
            "messageId": {"type": "string", "maxLength": 255, "description": "Idempotency key, together with the body"},
            "correlationId": {"type": "string", "maxLength": 255},
            "replyTo": {"type": "string", "maxLength": 255},
            "contentType": {"type": "string", "examples": ["application/json", "application/xml"]},
            "contentEncoding": {"type": "string", "examples": ["gzip", "deflate", "zstd"]},
            "authorization": {"type": "string", "description": "Bearer and the API token, if the body has none"},
            "traceparent": {"type": "string", "description": "W3C trace context"},
            "tracestate": {"type": "string", "description": "W3C trace context"},
            "x-message-id": {"description": "Counts as messageId where there is none; text or bytes"},
            "x-correlation-id": {"description": "Comes back where there is no correlationId; text or bytes"},
            "x-reply-to-topic": {
                "type": "string",
                "maxLength": 255,
                "description": "Where there is no replyTo: a routing key of the exchange amq.topic",
            },
        },
    })
}

fn reply_headers() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "correlationId": {"type": "string", "description": "As in the request; its messageId where it has none"},
            "messageId": {"type": "string"},
            "error": {"type": "integer", "description": "The code of the reply"},
            "x-correlation-id": {"description": "As in the request, instead of correlationId; text or bytes"},
            "x-original-reply-to": {"type": "string", "description": "In the result queue: where nobody was"},
            "traceparent": {"type": "string", "description": "As in the request"},
            "tracestate": {"type": "string", "description": "As in the request"},
        },
    })
}

fn dead_letter_headers() -> Value {
    json!({
        "type": "object",
        "description": "Properties and headers are those of the message, besides these. Of a message that the broker \
                        gave up they are missing.",
        "properties": {
            "x-error": {"type": "integer", "description": "The code of the reply"},
            "x-error-text": {"type": "string"},
            "x-error-time": {"type": "integer", "description": "Unix seconds"},
            "x-worker": {"type": "string", "description": "Host and process that gave it up"},
            "x-original-exchange": {"type": "string"},
            "x-original-routing-key": {"type": "string"},
            "x-dead-letter-id": {"type": "string", "description": "Of this dead letter"},
            "x-original-user-id": {"type": "string"},
            "x-original-expiration": {"type": "string"},
        },
    })
}
