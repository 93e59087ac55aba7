"""Imports transformers without what editing never uses: half of a process's start.

For editcore's own processes only, its commands and the one that their jobs are forked from. In a
program that uses editcore as a library, transformers is imported as usual.
"""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIBRARIES = (
    "torch",
    "transformers.modeling_layers",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
"""What every job with a model needs."""
TORCH, LIBRARY = "torch", "transformers"
DISTRIBUTED = "torch.distributed"
COMPILER = "torch._dynamo"  # imports sympy and torch's compiler, inductor
MARKS = ("allow_in_graph", "assume_constant_result", "disable")
"""The compiler's decorators that only mark a function for it."""


def install() -> None:
    """Make the first import of transformers in this process a lean one; it imports `LIBRARIES`.

    During that import, torch reports no support for `torch.distributed`, SciPy is hidden, and a
    stand-in takes the compiler's place, ready to import the real one on first use. All of this is
    undone at the end. If the import fails, as it may with a future version, it is repeated in the
    usual way. Garbage collection is off while torch and transformers are imported, and never looks
    at what their import created.

    Two effects last. Functions that transformers marks for the compiler have no marks, which only
    `torch.compile` would notice. And transformers and accelerate keep the answers that they got, so
    they have neither code for several processes nor losses of object detection, as in an
    environment without these libraries. Asking again would be wrong, since their modules lack the
    names that they did not import. Other libraries, such as peft, lm-eval and editcore itself, find
    `torch.distributed` and SciPy as usual.
    """
    if LIBRARY not in sys.modules and not any(isinstance(f, _Libraries) for f in sys.meta_path):
        sys.meta_path.insert(0, _Libraries())


class _Libraries(MetaPathFinder):
    """Finds torch and transformers as Python does, and lets them be executed leanly."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with another loader."""
        if name not in (TORCH, LIBRARY):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = (_LeanLoader if name == LIBRARY else _Uncollected)(spec.loader)
        return spec


class _Uncollected(Loader):
    """Executes a module without garbage collection, which would scan its objects repeatedly."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What the module's own loader creates."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute it with its own loader, which is the one that it will know."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        self._execute(module)

    def _execute(self, module: ModuleType) -> None:
        with uncollected():
            self._own.exec_module(module)


class _LeanLoader(_Uncollected):
    """Executes transformers and imports `LIBRARIES` leanly, or else as usual."""

    def _execute(self, module: ModuleType) -> None:
        sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _Libraries)]
        try:
            with uncollected(), lean():
                self._own.exec_module(module)
                for name in LIBRARIES:
                    importlib.import_module(name)
            vars(importlib.import_module(DISTRIBUTED)).setdefault("__getattr__", _submodule)
        except Exception:
            for name in [*sys.modules]:
                if name.partition(".")[0] == LIBRARY:
                    del sys.modules[name]
            sys.modules[LIBRARY] = module
            self._own.exec_module(module)
        gc.freeze()  # they last; neither a fork nor the end of the process is to look at them again


def _submodule(name: str) -> ModuleType:
    """A module of `torch.distributed`, imported because a library takes for granted that it is.

    Raises `AttributeError` if there is none.
    """
    try:
        return importlib.import_module(f"{DISTRIBUTED}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"module {DISTRIBUTED!r} has no attribute {name!r}") from error


@contextmanager
def uncollected() -> Iterator[None]:
    """A block that creates long-lived objects, such as imports, without garbage collection.

    The collector would scan the same objects repeatedly, for a quarter of the block's time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def lean() -> Iterator[None]:
    """A block in which libraries are imported without what `install` describes."""
    import torch.distributed

    available: Callable[[], bool] = torch.distributed.is_available
    with ExitStack() as undo:
        undo.callback(setattr, torch.distributed, "is_available", available)
        torch.distributed.is_available = lambda: False
        if "scipy" not in sys.modules:
            undo.callback(sys.modules.pop, "scipy", None)
            sys.modules["scipy"] = None  # type: ignore[assignment] # the import system's own way
        finder = _StandIns()
        undo.callback(finder.remove)
        sys.meta_path.insert(0, finder)
        yield


class _StandIns(MetaPathFinder, Loader):
    """Finds stand-ins for the compiler and its modules, where they are not yet imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A package, so that there can be modules in it."""
        if name != COMPILER and not name.startswith(f"{COMPILER}."):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The stand-in."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has no code."""

    def remove(self) -> None:
        """Leave no stand-in where Python looks for a module."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if _stands_in(name)]:
            del sys.modules[name]
        package, _, name = COMPILER.rpartition(".")
        if isinstance(vars(sys.modules[package]).get(name), _StandIn):
            delattr(sys.modules[package], name)


def _stands_in(name: str) -> bool:
    return isinstance(sys.modules.get(name), _StandIn)


class _StandIn(ModuleType):
    """A module whose names are `_Deferred`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Deferred(self.__name__, name)


class _Deferred:
    """A name of a module that is imported when the name is used.

    During the lean import it can only be a decorator, and changes nothing; any other use is an
    `ImportError`.
    """

    __slots__ = ("_module", "_name")

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        if _stands_in(self._module) and self._name in MARKS:
            function = args[0] if args else None
            return function if callable(function) else lambda function: function
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _real(self) -> Any:
        if _stands_in(self._module):
            raise ImportError(f"{self._module}.{self._name} is used during a lean import")
        return getattr(importlib.import_module(self._module), self._name)
