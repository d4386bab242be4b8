"""Which models Liger has kernels for, as the installed package says it, without importing it or torch."""

import ast
from importlib.util import find_spec
from pathlib import Path

_WHERE = Path("transformers", "monkey_patch.py")
_TABLE = "MODEL_TYPE_TO_APPLY_LIGER_FN"
"""`model_type` → function; for any other type Liger does nothing, and says so only at its level INFO."""


def is_installed() -> bool:
    """Whether there is such a package; a mere folder of the name is none."""
    spec = find_spec("liger_kernel")
    return spec is not None and spec.origin is not None


def known_model_types() -> frozenset[str] | None:
    """The `model_type`s that have kernels; None where the installed package does not let them be read."""
    spec = find_spec("liger_kernel")
    if spec is None or spec.origin is None:
        return None
    try:
        module = ast.parse((Path(spec.origin).parent / _WHERE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and _names_table(node):
            keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
            # A key that is computed would be one that nobody can read here.
            whole = len(keys) == len(node.value.keys)
            return frozenset(key for key in keys if isinstance(key, str)) if whole else None
    return None


def _names_table(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == _TABLE for target in node.targets)
