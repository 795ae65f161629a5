"""Mutants: the code of a function with one piece of its source replaced."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap


def mutate(monkeypatch, owner, name, old, new):
    """Replace `old` by `new` in the source of `owner.name`, a function of a module or a method of a
    class; `old` must occur exactly once.
    """
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{name}: {source.count(old)} times in the source: {old}"
    module = sys.modules[function.__module__]
    names: dict[str, object] = {}
    flags = __future__.annotations.compiler_flag
    code = compile(source.replace(old, new), inspect.getsourcefile(function), "exec", flags)
    exec(code, vars(module), names)
    monkeypatch.setattr(owner, name, names[name])
