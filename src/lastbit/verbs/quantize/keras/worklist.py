"""In which order the converter's optimizer looks at operators.

It takes operators from a stack, the last one of the model first. A change pushes what it made, then the users of the
result, then what fed the operator that is gone. A constant that a change calculates is pending at first: rules that
need a constant do not see it before its own turn. What has not changed any more is looked at again from the start.

Source: llvm/llvm-project mlir/lib/Transforms/Utils/GreedyPatternRewriteDriver.cpp.
"""

from __future__ import annotations

from collections.abc import Callable

from .graph import Node, Pending, users_of

__all__ = ["Rewriter"]

_ROUNDS = 10


class Rewriter:
    """A graph while it is changed.

    Attributes:
        nodes: its operators, each after those that feed it.
        outputs: what is returned.
    """

    def __init__(self, nodes: list[Node], outputs: list[Node]) -> None:
        self.nodes = nodes
        self.outputs = outputs
        self.stack: list[Node | Pending] = []

    def everywhere(self, *rules: Callable[[Node], bool]) -> None:
        """Apply rules until none fits."""
        for _ in range(_ROUNDS):
            self.stack = list(self.nodes)
            changed = False
            while self.stack:
                top = self.stack.pop()
                if isinstance(top, Pending):
                    changed |= self.fold(top)
                elif self.is_dead(top):
                    self.erase(top)
                    changed = True
                elif top in self.nodes:
                    changed |= any(rule(top) for rule in rules)
            if not changed:
                return

    def push(self, entry: Node | Pending) -> None:
        """Look at something next, unless its turn comes anyway."""
        if entry not in self.stack:
            self.stack.append(entry)

    def fold(self, pending: Pending) -> bool:
        """Calculate a constant; what uses it is looked at again."""
        if pending.folded or not pending.ready:
            return False
        pending.folded = True
        for node in reversed(self.nodes):
            for own in waiting(node):
                if own is not pending and pending in own.parts:
                    self.push(own)
            if pending in node.pending:
                self.push(node)
        return True

    def uses(self, node: Node) -> int:
        """How often a node's output is used."""
        return users_of(self.nodes, self.outputs)[node]

    def is_dead(self, node: Node) -> bool:
        """Whether nothing uses a node any more."""
        return node in self.nodes and node.op != "INPUT" and not self.uses(node)

    def put(self, node: Node, made: Node, *before: Node) -> None:
        """Let a new node take another's place; `before` are new nodes that feed it."""
        made.name, made.shape, made.rows = node.name, node.shape, node.rows
        place = self.nodes.index(node)
        self.nodes[place:place] = [*before, made]
        for pending in made.pending:
            if pending is not None and not pending.folded:
                self.push(pending)
        for new in (*before, made):
            self.push(new)
        self.replace(node, made)

    def drop(self, node: Node) -> bool:
        """Let what feeds a node take its place."""
        self.replace(node, node.inputs[0])
        return True

    def replace(self, node: Node, other: Node) -> None:
        """Let all users of a node use another; the node is gone."""
        for user in reversed(self.nodes):
            if node in user.inputs:
                user.inputs[:] = [other if source is node else source for source in user.inputs]
                self.push(user)
            user.shape_of = other if user.shape_of is node else user.shape_of
        self.outputs[:] = [other if output is node else output for output in self.outputs]
        self.erase(node)

    def without_shapes(self) -> tuple[list[Node], list[Node]]:
        """The nodes without those of which only the shape is read, and the outputs."""
        for node in self.nodes:
            node.shape_of = None
        for node in reversed(list(self.nodes)):
            if self.is_dead(node):
                self.erase(node)
        return self.nodes, self.outputs

    def erase(self, node: Node) -> None:
        """Take a node out; what fed it is looked at again where at most one other node uses it."""
        self.nodes.remove(node)
        if node in self.stack:
            self.stack.remove(node)
        for source in node.inputs:
            if sum(source in user.inputs for user in self.nodes) <= 1:
                self.push(source)


def waiting(node: Node) -> list[Pending]:
    """The constants of a node that are to be calculated, and those that they are calculated from."""
    found = [own for own in node.pending if own is not None]
    for own in found:  # grows
        found += [part for part in own.parts if part is not None and part not in found]
    return found
