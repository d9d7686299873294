"""A runtime on the kinds of CPU that it tells apart: what a file of this folder states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from ..rules.base import Either, IntegerRule, Pairs, Whole
from ..rules.requantize.table import CHOICES, RULES, line_of
from .base import Family, Refused, Rule, Runtime
from .change import Change
from .machine import Vectors
from .variant import Key, Variant

__all__ = ["Cpu", "Interpreter", "Mode", "with_products"]


@dataclass(frozen=True)
class Mode:
    """How the real interpreter is started; see `lastbit.oracles.spec.OracleSpec`, whose fields these are.

    Attributes:
        distribution: the installed distribution that has it.
        extra: LastBit's optional dependency that installs it.
        words: which kernels run, in words.
        worker: the interpreter and its operator resolver.
        where: a limit of where it can be installed.
        script: the worker's file.
        library: whether it is a shared library, which the user builds and names.
        environment: variables that its process gets.
    """

    distribution: str
    extra: str
    words: str
    worker: tuple[str, str]
    where: str = ""
    script: Literal["tflite_worker", "dense_worker"] = "tflite_worker"
    library: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A kind of CPU of a runtime: its name, what it needs, what differs there.

    Attributes:
        name, title, platform, sources: see `Runtime`.
        machines: the machine types, as `platform.machine` spells them; empty: any.
        vectors: the kinds of CPU; empty: any.
        like: the name of the kind whose rules hold where none stands here, and its other fields where they are None;
            empty: `rules` are all there are.
        rules: those that differ.
        products: how products of `in_products` are added there, where it is not as `like` adds them.
        in_products: variants of dense layers.
        oracle, fallback, declines, ignores, operator_versions, unstated, overflowing: see `Runtime`; None: as `like`
            has it.
        mode: how its interpreter is started; None: as its file says.
    """

    name: str
    title: str
    platform: str
    sources: tuple[str, ...]
    machines: tuple[str, ...] = ()
    vectors: tuple[Vectors, ...] = ()
    like: str = ""
    rules: Mapping[Key, Rule | Refused] = field(default_factory=dict, repr=False)
    products: Whole | Pairs | None = None
    in_products: tuple[Variant, ...] = ()
    oracle: str | None = None
    fallback: str | None = None
    declines: frozenset[str] | None = None
    ignores: frozenset[str] | None = None
    operator_versions: Mapping[str, int] | None = None
    unstated: frozenset[str] | None = None
    overflowing: frozenset[Family] | None = None
    mode: Mode | None = None

    def runtime(self, likes: Mapping[str, Runtime]) -> Runtime:
        """The runtime on this kind of CPU.

        Args:
            likes: those on kinds that were stated before.
        """
        like = likes[self.like] if self.like else Runtime("", "", "", "", {})
        rules = {**like.rules, **self.rules}
        if self.products is not None:
            for key in [key for key in rules if key[1] in self.in_products]:
                rules[key] = with_products(rules[key], self.products)
        given = {
            "oracle": self.oracle,
            "fallback": self.fallback,
            "declines": self.declines,
            "ignores": self.ignores,
            "operator_versions": self.operator_versions,
            "unstated": self.unstated,
            "overflowing": self.overflowing,
        }
        stated = {name: value for name, value in given.items() if value is not None}
        own = {"name": self.name, "title": self.title, "platform": self.platform, "sources": self.sources}
        return replace(like, **own, rules=rules, **stated)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Interpreter:
    """One interpreter in one mode, on every kind of CPU.

    Attributes:
        mode: how it is started.
        cpus: the kinds of CPU that it tells apart; one that is `like` another stands after it.
        changes: what older versions did otherwise; a later one overrides an earlier one.
    """

    mode: Mode
    cpus: tuple[Cpu, ...]
    changes: tuple[Change, ...] = ()

    @cached_property
    def runtimes(self) -> dict[str, Runtime]:
        """By name."""
        found: dict[str, Runtime] = {}
        for cpu in self.cpus:
            found[cpu.name] = cpu.runtime(found)
        return found


def with_products(rule: Rule | Refused, products: Whole | Pairs) -> Rule | Refused:
    """The same rule, with its products added in another way; of choices both rules. A refusal stays."""
    if isinstance(rule, Refused):
        return rule
    stated = rule.arithmetic or CHOICES.get(rule.name) or RULES[rule.name]
    if not isinstance(stated, IntegerRule | Either):
        return rule  # float32 sums
    if isinstance(stated, Either):
        then, otherwise = _added(stated.then, products), _added(stated.otherwise, products)
        return Rule(
            name := f"{stated.name}/pairs", rule.kernel, replace(stated, name=name, then=then, otherwise=otherwise)
        )
    found = _added(stated, products)
    return Rule(found.name, rule.kernel, None if found.name in RULES else found)


def _added(rule: IntegerRule, products: Whole | Pairs) -> IntegerRule:
    return line_of(replace(rule, sums=replace(rule.sums, products=products)))
