"""Validates the fixtures against the schemas, with validators that have nothing to do with the worker.

    profile-worker contract --format json-schema            > FOLDER/schema.json
    profile-worker contract --format xsd                    > FOLDER/request.xsd
    profile-worker contract --format xsd --message reply    > FOLDER/reply.xsd
    python3 validate.py FOLDER ../fixtures

Needs the packages jsonschema[format] and xmlschema. A request must be valid if the service does not
answer 400 to anything in it, and invalid if it does. FOLDER may hold trigger events, *.event.json.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

import jsonschema
import xmlschema

# A schema can't know what a database has defined.
UNKNOWN_TO_SCHEMAS = {"46-defined-field-of-wrong-type", "47-unknown-field-of-strict-database"}
# XML Schema can't make the rules for subscriptions depend on skip_invalid_subscriptions.
TOO_STRICT_IN_XML = {"14-skip-invalid-subscriptions"}

folder, fixtures = (pathlib.Path(argument) for argument in sys.argv[1:])
failures = []
checked = 0


def check(name, valid, expected):
    global checked
    checked += 1
    if valid != expected:
        failures.append(f"{name} must be {'valid' if expected else 'invalid'}")


def read(path):
    text = path.read_text(encoding="utf-8")
    return re.sub(r"\{profile_id\}", "6638e1e8ee44bb50a67115c4", text)


def expected_to_be_valid(case, codes):
    return 400 not in codes or case in UNKNOWN_TO_SCHEMAS


document = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
jsonschema.Draft7Validator.check_schema(document)


def json_validator(name):
    schema = {**document, "$ref": f"#/definitions/{name}"}
    schema.pop("anyOf")
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())


for path in sorted(fixtures.glob("*.request.json")):
    case = path.name.removesuffix(".request.json")
    reply = json.loads(read(fixtures / f"{case}.reply.json"))
    check(f"{case}.reply.json", json_validator("reply").is_valid(reply), True)
    codes = {reply["error"]} | {result["error"] for result in reply.get("result", [])}
    try:
        valid = json_validator("request").is_valid(json.loads(read(path)))
    except json.JSONDecodeError:
        valid = False
    check(path.name, valid, expected_to_be_valid(case, codes))

for path in sorted(folder.glob("*.event.json")):
    check(path.name, json_validator("event").is_valid(json.loads(read(path))), True)

request_schema = xmlschema.XMLSchema11(str(folder / "request.xsd"))
reply_schema = xmlschema.XMLSchema11(str(folder / "reply.xsd"))

for path in sorted(fixtures.glob("*.request.xml")):
    case = path.name.removesuffix(".request.xml")
    reply = read(fixtures / f"{case}.reply.xml")
    check(f"{case}.reply.xml", reply_schema.is_valid(reply), True)
    codes = {int(error.text) for error in ElementTree.fromstring(reply).iter("error")}
    try:
        valid = request_schema.is_valid(xmlschema.XMLResource(read(path), defuse="always"))
    except (ElementTree.ParseError, xmlschema.XMLSchemaException):
        valid = False
    check(path.name, valid, expected_to_be_valid(case, codes) and case not in TOO_STRICT_IN_XML)

print(f"{checked} documents checked")
if failures:
    sys.exit("\n".join(failures))
