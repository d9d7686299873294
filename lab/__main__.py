"""`python -m lab GROUP NAME [OPTIONS]`, in the root of a checkout; without arguments: what there is."""

from __future__ import annotations

import ast
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

from lastbit.model.errors import InputError, ModelError

COMMANDS = {
    "record": {
        "activations": "lab.record.activations",
        "arm64": "lab.record.arm64",
        "control_flow": "lab.record.control_flow",
        "demo_models": "lab.record.demo_models",
        "dense": "lab.record.dense",
        "files": "lab.record.files",
        "libraries": "lab.record.libraries",
        "moving_average": "lab.record.moving_average",
        "operators": "lab.record.operators",
        "pairs": "lab.record.pairs",
        "quantize": "lab.record.quantize",
        "quantize_lstm": "lab.record.quantize_lstm",
        "quantize_methods": "lab.record.quantize_methods",
        "question": "lab.record.question",
        "version_operators": "lab.record.version_operators",
    },
    "collect": {
        "chosen": "lab.collect.chosen",
        "dense": "lab.collect.dense",
        "from_recorded": "lab.collect.from_recorded",
        "inputs": "lab.collect.operator_inputs",
        "operators": "lab.collect.operators",
    },
    "versions": {
        "facts": "lab.collect.version_facts",
        "from_golden": "lab.collect.from_golden",
        "operators": "lab.reach.operator_versions",
        "replay": "lab.reach.replay_version",
        "run": "lab.reach.time_machine",
    },
    "pages": {
        "files": "lab.pages.files",
        "notebooks": "lab.pages.notebooks",
        "operators": "lab.pages.operator_tables",
        "schemas": "lab.pages.json_documents",
        "update": "lab.pages.update",
    },
    "check": {
        "boards": "lab.reach.emulated.boards",
        "compiled_model": "lab.reach.compiled_model",
        "engine": "lab.reach.emulated.check_engine",
        "export": "lab.checks.export_check",
        "export_mutations": "lab.checks.export_mutations",
        "export_operators": "lab.checks.export_operators",
        "files": "lab.checks.fuzz_files",
        "golden_cpu": "lab.checks.golden_cpu",
        "html": "lab.checks.html_pictures",
        "keras": "lab.checks.keras_check",
        "keras_rivals": "lab.checks.keras_rivals",
        "methods": "lab.checks.methods_check",
        "micro_recorder": "lab.checks.micro_recorder",
        "models": "lab.checks.verify_models",
        "quantize": "lab.checks.quantize_check",
        "quantize_rivals": "lab.checks.quantize_rivals",
        "reference": "lab.reach.emulated.check_reference",
        "release": "lab.checks.release",
        "site": "lab.checks.site",
        "weight_rivals": "lab.checks.weight_rivals",
    },
    "evidence": {
        "condense": "lab.collect.evidence_files",
    },
}


def main(arguments: list[str]) -> None:
    """Run the command that two words name, or say which there are."""
    group, name = (*arguments, "", "")[:2]
    if group in COMMANDS and len(COMMANDS[group]) == 1 and name not in COMMANDS[group]:
        (name,) = COMMANDS[group]
        rest = arguments[1:]
    else:
        rest = arguments[2:]
    if name not in COMMANDS.get(group, {}):
        raise SystemExit(listing(group))
    sys.argv = [f"python -m lab {group} {name}", *rest]
    try:
        runpy.run_module(COMMANDS[group][name], run_name="__main__", alter_sys=False)
    except (InputError, ModelError) as error:  # what was given is wrong: its words say all
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def listing(group: str = "") -> str:
    """Each command with the first sentence of its file; of one group where it is one."""
    lines = ["python -m lab GROUP NAME [OPTIONS]"]
    for named, commands in COMMANDS.items():
        if group in COMMANDS and group != named:
            continue
        lines.append("")
        for name, module in commands.items():
            spec = find_spec(module)
            assert spec is not None
            assert spec.origin is not None
            text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
            lines.append(f"{named} {name:16} {text.splitlines()[0] if text else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
