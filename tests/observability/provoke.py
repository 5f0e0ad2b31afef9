"""Has two workers see all that the dashboard shows: every answer, dead letters, servers that fail.

    python3 provoke.py SERVERS PROGRAM PROMETHEUS ADMIN_ADDR…

PROMETHEUS is the address of the one that watches them, SERVERS the folder of scripts/servers, whose env is in the environment. Needs the package pika.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

import pika

servers, program, prometheus, *workers = sys.argv[1:]
# A body that is larger than the BODY_MAX of these workers.
TOO_LARGE = 30_000
# Messages that a worker lets wait for a queue.
DEFERRED_MESSAGES_MAX = 1000


def run(*command, **more):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more)
    return done.stdout.strip()


def scripted(*arguments):
    return run("scripts/servers", *arguments)


def sql(statement):
    return run("psql", "-X", "-q", os.environ["DATABASE_URL"], "-c", statement)


def measured(name):
    """A metric, over all workers and labels; those that do not answer are left out."""
    total = 0.0
    for worker in workers:
        try:
            text = urllib.request.urlopen(f"http://{worker}/metrics", timeout=5).read().decode()
        except OSError:
            continue
        total += sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))
    return total


def wait_until(what, holds):
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"waited 60 seconds in vain: {what}")
        time.sleep(0.2)


def until_scraped():
    """Waits until Prometheus has looked at everything twice, so that rates have seen what is true now."""
    def oldest():
        url = f"{prometheus}/api/v1/query?query=min(timestamp(up))"
        return float(json.load(urllib.request.urlopen(url, timeout=30))["data"]["result"][0]["value"][1])

    for _ in range(2):
        begun = time.time()
        wait_until("a look of Prometheus", lambda: oldest() > begun)


class Producer:
    """Publishes requests; a connection each time, as the broker is killed in between."""

    def __init__(self, database, token):
        self.request = {"token": token, "db_id": database}

    def body(self, data, **more):
        return json.dumps({**self.request, "data": data, **more})

    def publish(self, *bodies, **properties):
        with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as connection:
            channel = connection.channel()
            for body in bodies:
                channel.basic_publish("", "profiles.add", body, pika.BasicProperties(delivery_mode=2, **properties))

    def send(self, count, name):
        """Many at a time, with their replies: what most producers do."""
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for number in range(count):
                file.write(self.body({"email": f"{name}-{number}@example.com", "_fname": "Jane"}) + "\n")
            file.flush()
            for _first_and_again in range(2):
                run(program, "send", "--lines", "--message-id", name, file.name)


def settled(what, count):
    before = measured("profile_worker_decisions_total")

    def all_are():
        return measured("profile_worker_decisions_total") >= before + count

    return lambda: wait_until(what, all_are)


def every_answer(producer, other_token):
    """One request for each code, and for each way that something can end."""

    def named(name):
        return {"email": f"{name}@example.com"}

    bodies = [
        producer.body(named("one")),
        producer.body(named("one")),
        producer.body(named("no-event"), skip_triggers=True),
        producer.body([named(f"many-{number}") for number in range(300)]),
        producer.body({"email": "not an address"}),
        producer.body(named("x"), token="pw_nobody"),
        producer.body(named("x"), token=other_token),
        producer.body(named("x"), db_id=999_999),
        producer.body({"_fname": "x" * TOO_LARGE}),
        producer.body(named("unstorable")),
        "not readable",
    ]
    done = settled("answers of every kind", len(bodies) + 2)
    producer.publish(*bodies)
    producer.publish(producer.body(named("nobody-waits")), reply_to="nobody")
    # Builds for use have no such header; debug builds panic over it.
    producer.publish(producer.body(named("panic")), headers={"x-fault": "panic"})
    done()


def dead_letter_queue_full(producer):
    """What nobody can read waits for room, and the oldest make room for others."""
    limit = '{"max-length": 1, "overflow": "reject-publish"}'
    scripted("ctl", servers, "set_policy", "full", "^profiles.add.dead$", limit, "--apply-to", "queues")
    producer.publish(*["not readable"] * (DEFERRED_MESSAGES_MAX + 500) * len(workers))
    wait_until("some are dropped", lambda: measured("profile_worker_dead_letters_dropped_total") > 0)
    until_scraped()
    scripted("ctl", servers, "clear_policy", "full")
    wait_until("the others have found room", lambda: measured("profile_worker_deferred_messages") == 0)


def publishing_blocked(producer):
    """RabbitMQ is out of memory when the replies are due: they wait for somebody's lock until then."""
    somebody = subprocess.Popen(
        ["psql", "-X", "-q", os.environ["DATABASE_URL"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    somebody.stdin.write("BEGIN; LOCK TABLE profiles;\n\\echo locked\n")
    somebody.stdin.flush()
    somebody.stdout.readline()
    producer.publish(*[producer.body({"email": f"blocked-{number}@example.com"}) for number in range(20)])
    slow = 'profile_worker_database_failures_total{kind="slow"}'
    wait_until("a statement that waits for the lock", lambda: measured(slow) > 0)
    scripted("ctl", servers, "set_vm_memory_high_watermark", "absolute", "1MB")
    somebody.communicate("ROLLBACK;\n")
    wait_until("publishing is blocked", lambda: measured("profile_worker_publishing_blocked") > 0)
    until_scraped()
    scripted("ctl", servers, "set_vm_memory_high_watermark", "0.4")
    wait_until("publishing goes on", lambda: measured("profile_worker_publishing_blocked") == 0)


def database_away(producer):
    scripted("kill", "database", servers)
    producer.publish(*[producer.body({"email": f"away-{number}@example.com"}) for number in range(50)])
    wait_until("parked", lambda: measured("profile_worker_parks_total") > 0)
    wait_until("not ready", lambda: measured("profile_worker_ready") == 0)
    until_scraped()
    done = settled("what was given back", 50)
    scripted("start", "database", servers)
    done()


def broker_away(producer):
    sessions = measured("profile_worker_broker_sessions_total")
    scripted("kill", "broker", servers)
    wait_until("not ready", lambda: measured("profile_worker_ready") == 0)
    scripted("start", "broker", servers)
    wait_until("connected again", lambda: measured("profile_worker_broker_sessions_total") >= sessions + len(workers))
    wait_until("ready", lambda: measured("profile_worker_ready") == len(workers))
    producer.publish(producer.body({"email": "after@example.com"}))


database = int(run(program, "database", "create", "Shop"))
other = run(program, "database", "create", "Another")
run(program, "resource", "create", "--db", str(database), "--channels", "email", "News")
run(program, "field", "add", "--db", str(database), "loyalty_level", "integer")
producer = Producer(database, run(program, "token", "create", "--all-databases", "importer"))
other_token = run(program, "token", "create", "--db", other, "of another database")
sql("ALTER TABLE profiles ADD CONSTRAINT refused CHECK (email <> 'unstorable@example.com')")

print("a load", flush=True)
producer.send(5000, "load")
print("every answer", flush=True)
every_answer(producer, other_token)
print("a full dead-letter queue", flush=True)
dead_letter_queue_full(producer)
print("a lock, and a broker without memory", flush=True)
publishing_blocked(producer)
print("the database is away", flush=True)
database_away(producer)
print("the broker is away", flush=True)
broker_away(producer)
print("a load", flush=True)
producer.send(5000, "afterwards")
until_scraped()
