"""Wires of a workflow file: in the graph, inside a subgraph, and through a subgraph's border."""

from __future__ import annotations

import uuid
from collections import defaultdict

from demo.editor.graph import Graph

INPUT_END, OUTPUT_END = -10, -20  # the ids of a subgraph's own two ends


class Wires:
    """``cards``: the nodes as files hold them, whose slots are filled in. ``links``: of each subgraph by the id of its node,
    and under "" those of the graph: origin, its output, target, its input and the type by the link's number.
    """

    def __init__(self, graph: Graph, cards: dict[str, dict]) -> None:
        self.links: dict[str, dict[int, tuple]] = defaultdict(dict)
        self.ends: dict[str, dict[str, list[dict]]] = {box: {"inputs": [], "outputs": []} for box in graph.boxes}
        self._graph, self._cards, self._count = graph, cards, 0
        self._known: dict[tuple, int] = {}

    def join(self, origin: tuple[str, int], target: tuple[str, int], name: str, kind: str) -> None:
        """From an output to an input called ``name``, in whatever subgraphs the two are."""
        left, entered = (self._graph.box_of(node) for node, _ in (origin, target))
        if left == entered:
            self._link(left, origin, target, kind)
            return
        if left:
            origin = left, self.leave(left, origin, kind)
        if entered:
            origin = str(INPUT_END), self.enter(entered, origin, name, kind)
        self._link(entered, origin, target, kind)

    def enter(self, box: str, origin: tuple[str, int] | None, name: str, kind: str) -> int:
        """The number of the input of a subgraph that an output outside leads to; None: an input that is not wired yet."""
        key = (box, "in", origin or (name, kind))
        if key not in self._known:
            self._known[key] = self._new_end(box, "inputs", name, kind)
            if origin is not None:
                self._link("", origin, (box, self._known[key]), kind)
        return self._known[key]

    def enter_unwired(self, box: str, target: tuple[str, int], name: str, kind: str) -> None:
        self._link(box, (str(INPUT_END), self.enter(box, None, name, kind)), target, kind)

    def leave(self, box: str, origin: tuple[str, int], kind: str) -> int:
        """The number of the output of a subgraph that an output in it leads to."""
        key = (box, "out", origin)
        if key not in self._known:
            node, output = origin
            self._known[key] = self._new_end(box, "outputs", self._cards[node]["outputs"][output]["name"], kind)
            self._link(box, origin, (str(OUTPUT_END), self._known[key]), kind)
        return self._known[key]

    def _new_end(self, box: str, side: str, name: str, kind: str) -> int:
        ends = self.ends[box][side]
        taken = {end["name"] for end in ends}
        number = 1
        while (unique := name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._graph.name}/{box}/{side}/{unique}"))
        ends.append({"id": identity, "name": unique, "type": kind, "linkIds": [], "pos": [0, 20 * len(ends)]})
        slot = {"name": unique, "type": kind, **({"link": None} if side == "inputs" else {"links": []})}
        self._cards[box][side].append(slot)
        return len(ends) - 1

    def _link(self, box: str, origin: tuple[str, int], target: tuple[str, int], kind: str) -> None:
        self._count += 1
        self.links[box][self._count] = (int(origin[0]), origin[1], int(target[0]), target[1], kind)
        if int(origin[0]) == INPUT_END:
            self.ends[box]["inputs"][origin[1]]["linkIds"].append(self._count)
        else:
            self._cards[origin[0]]["outputs"][origin[1]]["links"].append(self._count)
        if int(target[0]) == OUTPUT_END:
            self.ends[box]["outputs"][target[1]]["linkIds"].append(self._count)
        else:
            self._cards[target[0]]["inputs"][target[1]]["link"] = self._count
