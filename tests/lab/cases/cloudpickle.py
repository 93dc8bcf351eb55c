"""
cloudpickle: functions and classes that one release writes, and that are loaded and called beside another.

Python 3.8 and newer.
"""

import functools
import pickle

import cloudpickle

CASES = {}


def case(name, make, use):
    CASES[name] = (lambda: cloudpickle.dumps(make()), {"value": lambda data: use(pickle.loads(data))})


def _closure():
    factor = 3

    def multiply(x):
        return x * factor

    return multiply


def _recursive():
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    return factorial


def _defaults():
    def add(x, y=2, *rest, z=4, **more):
        """Adds."""
        return [x, y, z, sorted(more), add.__doc__]

    add.note = "kept"
    return add


def _class():
    class Scaler:
        """Scales."""

        unit = 2.0

        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by * self.unit

        @property
        def half(self):
            return self.by / 2

        @staticmethod
        def zero():
            return 0

    return Scaler


def _subclass():
    base = _class()

    class Shifted(base):
        def __call__(self, x):
            return super().__call__(x) + 1

    return Shifted


def _dataclass():
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: float
        y: float = 0.5

    return Point


def _enum():
    import enum

    class Colour(enum.Enum):
        RED = 1
        BLUE = 2

    return Colour


def _slots():
    class Slim:
        __slots__ = ("a",)

        def __init__(self, a):
            self.a = a

    return Slim


def _generic():
    import typing

    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        def __init__(self, value):
            self.value = value

    return Box


def _abstract():
    import abc

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Shape):
        def area(self):
            return 4

    return Square


def _cached():
    @functools.lru_cache(maxsize=None)
    def square(x):
        return x * x

    return square


case("function-lambda", lambda: lambda x: x + 1, lambda f: f(2))
case("function-closure", _closure, lambda f: f(2))
case("function-recursive", _recursive, lambda f: f(5))
case("function-defaults", _defaults, lambda f: [str(f(1, w=5)), f.note, str(f.__kwdefaults__), f.__name__])
case("function-partial", lambda: functools.partial(_closure(), 4), lambda f: f())
case("function-imports", lambda: _importing(), lambda f: f())
case("function-generator", lambda: lambda n: (i * i for i in range(n)), lambda f: [str(item) for item in f(4)])
case("function-cached", _cached, lambda f: f(4))
case("class-instance", lambda: _class()(3), lambda o: [str(o(2)), str(o.half), str(o.zero()), type(o).__doc__])
case("class-itself", _class, lambda c: c(3)(2))
case("class-subclass", lambda: _subclass()(3), lambda o: o(2))
case("class-dataclass", lambda: _dataclass()(1.0), lambda o: [str(o.x), str(o.y), str(hash(o) == hash(type(o)(1.0)))])
case("class-enum", lambda: _enum().RED, lambda o: [str(o.name), str(o.value)])
case("class-slots", lambda: _slots()(5), lambda o: o.a)
case("class-generic", lambda: _generic()(5), lambda o: o.value)
case("class-abstract", lambda: _abstract()(), lambda o: o.area())
case("method-bound", lambda: _class()(3).__call__, lambda f: f(2))


def _importing():
    def root():
        import math

        return math.sqrt(16)

    return root
