"""Adds a profile and prints the reply. Python, from a task of Celery, over its pool of connections.

    AMQP_URL=amqp://… python3 add_profile_celery.py '{"token": "…", "db_id": 1, "data": {…}}'
"""
import json
import os
import sys
import uuid

from celery import Celery

from add_profile_kombu import QUEUE, add_profile

app = Celery(broker=os.environ["AMQP_URL"])
app.conf.broker_transport_options = {"confirm_publish": True}


@app.task(bind=True)
def subscribe(self, request: dict) -> dict:
    # A task that is retried has the same id, so it never adds a second profile.
    with app.producer_pool.acquire(block=True) as producer:
        return add_profile(producer, request, self.request.id)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # Here, without a worker of Celery; elsewhere subscribe.delay(request).
    task_id = os.environ.get("MESSAGE_ID") or str(uuid.uuid4())
    result = subscribe.apply([json.loads(sys.argv[1])], task_id=task_id)
    with app.connection_for_write() as broker:
        if isinstance(result.result, broker.channel_errors):
            sys.exit(f"there is no queue {QUEUE}")
    if result.failed():
        sys.exit(str(result.result) or repr(result.result))
    print(json.dumps(result.result, ensure_ascii=False))
