"""Checks rendered manifests: each object by its schema, strictly, and all of them together.

    scripts/manifests       renders them and runs this with the files

Then the same manifests are broken on purpose, one way after the other, and each must be refused.
"""
import copy
import pathlib
import re
import sys

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as monitoring

# The oldest that base/kustomization.yaml promises, and the newest that is known.
KUBERNETES = ["1.27", kubernetes_validate.latest_version()]
OTHERS = {"keda.sh": keda, "monitoring.coreos.com": monitoring}
SETTINGS = pathlib.Path(__file__).parents[2] / "src/config/setting.rs"


def fail(what):
    raise AssertionError(what)


# ---- one object


def check_schema(thing):
    model = OTHERS.get(thing["apiVersion"].split("/")[0])
    if model is None:
        for version in KUBERNETES:
            kubernetes_validate.validate(thing, version, strict=True)
        return
    read = getattr(model, thing["kind"]).model_validate(thing)
    lost = unknown(thing, read.model_dump(by_alias=True, exclude_unset=True, mode="json"))
    lost and fail(f"{thing['kind']}: unknown field {lost}")


def unknown(given, read, path=""):
    """The first field that the model did not take, as it ignores what it does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(read, dict) or key not in read:
                return f"{path}.{key}"
            if found := unknown(value, read[key], f"{path}.{key}"):
                return found
    elif isinstance(given, list):
        for place, value in enumerate(given):
            if found := unknown(value, read[place], f"{path}[{place}]"):
                return found
    return None


# ---- all together


def check_together(things, secrets_are_there):
    def of(kind, name=None):
        return [thing for thing in things if thing["kind"] == kind and name in (None, thing["metadata"]["name"])]

    [worker], [job] = of("Deployment"), of("Job")
    [config] = of("ConfigMap")
    pod, container = worker["spec"]["template"], worker["spec"]["template"]["spec"]["containers"][0]
    check_settings(config["data"], pod["spec"])

    labels = pod["metadata"]["labels"]
    selectors = [worker["spec"]["selector"]["matchLabels"]]
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in of("PodDisruptionBudget")]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["spec"]["topologySpreadConstraints"]]
    [service] = of("Service")
    selectors.append(service["spec"]["selector"])
    for selector in selectors:
        selector.items() <= labels.items() or fail(f"{selector} selects no worker")
        selector.items() <= job["spec"]["template"]["metadata"]["labels"].items() and fail(f"{selector} selects the Job")
    for monitor in of("ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        selector.items() <= service["metadata"]["labels"].items() or fail(f"{selector} selects no Service")
        for endpoint in monitor["spec"]["endpoints"]:
            endpoint["port"] in [port["name"] for port in service["spec"]["ports"]] or fail("no such port")

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    address = next(entry["value"] for entry in container["env"] if entry["name"] == "ADMIN_ADDR")
    address == f"0.0.0.0:{ports['admin']}" or fail(f"ADMIN_ADDR is {address}")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        container[probe]["httpGet"]["port"] in ports or fail(f"{probe}: no such port")
        wanted = "/ready" if probe == "readinessProbe" else "/live"
        container[probe]["httpGet"]["path"] == wanted or fail(f"{probe}: not {wanted}")

    container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}] or fail("another ConfigMap")
    if secrets_are_there:
        secrets = {(secret["metadata"]["name"], key) for secret in of("Secret") for key in secret["data"]}
        wanted = list(secrets_of(container)) + list(secrets_of(job["spec"]["template"]["spec"]["containers"][0]))
        for authentication in of("TriggerAuthentication"):
            wanted += [(ref["name"], ref["key"]) for ref in authentication["spec"]["secretTargetRef"]]
        for secret in wanted:
            secret in secrets or fail(f"no Secret has {secret}")

    for scaled in of("ScaledObject"):
        of("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) or fail("scales nothing")
        "replicas" in worker["spec"] and fail("two that say how many workers there are")
        for trigger in scaled["spec"]["triggers"]:
            of("TriggerAuthentication", trigger["authenticationRef"]["name"]) or fail("no such TriggerAuthentication")
            queue = config["data"].get("REQUEST_QUEUE", "profiles.add")
            trigger["metadata"]["queueName"] == queue or fail("watches another queue")


def check_settings(settings, pod):
    known = re.findall(r'^ +([A-Z_]+) = "', SETTINGS.read_text(), re.MULTILINE)
    "SHUTDOWN_GRACE" in known or fail("the settings are written in another way now")
    for name in settings:
        name in known or fail(f"{name} is no setting of the worker")
        name in ("AMQP_URL", "DATABASE_URL") and fail(f"{name} may hold a password")
    grace = int(settings["SHUTDOWN_GRACE"].removesuffix("s"))
    pod["terminationGracePeriodSeconds"] > grace or fail("killed before it has ended by itself")


def secrets_of(container):
    for entry in container["env"]:
        if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
            yield reference["name"], reference["key"]


def check(things, secrets_are_there):
    for thing in things:
        check_schema(thing)
    check_together(things, secrets_are_there)


# ---- whether all that can fail

# What is broken: kind, path, another value; and what must be said of it.
BREAKAGES = [
    ("Deployment", "spec.template.spec.containers.0.livenesProbe", {}, "livenesProbe"),
    ("Deployment", "spec.template.spec.terminationGracePeriodSeconds", "45s", "not of type"),
    ("Deployment", "spec.template.spec.terminationGracePeriodSeconds", 30, "killed before"),
    ("Deployment", "spec.template.spec.containers.0.livenessProbe.httpGet.path", "/ready", "livenessProbe"),
    ("PodDisruptionBudget", "spec.maxUnavailble", 1, "maxUnavailble"),
    ("PodDisruptionBudget", "spec.selector.matchLabels", {"app": "x"}, "selects no worker"),
    ("ServiceMonitor", "spec.endpoints.0.url", "/metrics", "unknown field .spec.endpoints[0].url"),
    ("ScaledObject", "spec.triggers.0.authentication", "x", "unknown field .spec.triggers[0].authentication"),
    ("ScaledObject", "spec.maxReplicaCount", "many", "maxReplicaCount"),
    ("ScaledObject", "spec.triggers.0.metadata.queueName", "x", "another queue"),
    ("TriggerAuthentication", "spec.secretTargetRef.0.name", "x", "no Secret has"),
    ("ConfigMap", "data.LANE", "4", "no setting of the worker"),
]


def check_that_it_fails(things):
    for kind, path, value, words in BREAKAGES:
        broken = copy.deepcopy(things)
        place = next(thing for thing in broken if thing["kind"] == kind)
        *before, last = path.split(".")
        for step in before:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
        try:
            check(broken, secrets_are_there=True)
        except Exception as error:
            words in str(error) or fail(f"{path} = {value!r} is refused, but with other words: {error}")
        else:
            fail(f"{path} = {value!r} is not refused")


def main(files):
    for file in files:
        things = list(yaml.safe_load_all(pathlib.Path(file).read_text()))
        has_secrets = any(thing["kind"] == "Secret" for thing in things)
        try:
            check(things, has_secrets)
        except Exception as error:
            raise SystemExit(f"{file}: {str(error).splitlines()[0]}") from error
        print(f"{pathlib.Path(file).stem}: {len(things)} objects are as Kubernetes {' and '.join(KUBERNETES)} want them")
    check_that_it_fails(things)
    print(f"{len(BREAKAGES)} broken ones were refused")


main(sys.argv[1:])
