"""Adds a profile and prints the reply. Python, FastStream, with a reply queue: many requests at once.

    AMQP_URL=amqp://… python3 add_profile_faststream_queue.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import asyncio
import json
import os
import sys
import uuid

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

QUEUE = os.environ.get("REQUEST_QUEUE", "profiles.add")
REPLY_QUEUE = os.environ.get("REPLY_QUEUE", "my-service.profile-replies")
TIMEOUT = float(os.environ.get("REPLY_TIMEOUT", "10"))  # seconds
ATTEMPTS = 3

# Without on_return_raises a missing queue is silence. The logger would write to standard output.
broker = RabbitBroker(os.environ["AMQP_URL"], default_channel=Channel(on_return_raises=True), logger=None)
waiting: dict[str, asyncio.Future[dict]] = {}


@broker.subscriber(RabbitQueue(REPLY_QUEUE, durable=True))
async def on_reply(reply: dict, message: RabbitMessage) -> None:
    future = waiting.get(message.correlation_id)
    if future is not None and not future.done():
        future.set_result(reply)


async def add_profile(request: dict, message_id: str) -> dict:
    """Returns the reply. A refusal is a reply, too: look at its `error`."""
    waiting[message_id] = asyncio.get_running_loop().create_future()
    try:
        # The same body with the same message_id is the same request, so it is safe to send it again.
        for _ in range(ATTEMPTS):
            await broker.publish(
                request, QUEUE, reply_to=REPLY_QUEUE, message_id=message_id, correlation_id=message_id, persist=True
            )
            try:
                return await asyncio.wait_for(asyncio.shield(waiting[message_id]), TIMEOUT)
            except TimeoutError:
                continue
    finally:
        del waiting[message_id]
    raise TimeoutError(f"no reply to {ATTEMPTS} attempts; MESSAGE_ID={message_id} continues this request")


async def main() -> None:
    request_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
    async with broker:
        await broker.start()  # A service does this by FastStream(broker).run().
        print(json.dumps(await add_profile(json.loads(sys.argv[1]), request_id), ensure_ascii=False))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main())
    except PublishError:
        sys.exit(f"there is no queue {QUEUE}")
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        sys.exit(str(error) or repr(error))
