"""Checks the dashboard and the rules against a Prometheus that has watched workers.

    python3 check_run.py http://127.0.0.1:PORT SECONDS ADMIN_ADDR…

SECONDS is how long ago the workers were started. Every query must be understood and find something;
every metric must be shown, or be named here with a reason.
"""
import json
import math
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from dashboard import Dashboard, finish, selectors

prometheus, seconds, *workers = sys.argv[1:]
now = time.time()
start = now - int(seconds)

# What workers tell and the dashboard does not show, and why not.
NOT_SHOWN = {}

# What the run does not bring about, and why not.
STAYS_AT_ZERO = {
    'profile_worker_stage_duration_seconds_count{stage="idle"}': "only lanes are idle, batches never",
    'profile_worker_dead_letters_total{reason="ended_worker"}': "a worker would have to die three times",
    'profile_worker_database_failures_total{kind="conflict"}': "batches are sorted so that there are none",
    'profile_worker_database_failures_total{kind="setup"}': "the setup is right",
    "profile_worker_log_lines_dropped_total": "the log is a file",
    'profile_worker_broker_losses_total{cause="refused"}': "the setup is right",
    'profile_worker_broker_losses_total{cause="fault"}': "needs a message of ours that ends the connection",
    'profile_worker_broker_losses_total{cause="timed_out"}': "needs a network that swallows",
    'profile_worker_broker_losses_total{cause="cancelled"}': "needs a queue that is deleted",
    'profile_worker_broker_losses_total{cause="unroutable"}': "needs a queue that is deleted",
}

failures = []
dashboard = Dashboard()


def ask(path, **parameters):
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        return json.load(urllib.request.urlopen(url, timeout=30))["data"]
    except urllib.error.HTTPError as error:
        failures.append(f"{parameters}: {json.load(error)['error']}")
        return {"result": []}


def found(expression):
    """The values of an expression over the whole run that are numbers."""
    result = ask("query_range", query=expression, start=start, end=now, step="1s")["result"]
    numbers = [float(value) for series in result for _, value in series["values"]]
    return [number for number in numbers if not math.isnan(number)]


def with_variables(expression):
    """As Grafana does it, with all workers chosen."""
    for name, text in dashboard.texts_of_boxes().items():
        expression = expression.replace(f"${name}", text)
    instances = "|".join(worker.replace(".", "\\\\.") for worker in workers)
    expression = expression.replace("$instance", instances)
    return expression.replace("$__rate_interval", "15s")


def series_of_a_worker():
    """The metrics of the first worker with their kinds, and all series with their values."""
    text = urllib.request.urlopen(f"http://{workers[0]}/metrics", timeout=5).read().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return kinds, values


def check_targets():
    for target in ask("targets")["activeTargets"]:
        if target["health"] != "up":
            failures.append(f"{target['scrapeUrl']}: {target['lastError']}")


def check_dashboard():
    count = 0
    for where, expression in dashboard.queries():
        count += 1
        # "or vector(0)" would hide that there is no such metric.
        for part in [expression, *selectors(expression)]:
            if not found(with_variables(part)):
                failures.append(f"{where} shows nothing: {part}")
    for variable in dashboard.variables.values():
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            if sorted(ask(f"label/{label}/values", **{"match[]": metric})) != sorted(workers):
                failures.append(f"the variable {variable['name']} does not have the workers")
    return count


def check_rules():
    expressions = set()
    for group in ask("rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                failures.append(f"{rule['name']}: {rule.get('lastError')}")
            expressions.add(rule["query"])
    # An alert's own expression is empty if all is well; what it looks at must be there.
    for expression in expressions:
        for selector in selectors(expression):
            if not found(selector):
                failures.append(f"there is no {selector}, for {expression}")
    return len(expressions)


def base(name):
    """Of a histogram or a counter, whichever of its series is named."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name)


def check_metrics(kinds, values):
    """All of them are shown, and the run has moved all counters."""
    named = [selector for _, expression in dashboard.queries() for selector in selectors(expression)]
    shown = {base(selector.split("{")[0]) for selector in named}
    for name in kinds:
        if (base(name) in shown) == (name in NOT_SHOWN):
            failures.append(f"{name} must either be on the dashboard or be named in NOT_SHOWN")
    for series in values:
        name = series.split("{")[0]
        if name.endswith(("_total", "_count")) and series not in STAYS_AT_ZERO and not any(found(series)):
            failures.append(f"{series} stayed at zero")
    for series in STAYS_AT_ZERO.keys() - values.keys():
        failures.append(f"there is no {series}")


def check_alerts():
    """Those that fire at once do, and every text can be read."""
    firing = set()
    for alert in ask("alerts")["alerts"]:
        name = alert["labels"]["alertname"]
        firing |= {name} if alert["state"] == "firing" else set()
        for text in alert["annotations"].values():
            if "<error" in text or "<no value>" in text:
                failures.append(f"{name} says {text}")
    expected = {"ProfileWorkerDeadLetters", "ProfileWorkerDeadLettersDropped", "ProfileWorkerParked"}
    if firing != expected:
        failures.append(f"{sorted(firing)} fire, and {sorted(expected)} should")


check_targets()
queries = check_dashboard()
rules = check_rules()
check_alerts()
kinds, values = series_of_a_worker()
check_metrics(kinds, values)
finish(failures, f"{queries} queries of the dashboard, {rules} rules and {len(kinds)} metrics are as they must be")
