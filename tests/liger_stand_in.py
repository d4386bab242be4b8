"""A package with Liger's name and interface, which knows Qwen2 and computes as the model did itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MONKEY_PATCH = '''
"""As liger-kernel 0.8 has it: a table of functions, and silence about what is not in the table."""

import logging
from types import MethodType


def apply_liger_kernel_to_qwen2(model):
    def forward(self, *args, **options):
        return type(self).forward(self, *args, **options)

    for module in (model, model.model.norm):
        module.forward = MethodType(forward, module)


MODEL_TYPE_TO_APPLY_LIGER_FN = {
    "llama": apply_liger_kernel_to_qwen2,
    "qwen2": apply_liger_kernel_to_qwen2,
}


def _apply_liger_kernel_to_instance(model):
    apply = MODEL_TYPE_TO_APPLY_LIGER_FN.get(model.config.model_type)
    if apply is None:
        logging.getLogger(__name__).info("There are currently no Liger kernels supported for it")
    else:
        apply(model=model)
'''


def write(folder: Path, monkey_patch: str = MONKEY_PATCH, version: str = "0.8.0") -> None:
    """Write the package into a folder of `sys.path`."""
    package = folder / "liger_kernel" / "transformers"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text(f"__version__ = {version!r}\n")
    (package / "__init__.py").write_text("from .monkey_patch import _apply_liger_kernel_to_instance\n")
    (package / "monkey_patch.py").write_text(monkey_patch)


@contextmanager
def installed(folder: Path, version: str = "0.8.0") -> Iterator[None]:
    """Have transformers find the package, too, which remembers what it has found."""
    from transformers.utils import is_liger_kernel_available

    write(folder, version=version)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        is_liger_kernel_available.cache_clear()
        try:
            yield
        finally:
            is_liger_kernel_available.cache_clear()
            for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
                del sys.modules[name]
