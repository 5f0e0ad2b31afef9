"""Reference worker: aio-pika and asyncpg, as one would write it. `make bench` runs it."""
import asyncio
import json
import os
import sys
import time

import aio_pika
import asyncpg

CONCURRENT = 64
CONNECTIONS = 16

INSERT_PROFILE = """
INSERT INTO profiles (id, db_id, email, first_name, last_name, city) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING id"""
INSERT_SUBSCRIPTION = """
INSERT INTO subscriptions (profile_id, resource_id, channel, address) VALUES ($1, $2, $3, $4)"""


async def store(pool, request, profile_id):
    data = request["data"]
    async with pool.acquire() as connection, connection.transaction():
        added = await connection.fetchval(
            INSERT_PROFILE, profile_id, request["db_id"], data["email"],
            data.get("_fname"), data.get("_lname"), data.get("_city"),
        )
        if not added:
            return {"error": 409, "error_text": f"another profile has the email {data['email']}"}
        subscriptions = data.get("subscriptions", [])
        if subscriptions:
            await connection.executemany(
                INSERT_SUBSCRIPTION,
                [(profile_id, s["resource_id"], s["channel"], s["email"]) for s in subscriptions],
            )
    return {"error": 0, "error_text": "", "profile_id": profile_id}


async def main():
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS)
    connection = await aio_pika.connect(os.environ["AMQP_URL"])
    channel = await connection.channel()  # with publisher confirms
    await channel.set_qos(prefetch_count=CONCURRENT)
    queue = await channel.get_queue(os.environ["REQUEST_QUEUE"], ensure=False)
    count = 0

    async def work(message):
        nonlocal count
        count += 1
        answer = await store(pool, json.loads(message.body), f"{int(time.time()):08x}{count:016x}")
        reply = aio_pika.Message(
            json.dumps(answer, separators=(",", ":")).encode(),
            correlation_id=message.correlation_id,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await channel.default_exchange.publish(reply, message.reply_to, mandatory=True)
        await message.ack()

    await queue.consume(work)
    print("taking requests", file=sys.stderr, flush=True)
    await asyncio.Future()


asyncio.run(main())
