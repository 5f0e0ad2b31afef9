"""Adds a profile and prints the reply. Python, kombu.

    AMQP_URL=amqp://… python3 add_profile_kombu.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import json
import os
import socket
import sys
import time
import uuid

from kombu import Connection, Consumer, Producer, Queue
from kombu.exceptions import OperationalError

QUEUE = os.environ.get("REQUEST_QUEUE", "profiles.add")
TIMEOUT = float(os.environ.get("REPLY_TIMEOUT", "10"))  # seconds
ATTEMPTS = 3
REPLIES = Queue("amq.rabbitmq.reply-to", no_declare=True)


def add_profile(producer: Producer, request: dict, message_id: str) -> dict:
    """Returns the reply. A refusal is a reply, too: look at its `error`."""
    connection, replies = producer.connection, []

    def on_reply(message):
        if message.properties.get("correlation_id") == message_id:
            replies.append(message.payload)

    # RabbitMQ wants the consumer there before the request that names it, on the same channel.
    with Consumer(producer.channel, [REPLIES], on_message=on_reply, no_ack=True):
        # The same body with the same message_id is the same request, so it is safe to send it again.
        for _ in range(ATTEMPTS):
            producer.publish(
                request,
                exchange="",
                routing_key=QUEUE,
                mandatory=True,
                serializer="json",
                delivery_mode="persistent",
                message_id=message_id,
                correlation_id=message_id,
                reply_to=REPLIES.name,
            )
            deadline = time.monotonic() + TIMEOUT
            while not replies and (left := deadline - time.monotonic()) > 0:
                try:
                    connection.drain_events(timeout=left)
                except socket.timeout:
                    break
            if replies:
                return replies[0]
    raise TimeoutError(f"no reply to {ATTEMPTS} attempts; MESSAGE_ID={message_id} continues this request")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    request_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
    with Connection(os.environ["AMQP_URL"], transport_options={"confirm_publish": True}) as broker:
        try:
            print(json.dumps(add_profile(Producer(broker), json.loads(sys.argv[1]), request_id), ensure_ascii=False))
        except broker.channel_errors:
            sys.exit(f"there is no queue {QUEUE}")
        except (OperationalError, *broker.connection_errors, TimeoutError) as error:
            sys.exit(str(error) or repr(error))
