"""Adds a profile and prints the reply. Python, pika.

    AMQP_URL=amqp://… python3 add_profile_pika.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import os
import sys
import time
import uuid

import pika
from pika.exceptions import AMQPError, UnroutableError

QUEUE = os.environ.get("REQUEST_QUEUE", "profiles.add")
TIMEOUT = float(os.environ.get("REPLY_TIMEOUT", "10"))  # seconds
ATTEMPTS = 3
REPLY_TO = "amq.rabbitmq.reply-to"


def add_profile(body: bytes, message_id: str) -> bytes:
    """Returns the reply. A refusal is a reply, too: look at its `error`."""
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    parameters.blocked_connection_timeout = TIMEOUT
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        replies = []

        def on_reply(_channel, _method, properties, reply):
            if properties.correlation_id == message_id:
                replies.append(reply)

        # RabbitMQ wants the consumer there before the request that names it.
        channel.basic_consume(REPLY_TO, on_reply, auto_ack=True)
        properties = pika.BasicProperties(
            content_type="application/xml" if body.startswith(b"<") else "application/json",
            delivery_mode=pika.DeliveryMode.Persistent,
            message_id=message_id,
            correlation_id=message_id,
            reply_to=REPLY_TO,
        )
        # The same body with the same message_id is the same request, so it is safe to send it again.
        for _ in range(ATTEMPTS):
            channel.basic_publish("", QUEUE, body, properties, mandatory=True)  # returns when confirmed
            deadline = time.monotonic() + TIMEOUT
            while not replies and (left := deadline - time.monotonic()) > 0:
                connection.process_data_events(time_limit=left)
            if replies:
                return replies[0]
    raise TimeoutError(f"no reply to {ATTEMPTS} attempts; MESSAGE_ID={message_id} continues this request")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        request_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
        print(add_profile(sys.argv[1].encode(), request_id).decode())
    except UnroutableError:
        sys.exit(f"there is no queue {QUEUE}")
    except (AMQPError, TimeoutError) as error:
        sys.exit(str(error) or repr(error))
