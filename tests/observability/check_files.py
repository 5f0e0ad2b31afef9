"""Checks what can be known of the dashboard and of the rules' tests without servers.

    python3 check_files.py

With the package grafana-foundation-sdk, Grafana's own models of a dashboard, it also finds fields that
Grafana does not know; without, it says so.
"""
import collections
import json
import re

from dashboard import FOLDER, Dashboard, finish

# Grafana knows these, its models do not.
UNKNOWN_TO_MODELS = {"titleFormat", "textFormat", "useValueForTime", "definition"}

failures = []
dashboard = Dashboard()


def check(holds, failure):
    if not holds:
        failures.append(failure)


def check_panels():
    ids = [panel["id"] for panel in dashboard.panels + dashboard.rows]
    check(len(ids) == len(set(ids)), "two panels have the same id")
    titles = collections.Counter(panel["title"] for panel in dashboard.panels)
    check(max(titles.values()) == 1, f"two panels have the same title: {titles.most_common(1)}")
    for panel in dashboard.panels:
        title = panel["title"]
        check(panel.get("description"), f"{title}: no description")
        source = {"type": "prometheus", "uid": "${datasource}"}
        check(panel["datasource"] == source, f"{title}: not the data source of the variable")
        has_unit = '"unit"' in json.dumps(panel["fieldConfig"]) or '"unit"' in json.dumps(panel["options"])
        check(has_unit or panel["type"] in {"table", "state-timeline"}, f"{title}: no unit")
        references = [target["refId"] for target in panel["targets"]]
        check(len(references) == len(set(references)), f"{title}: two queries have the same reference")
        for target in panel["targets"]:
            # Or the legend is the whole query.
            check(target["legendFormat"] or panel["type"] == "table", f"{title}: no legend")


def check_places():
    taken = {}
    for panel in dashboard.panels + dashboard.rows:
        place = panel["gridPos"]
        check(place["x"] + place["w"] <= 24, f"{panel['title']}: wider than the page")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                check(other == panel["title"], f"{panel['title']} lies over {other}")


def check_variables():
    # Grafana fills in those that begin with two underscores.
    text = re.sub(r'"\$__all"', '""', json.dumps(dashboard.document))
    used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
    check(used == set(dashboard.variables), f"variables {sorted(dashboard.variables)}, but used are {sorted(used)}")


def check_models():
    try:
        from grafana_foundation_sdk.cog import plugins
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models.dashboard import Dashboard as Model
    except ImportError:
        print("left out: fields that Grafana does not know, as its models (grafana-foundation-sdk) are not there")
        return
    plugins.register_default_plugins()
    understood = json.loads(JSONEncoder().encode(Model.from_json(dashboard.document)))
    compare(dashboard.document, understood, "")


def compare(ours, understood, path):
    """What the models do not know they lose."""
    if isinstance(ours, dict):
        for key, value in ours.items():
            if key not in understood:
                check(key in UNKNOWN_TO_MODELS, f"Grafana does not know {path}.{key}")
            else:
                compare(value, understood[key], f"{path}.{key}")
    elif isinstance(ours, list):
        for index, (value, other) in enumerate(zip(ours, understood, strict=True)):
            compare(value, other, f"{path}[{index}]")
    else:
        check(ours == understood, f"Grafana understands {path} as {understood}")


def check_tests_of_rules():
    rules = (FOLDER / "rules.yml").read_text(encoding="utf-8")
    tests = (FOLDER / "rules_test.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)
    # What is expected of each: nothing, or something.
    expected = collections.defaultdict(set)
    pattern = r'alertname(?:="|: )(\w+)(?:(?!alertname).)*?exp_(?:samples|alerts):\s*(\[\])?'
    for name, nothing in re.findall(pattern, tests, re.DOTALL):
        expected[name].add(bool(nothing))
    for alert in alerts:
        check(expected[alert] == {True, False}, f"{alert}: no test in which it fires, or none in which it does not")
    check(set(expected) <= set(alerts), f"tests of alerts that are not there: {set(expected) - set(alerts)}")
    return len(alerts)


check_panels()
check_places()
check_variables()
check_models()
alerts = check_tests_of_rules()
finish(failures, f"{len(dashboard.panels)} panels and the tests of {alerts} alerts are as they must be")
