"""Checks Kubernetes manifests against schemas; prints all documents as one JSON list.

`python manifests.py FILE...`; needs `kubernetes-validate` (Kubernetes' own schemas), `cloudcoil.models.keda` (types made of the schemas that
KEDA publishes) and, beside this file, `spinapp.schema.json`. A field that a schema does not have is an error in all three.
"""

import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from jsonschema import Draft202012Validator

KUBERNETES = "1.33"

SPINAPP = json.loads((Path(__file__).parent / "spinapp.schema.json").read_text())


def closed(schema):
    """The same schema, without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        shut.setdefault("additionalProperties", False)
    return shut


def problems(document: dict) -> list[str]:
    match document.get("apiVersion", ""):
        case "core.spinkube.dev/v1alpha1":
            schema = SPINAPP
        case "keda.sh/v1alpha1":
            schema = closed(getattr(keda, document["kind"]).model_json_schema(by_alias=True))
        case _:
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                return [f"{'.'.join(map(str, error.path))}: {error.message}"]
            return []
    errors = Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def main() -> None:
    documents, found = [], []
    for file in sys.argv[1:]:
        for document in yaml.safe_load_all(Path(file).read_text()):
            documents.append(document)
            found += [f"{Path(file).name}, {document.get('kind')}: {problem}" for problem in problems(document)]
    if found:
        sys.exit("\n".join(found))
    json.dump(documents, sys.stdout)


if __name__ == "__main__":
    main()
