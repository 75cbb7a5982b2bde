"""What jaxtyping's hook puts around every function of the package: checks of types and shapes, made once a call.

`jaxtyping.jaxtyped` binds the arguments of a call to a signature, checks them in a function of their own, and checks
them again with the result: a third of the time of the tests. Here beartype checks the arguments when the function
itself is called and the result when it ends. Only where an annotation names an array, the axes of the call are kept.
A function gets its checks at its first call: a process that runs tests calls few of those that it imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache, partial, update_wrapper
from inspect import isclass, iscoroutinefunction, isgeneratorfunction
from types import FunctionType, SimpleNamespace
from typing import Any, TypeVar, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, config

_beartype = beartype(conf=BeartypeConf(violation_type=TypeCheckError))
_jaxtyped = jaxtyping.jaxtyped


def checked(thing: Any = None, *, typechecker: Any) -> Any:
    """Return a function that checks its arguments and its result; stands for `jaxtyping.jaxtyped` in its hook.

    What the hook gives is a function as `def` made it, or a class, of which dataclasses check what they are made of.
    Generators are left to jaxtyping: beartype would check their arguments only when they are first asked.
    """
    if thing is None:
        return partial(checked, typechecker=typechecker)
    if isclass(thing):
        made = vars(thing).get("__init__")
        if is_dataclass(thing) and made is not None and not hasattr(made, "__wrapped__"):
            thing.__init__ = checked(made, typechecker=typechecker)
        return thing
    if isgeneratorfunction(thing) or iscoroutinefunction(thing):
        return _jaxtyped(thing, typechecker=typechecker)
    hints = _hints(thing)
    if not hints:
        return thing
    arrays = list(_arrays(list(hints.values())))
    if any("{" in array.dim_str for array in arrays):  # an axis that is computed from the arguments
        return _jaxtyped(thing, typechecker=typechecker)
    return update_wrapper((_in_context if arrays else _plain)(thing, cache(partial(_typed, thing, hints))), thing)


def _hints(function: FunctionType) -> dict[str, Any]:
    """Return the types of the arguments and of the result, but for those that are not there at run time."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:  # a type that only a type checker imports
        found = {}
        for name, annotation in function.__annotations__.items():
            alone = SimpleNamespace(__annotations__={name: annotation})
            with suppress(NameError):
                found |= get_type_hints(alone, function.__globals__, include_extras=True)
        return found


def _arrays(hints: list[Any]) -> Iterator[type[AbstractArray]]:
    for hint in hints:
        if isclass(hint) and issubclass(hint, AbstractArray):
            yield hint
        elif isinstance(hint, list):  # the arguments of a Callable
            yield from _arrays(hint)
        elif isinstance(hint, TypeVar):
            yield from _arrays([*hint.__constraints__, hint.__bound__])
        else:
            yield from _arrays(list(get_args(hint)))


def _typed(function: FunctionType, hints: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with beartype's checks of these types; the given one stays as it is."""
    same = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    same.__kwdefaults__ = function.__kwdefaults__
    same.__qualname__, same.__module__ = function.__qualname__, function.__module__
    same.__annotations__ = hints
    return _beartype(same)


def _plain(function: Callable[..., Any], typed: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return (function if config.jaxtyping_disable else typed())(*args, **kwargs)

    return call


def _in_context(function: Callable[..., Any], typed: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        with _jaxtyped("context"):
            try:
                return typed()(*args, **kwargs)
            except TypeCheckError:
                jaxtyping.print_bindings()
                raise

    return call
