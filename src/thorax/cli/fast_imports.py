"""Imports of packages without parts of them that take long and that `thorax predict` never uses.

Most of these parts are imported when a function of them is called. Only for the command line: in a
program of the user, the order of imports is the user's.
"""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import cast


def import_nibabel() -> None:
    """Import nibabel without pydicom, which would import `requests` and take 0.2 s.

    The DICOM reader imports pydicom itself.
    """
    _postpone("urllib.request")
    if "pydicom" in sys.modules:
        return
    sys.modules["pydicom"] = cast(ModuleType, None)
    try:
        import nibabel  # noqa: F401
    finally:
        del sys.modules["pydicom"]


def import_scipy() -> None:
    """Import `scipy.ndimage` without the modules that it imports and uses in a few functions."""
    # SciPy imports all names of NumPy, one of which is the compiler of Fortran.
    _postpone("numpy.f2py")
    _postpone("scipy.special")
    import scipy.ndimage  # noqa: F401


def omit_openvino_converter() -> None:
    """Let `import openvino` omit its converter of models of other frameworks."""
    sys.modules.setdefault("openvino.tools.ovc", cast(ModuleType, None))


def _postpone(name: str) -> None:
    """Postpone the import of a submodule until one of its names is used."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
