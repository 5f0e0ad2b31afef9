"""Adds a profile and prints the reply. Python, aio-pika.

    AMQP_URL=amqp://… python3 add_profile_aio_pika.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import asyncio
import os
import sys
import uuid

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError

QUEUE = os.environ.get("REQUEST_QUEUE", "profiles.add")
TIMEOUT = float(os.environ.get("REPLY_TIMEOUT", "10"))  # seconds
ATTEMPTS = 3
REPLY_TO = "amq.rabbitmq.reply-to"


async def add_profile(body: bytes, message_id: str) -> bytes:
    """Returns the reply. A refusal is a reply, too: look at its `error`."""
    async with await aio_pika.connect(os.environ["AMQP_URL"], timeout=TIMEOUT) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        reply = asyncio.get_running_loop().create_future()

        def on_reply(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            if message.correlation_id == message_id and not reply.done():
                reply.set_result(message.body)

        # RabbitMQ wants the consumer there before the request that names it.
        replies = await channel.get_queue(REPLY_TO, ensure=False)
        await replies.consume(on_reply, no_ack=True)
        request = aio_pika.Message(
            body,
            content_type="application/xml" if body.startswith(b"<") else "application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message_id,
            correlation_id=message_id,
            reply_to=REPLY_TO,
        )
        # The same body with the same message_id is the same request, so it is safe to send it again.
        for _ in range(ATTEMPTS):
            await channel.default_exchange.publish(request, QUEUE, mandatory=True, timeout=TIMEOUT)  # until confirmed
            try:
                return await asyncio.wait_for(asyncio.shield(reply), TIMEOUT)
            except asyncio.TimeoutError:
                if channel.is_closed:
                    raise ConnectionError("the connection was lost") from None
    raise TimeoutError(f"no reply to {ATTEMPTS} attempts; MESSAGE_ID={message_id} continues this request")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        request_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
        print(asyncio.run(add_profile(sys.argv[1].encode(), request_id)).decode())
    except PublishError:
        sys.exit(f"there is no queue {QUEUE}")
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        sys.exit(str(error) or repr(error))
