"""Builds graphs: prompts as the server takes them, with what an editor needs to show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
BLUE, GREEN, PURPLE = "#3f789e", "#3f8e5a", "#8a5a9e"  # of groups
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


class Node(str):
    """A node's id. Calling it links to one of its outputs, by number or name."""

    __slots__ = ("_outputs",)

    def __new__(cls, node_id: int, outputs: list[str]) -> Node:
        node = super().__new__(cls, node_id)
        node._outputs = outputs
        return node

    def __call__(self, output: int | str = 0) -> list:
        return [self, output if isinstance(output, int) else self._outputs.index(output)]


@dataclass(frozen=True)
class Input:
    """One input of a kind of node, from ``/object_info``."""

    name: str
    type: object  # a list holds the choices of a combo box
    options: dict

    @property
    def is_widget(self) -> bool:
        return (isinstance(self.type, list) or self.type in _WIDGET_TYPES) and not self.options.get("forceInput")

    @property
    def default(self) -> object:
        choices = self.type if isinstance(self.type, list) else self.options.get("options", [])
        return self.options.get("default", next(iter(choices), None))


def inputs_of(info: dict) -> Iterator[Input]:
    """In the order in which the editor shows them; ``info`` is the node's entry in ``/object_info``."""
    for section in ("required", "optional"):
        for name in info["input_order"].get(section, []):
            kind, *options = info["input"][section][name]
            yield Input(name, kind, options[0] if options else {})


@dataclass(frozen=True)
class Place:
    """Where a node is on the canvas; a height of 0 is found from what the node holds."""

    at: tuple[int, int]
    size: tuple[int, int]
    title: str


@dataclass
class Box:
    """A subgraph. ``nodes``: those in it. ``shown``: their widgets that its own node shows, as node and name. ``open``: also
    the sockets that nothing is wired to are its inputs; ``ends``: outputs of its nodes that are its own in any case.
    """

    nodes: list[str] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    open: bool = False
    ends: list[tuple[str, int]] = field(default_factory=list)


class Graph:
    """``prompt`` is what the server takes; widgets that are not named have the defaults of ``object_info``. Subgraphs are there
    for the editor only, which takes them apart before it sends a prompt.

    ``app``: widgets that app mode shows, as node and name, and the nodes whose results it shows. ``scale``: of the canvas.
    """

    def __init__(self, object_info: dict, name: str = "") -> None:
        self.object_info, self.name = object_info, name
        self.prompt: dict[str, dict] = {}
        self.places: dict[str, Place] = {}  # notes too, which only the editor sees
        self.notes: dict[str, str] = {}
        self.groups: list[dict] = []
        self.boxes: dict[str, Box] = {}
        self.app: tuple[Sequence[tuple[str, str]], Sequence[str]] | None = None
        self.scale = 0.6
        self._within: Box | None = None

    def add(
        self, kind: str, at: tuple[int, int] = (0, 0), title: str = "", size: tuple[int, int] = (300, 0), **inputs: object
    ) -> Node:
        info = self.object_info[kind]
        known = {one.name: one for one in inputs_of(info)}
        if unknown := inputs.keys() - known.keys():
            raise TypeError(f"{kind} has no input {', '.join(unknown)}: it takes {', '.join(known)}.")
        wanted = {name: one for name, one in known.items() if one.is_widget or inputs.get(name) is not None}
        given = {name: one.default if inputs.get(name) is None else inputs[name] for name, one in wanted.items()}
        node = Node(len(self.places) + 1, info["output_name"])
        self.prompt[node] = {"class_type": kind, "inputs": given, "_meta": {"title": title or kind}}
        self.places[node] = Place(at, size, title)
        if self._within is not None:
            self._within.nodes.append(node)
        return node

    @contextmanager
    def subgraph(self, title: str, at: tuple[int, int], size: tuple[int, int] = (300, 0)) -> Iterator[Box]:
        """The nodes that are added in the block are in a subgraph, on a canvas of its own."""
        host, box = str(len(self.places) + 1), Box()
        self.places[host], self.boxes[host], self._within = Place(at, size, title), box, box
        try:
            yield box
        finally:
            self._within = None

    def box_of(self, node: str) -> str:
        """The subgraph's node that a node is in; empty where it is in none."""
        return next((host for host, box in self.boxes.items() if node in box.nodes), "")

    def group(self, title: str, bounding: tuple[int, int, int, int], color: str = BLUE) -> None:
        box = {"id": len(self.groups) + 1, "title": title, "bounding": list(bounding), "color": color}
        self.groups.append({**box, "font_size": 24, "flags": {}})

    def is_link(self, value: object) -> bool:
        return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in self.prompt


def change(prompt: dict, class_type: str, **inputs: object) -> None:
    """Sets inputs of every node of a class."""
    for node in prompt.values():
        if node["class_type"] == class_type:
            node["inputs"].update(inputs)


def find(prompt: dict, class_type: str) -> list[str]:
    """Ids of the nodes of a class, in order."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]
