"""Every JSON document has a recorded schema (docs/schemas), and follows it."""

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from lab.pages.json_documents import LIVE, OFFLINE, SCHEMAS, documents, given_documents, path_of
from tests.support.interpreters import needs_all_interpreters


def check(document):
    schema = json.loads(path_of(document["schema"]).read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("command", OFFLINE)
def test_documents_follow_their_schemas(command, tmp_path):
    found = [document for _, document in documents((command,), tmp_path)]
    assert found
    for document in found:
        check(document)


def test_documents_of_a_layer_without_scales_follow_their_schemas(tmp_path):
    found = list(given_documents(tmp_path))
    assert len(found) == 9
    for document in found:
        check(document)


@needs_all_interpreters
@pytest.mark.parametrize("command", LIVE)
def test_documents_of_real_interpreters_follow_their_schemas(command, tmp_path):
    for _, document in documents((command,), tmp_path):
        check(document)


def test_every_schema_is_of_a_document_that_a_command_makes():
    assert len(list(SCHEMAS.glob("*.schema.json"))) == 29
    for path in SCHEMAS.glob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        assert path == path_of(schema["title"])


def test_a_key_that_vanishes_appears_or_changes_its_type_is_noticed(tmp_path):
    ((_, document),) = documents(("thresholds {m} --runtime tflm",), tmp_path)
    wrong = [{key: value for key, value in document.items() if key != "layers"}]
    wrong += [document | {"new": 1}, document | {"runtime": 3}]
    for changed in wrong:
        with pytest.raises(ValidationError):
            check(changed)
