"""The converter of UI workflows, on a hand-made one."""

from __future__ import annotations

from demo.editor.workflow import to_prompt

INFO = {
    "Load": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}},
    "Make": {
        "input": {
            "required": {
                "source": ["IMAGE"],
                "seed": ["INT", {}],
                "text": ["STRING", {}],
                "late": ["INT", {"forceInput": True}],
            },
            "optional": {"extra": ["IMAGE"], "mode": ["COMBO", {"options": ["x", "y"]}]},
        }
    },
}


def node(node_id, kind, inputs=(), values=(), outputs=("IMAGE",), mode=0):
    return {
        "id": node_id,
        "type": kind,
        "mode": mode,
        "inputs": [{"name": name, "type": "IMAGE", "link": link} for name, link in inputs],
        "outputs": [{"type": kind_of} for kind_of in outputs],
        "widgets_values": list(values),
    }


def convert(*nodes, links):
    return to_prompt({"nodes": list(nodes), "links": [[*link, "IMAGE"] for link in links]}, INFO)


MAKE_VALUES = [7, "fixed", "hello", "y"]


def test_widgets_links_and_control_values():
    prompt = convert(
        node(1, "Load", values=["a.png", "image"]),
        node(2, "Make", [("source", 5), ("extra", None)], MAKE_VALUES),
        node(3, "Note", values=["text"]),
        links=[(5, 1, 0, 2, 0)],
    )
    assert {key: value["class_type"] for key, value in prompt.items()} == {"1": "Load", "2": "Make"}
    assert prompt["1"]["inputs"] == {"image": "a.png"}
    assert prompt["2"]["inputs"] == {"source": ["1", 0], "seed": 7, "text": "hello", "mode": "y"}


def test_reroutes_bypassed_and_muted_nodes():
    prompt = convert(
        node(1, "Load", values=["a.png", "image"]),
        node(2, "Reroute", [("", 1)]),
        node(3, "Make", [("source", 2)], MAKE_VALUES, mode=4),
        node(4, "Make", [("source", 3), ("extra", 4)], MAKE_VALUES),
        node(5, "Load", values=["a.png", "image"], mode=2),
        links=[(1, 1, 0, 2, 0), (2, 2, 0, 3, 0), (3, 3, 0, 4, 0), (4, 5, 0, 4, 1)],
    )
    assert set(prompt) == {"1", "4"}
    assert prompt["4"]["inputs"]["source"] == ["1", 0]
    assert "extra" not in prompt["4"]["inputs"]


def test_primitive_nodes_become_constants():
    prompt = convert(
        node(1, "PrimitiveNode", values=[41, "fixed"], outputs=("INT",)),
        node(2, "Make", [("late", 1)], MAKE_VALUES),
        links=[(1, 1, 0, 2, 0)],
    )
    assert prompt["2"]["inputs"]["late"] == 41
