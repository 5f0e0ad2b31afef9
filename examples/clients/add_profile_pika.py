"""Adds a profile and prints the reply. Python, pika.

    AMQP_URL=amqp://… python3 add_profile_pika.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import os
import sys
import uuid

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
replies = []
reply_to = "amq.rabbitmq.reply-to"
channel.basic_consume(reply_to, lambda _channel, _method, _properties, body: replies.append(body), auto_ack=True)

# The same message_id with the same body is the same request: after a time-out it may be sent again.
request_id = str(uuid.uuid4())
properties = pika.BasicProperties(content_type="application/json", delivery_mode=2, reply_to=reply_to,
                                  correlation_id=request_id, message_id=request_id)
queue = os.environ.get("REQUEST_QUEUE", "profiles.add")
channel.basic_publish("", queue, sys.argv[1].encode(), properties, mandatory=True)
connection.process_data_events(time_limit=30)
connection.close()
print(replies[0].decode() if replies else sys.exit("no reply within 30 seconds"))
