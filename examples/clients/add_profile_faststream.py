"""Adds a profile and prints the reply. Python, FastStream.

    AMQP_URL=amqp://… python3 add_profile_faststream.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import asyncio
import json
import os
import sys
import uuid

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError
from faststream.rabbit import Channel, RabbitBroker

QUEUE = os.environ.get("REQUEST_QUEUE", "profiles.add")
TIMEOUT = float(os.environ.get("REPLY_TIMEOUT", "10"))  # seconds
ATTEMPTS = 3

# Without on_return_raises a missing queue is silence.
broker = RabbitBroker(os.environ["AMQP_URL"], default_channel=Channel(on_return_raises=True))


async def add_profile(request: dict, message_id: str) -> dict:
    """Returns the reply. A refusal is a reply, too: look at its `error`."""
    # The same body with the same message_id is the same request, so it is safe to send it again.
    for _ in range(ATTEMPTS):
        try:
            reply = await broker.request(request, QUEUE, message_id=message_id, persist=True, timeout=TIMEOUT)
            return await reply.decode()
        except TimeoutError:
            continue
    raise TimeoutError(f"no reply to {ATTEMPTS} attempts; MESSAGE_ID={message_id} continues this request")


async def main() -> None:
    request_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
    async with broker:
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
