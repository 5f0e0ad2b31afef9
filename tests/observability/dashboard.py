"""The dashboard, read: its panels and all that it asks Prometheus for. Also what expressions name."""
import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "observability"
FILE = FOLDER / "grafana" / "dashboards" / "profile-worker.json"

# A metric's name, with the matchers behind it.
SELECTOR = re.compile(r"\b((?:profile_worker|process|rabbitmq|ALERTS)[a-z0-9_:]*|up\b)(\{[^}]*\})?")


class Dashboard:
    def __init__(self):
        self.document = json.loads(FILE.read_text(encoding="utf-8"))
        self.rows = [panel for panel in self.document["panels"] if panel["type"] == "row"]
        self.panels = [panel for panel in self.document["panels"] if panel["type"] != "row"]
        self.panels += [panel for row in self.rows for panel in row["panels"]]
        self.variables = {variable["name"]: variable for variable in self.document["templating"]["list"]}

    def queries(self):
        """Where each stands, and its expression."""
        for panel in self.panels:
            for target in panel["targets"]:
                yield f"{panel['title']}, {target['refId']}", target["expr"]
        for annotation in self.document["annotations"]["list"]:
            yield annotation["name"], annotation["expr"]

    def texts_of_boxes(self):
        return {name: each["query"] for name, each in self.variables.items() if each["type"] == "textbox"}


def selectors(expression):
    """The metrics that an expression names, with their matchers."""
    without_labels = re.sub(r"\b(by|on|group_left) \([^)]*\)", "", expression)
    return [name + matchers for name, matchers in SELECTOR.findall(without_labels)]


def finish(failures, what):
    for failure in failures:
        print(f"FAILED: {failure}")
    if failures:
        raise SystemExit(1)
    print(what)
