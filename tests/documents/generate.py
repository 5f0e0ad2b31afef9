"""Makes requests from the published schemas, and says of each whether its schema allows it.

    profile-worker contract --format json-schema            > FOLDER/schema.json
    profile-worker contract --format xsd                    > FOLDER/request.xsd
    python3 generate.py FOLDER COUNT

Needs the packages hypothesis-jsonschema, jsonschema[format] and xmlschema. Writes FOLDER/generated.json: pairs
of a body and whether it is valid, COUNT in JSON and COUNT in XML. Fields are made by what the schema says of
each; most bodies are valid, in the others one value was made for another field. What no schema can know is given:
the token, the database and its resource, names of time zones, and emails
with other characters than those of ASCII.

    python3 generate.py FOLDER --judge

reads FOLDER/decided.json, an array of bodies, and writes FOLDER/judged.json: for each whether it is valid.
"""
import copy
import json
import pathlib
import random
import sys
import warnings
from xml.sax.saxutils import escape

import jsonschema
import xmlschema
from elementpath.regex import translate_pattern
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from hypothesis_jsonschema import from_schema

warnings.simplefilter("ignore", HypothesisWarning)
folder = pathlib.Path(sys.argv[1])
document = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
definitions = document["definitions"]
xsd = xmlschema.XMLSchema11(str(folder / "request.xsd"))
json_request = {**document, "$ref": "#/definitions/request"}
json_request.pop("anyOf")
validator = jsonschema.Draft7Validator(json_request, format_checker=jsonschema.FormatChecker())

TOKEN = "{token}"
ZONES = ["Europe/Moscow", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3", "EST5EDT"]
# The parts of an address by channel, each the path below the subscription, from the contract.
ADDRESSES = {
    "email": [["email"], ["email_data", "email"]],
    "sms": [["phone"], ["phone_data", "phone"]],
    "push": [["provider"]],
    "telegram_bot": [["cc_data", "id"]],
    "whatsapp": [["cc_data", "phone"]],
    "viber": [["cc_data", "phone"]],
    "notify": [["cc_data", "phone"]],
}


def is_valid(body):
    try:
        body = body.removeprefix("\ufeff")
        if body.lstrip().startswith("<"):
            return xsd.is_valid(xmlschema.XMLResource(body, defuse="always"))
        return validator.is_valid(json.loads(body))
    except (xmlschema.XMLSchemaException, SyntaxError):
        return False


if sys.argv[2] == "--judge":
    bodies = json.loads((folder / "decided.json").read_text(encoding="utf-8"))
    verdicts = [is_valid(body) for body in bodies]
    (folder / "judged.json").write_text(json.dumps(verdicts), encoding="utf-8")
    sys.exit()

count = int(sys.argv[2])
chance = random.Random(20261129)


def values(strategy, number=150):
    """A pool of values of a strategy: the same ones each time, and none twice."""
    made = {}

    @settings(
        max_examples=number, database=None, derandomize=True, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value):
        made.setdefault(json.dumps(value, sort_keys=True), value)

    collect()
    return list(made.values())


# ---- JSON

pools = {}

EMAILS = ["иван@пример.рф", "संपर्क@डाटामेल.भारत", "ju\u0308rgen@example.de", "x@ｅｘａｍｐｌｅ.com"]


def known(made, schema):
    """Of emails beyond ASCII those that are known to be emails."""
    if "john@example.com" not in schema:
        return made
    return [value for value in made if not isinstance(value, str) or is_of_ascii(value)] + EMAILS


def is_of_ascii(text):
    return all(" " <= c <= "~" for c in text.strip())


def pool(schema):
    key = json.dumps(schema, sort_keys=True)
    if key not in pools:
        pools[key] = known(values(from_schema(schema)), key)
    return pools[key]


def fields_of(definition):
    return {name: {k: v for k, v in schema.items() if k != "description"}
            for name, schema in definitions[definition]["properties"].items()}


def address_schemas(channel):
    """Of each alternative of an address its parts: the path, and the schema there."""
    for rule in definitions["subscription"]["allOf"]:
        if jsonschema.Draft7Validator(rule["if"]).is_valid({"channel": channel}):
            break
    for alternative in rule["then"]["anyOf"]:
        parts = []
        for part in alternative["allOf"]:
            path = []
            while "required" in part:
                path += part["required"]
                part = part["properties"][path[-1]]
            parts.append((path, part))
        yield parts


def pick(schema):
    return copy.deepcopy(chance.choice(pool(schema)))


def wrong(fields):
    """A value that was made for another field, or for none."""
    if chance.random() < 0.3:
        return copy.deepcopy(chance.choice(anything))
    return pick(chance.choice(list(fields.values())))


def put(target, path, value):
    for name in path[:-1]:
        target = target.setdefault(name, {})
    target[path[-1]] = value


def json_subscription():
    fields = fields_of("subscription")
    channel = chance.choice(sorted(ADDRESSES))
    made = {"resource_id": 1, "channel": channel}
    for path, schema in chance.choice(list(address_schemas(channel))):
        put(made, path, pick(schema))
    for name, schema in fields.items():
        if name not in made and chance.random() < 0.2:
            made[name] = pick(schema)
    return made


def json_profile():
    made = {}
    for name, schema in fields_of("profile").items():
        if chance.random() < 0.7:
            continue
        if name == "subscriptions":
            made[name] = [json_subscription()]
        elif name == "_tz":
            made[name] = chance.choice(ZONES)
        else:
            made[name] = pick(schema)
    for _ in range(chance.choice([0, 0, 1, 2])):
        made["custom_" + str(chance.randrange(9))] = copy.deepcopy(chance.choice(anything))
    return made


def json_body():
    top = fields_of("request")
    body = {"db_id": chance.choice([1, 1, 1.0]), "token": TOKEN}
    for name, schema in top.items():
        if name not in ("data", "token", "db_id") and chance.random() < 0.3:
            body[name] = pick(schema)
    body["data"] = [json_profile() for _ in range(2)] if chance.random() < 0.2 else json_profile()
    if chance.random() < 0.25:
        spoil_json(body, top)
    return json.dumps(body, ensure_ascii=chance.random() < 0.5)


def spoil_json(body, top):
    profile = body["data"][0] if isinstance(body["data"], list) else body["data"]
    subscriptions = profile.get("subscriptions")
    if isinstance(subscriptions, list) and subscriptions and chance.random() < 0.5:
        fields = fields_of("subscription")
        name = chance.choice([name for name in fields if name != "resource_id"])
        subscriptions[0][name] = wrong(fields)
    elif chance.random() < 0.8:
        fields = fields_of("profile")
        fields.pop("subscriptions")
        name = chance.choice([name for name in fields if name != "_tz"])
        profile[name] = wrong(fields)
    else:
        fields = {name: schema for name, schema in top.items() if name not in ("data", "token", "db_id")}
        body[chance.choice(list(fields))] = wrong(fields)


# ---- XML

XS = "{http://www.w3.org/2001/XMLSchema}"
BUILT_IN = {
    "long": st.integers(-(2**63), 2**63 - 1).map(str) | st.integers(-99, 99).map("{:03d}".format),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    "string": st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")),
    "token": st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")),
    "date": st.dates().map(str),
    "dateTime": st.builds(
        "{}{}{}".format,
        st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat()),
        st.sampled_from(["", ".5", ".123456789012"]),
        st.sampled_from(["Z", "+03:00", "-23:59", "+14:00", ""]),
    ),
    "boolean": st.sampled_from(["true", "false", "1", "0"]),
}


def texts_of(simple):
    """A strategy of texts for a simple type: it may make some that are not valid."""
    members = getattr(simple, "member_types", None)
    if members:
        return st.one_of([texts_of(member) for member in members])
    if simple.enumeration:
        return st.sampled_from([str(each) for each in simple.enumeration])
    length = simple.get_facet(XS + "length")
    if length is not None and length.value == 0:
        return st.just("")
    base = simple.primitive_type.local_name
    name = next(t.local_name for t in ancestors(simple) if t.name and t.name.startswith(XS))
    made = BUILT_IN.get(name, BUILT_IN.get(base, BUILT_IN["string"]))
    if simple.patterns and name in ("token", "string"):
        patterns = simple.patterns.regexps
        made = st.one_of([st.from_regex(translate_pattern(p, anchors=False), fullmatch=True) for p in patterns])
    return made


def ancestors(simple):
    while simple is not None:
        yield simple
        simple = simple.base_type


def xml_pool(kind):
    key = f"xsd {kind}"
    if key not in pools:
        type_ = xsd.types[kind + "Text"]
        texts = values(texts_of(type_))
        pools[key] = [text for text in texts if type_.is_valid(text)]
        if kind == "Email":
            pools[key] = [text for text in pools[key] if is_of_ascii(text)] + EMAILS
        if not pools[key]:
            sys.exit(f"nothing was made for {kind}")
    return pools[key]


def xml_fields(complex_type):
    """Its elements with a simple type of ours, by name."""
    return {element.local_name: element.type.local_name
            for element in complex_type.content.iter_elements()
            if getattr(element, "type", None) is not None and element.local_name
            and (element.type.local_name or "") + "Text" in xsd.types}


def xml_pick(kind):
    text = chance.choice(xml_pool(kind))
    blank = chance.choice(["", "", "", " ", "\n  "])
    return text if kind == "String" else blank + text + blank


def element(name, text, attributes=""):
    return f"<{name}{attributes}>{text}</{name}>"


def leaf(name, text):
    return element(name, escape(text).replace("\r", "&#13;"))


def xml_address(channel):
    path = chance.choice(ADDRESSES[channel])
    kind = {"email": "Email", "phone": "Phone", "provider": "Word", "id": "Integer"}[path[-1]]
    text = chance.choice([text for text in xml_pool(kind) if any(map(str.isalnum, text)) and ":" not in text])
    inner = leaf(path[-1], text)
    for name in reversed(path[:-1]):
        inner = element(name, inner)
    if channel == "push":
        inner += leaf("subscription_id", "s-1")
    return inner


def xml_subscription(wrong_name=None):
    fields = xml_fields(xsd.types["Subscription"])
    channel = chance.choice(sorted(ADDRESSES))
    made = leaf("resource_id", "1") + leaf("channel", channel) + xml_address(channel)
    for name, kind in fields.items():
        if name in ("resource_id", "channel"):
            continue
        if name == wrong_name:
            made += leaf(name, xml_wrong(fields))
        elif chance.random() < 0.2:
            made += leaf(name, xml_pick(kind))
    return element("subscriptions", made, chance.choice(["", " array='true'"]))


def xml_wrong(fields):
    return xml_pick(chance.choice(list(fields.values())))


def xml_profile(wrong_name=None, wrong_in_subscription=None):
    fields = xml_fields(xsd.types["Profile"])
    made = ""
    for name, kind in fields.items():
        if name == wrong_name:
            made += leaf(name, xml_wrong(fields))
        elif chance.random() < 0.3:
            made += leaf(name, chance.choice(ZONES) if name == "_tz" else xml_pick(kind))
    if wrong_in_subscription or chance.random() < 0.3:
        made += xml_subscription(wrong_in_subscription)
    if chance.random() < 0.3:
        made += leaf("custom", xml_pick("String"))
    return made


def xml_body():
    profile_fields = [name for name in xml_fields(xsd.types["Profile"]) if name != "_tz"]
    subscription_fields = [name for name in xml_fields(xsd.types["Subscription"])
                           if name not in ("resource_id", "channel")]
    spoilt = chance.random()
    wrong_name = chance.choice(profile_fields) if spoilt < 0.15 else None
    in_subscription = chance.choice(subscription_fields) if 0.15 <= spoilt < 0.25 else None
    made = leaf("token", TOKEN) + leaf("db_id", chance.choice(["1", " 1\n", "01"]))
    for name, kind in xml_fields(xsd.elements["xml"].type).items():
        # XML Schema can't make the rules for subscriptions depend on it.
        is_beyond = in_subscription and name == "skip_invalid_subscriptions"
        if name not in ("token", "db_id") and not is_beyond and chance.random() < 0.3:
            made += leaf(name, xml_pick(kind))
    return element("xml", made + element("data", xml_profile(wrong_name, in_subscription)))


anything = values(from_schema({"maxLength": 40, "maxItems": 3, "maxProperties": 3}))
bodies = [make() for make in (json_body, xml_body) for _ in range(count)]
generated = [[body, is_valid(body)] for body in bodies]
(folder / "generated.json").write_text(json.dumps(generated), encoding="utf-8")
valid = sum(is_ for _, is_ in generated)
print(f"{len(generated)} bodies, {valid} of them valid")
