"""What nodes show: the newest of each node, whole for a page that is opened, and in parts for one that is open."""

from __future__ import annotations

import pytest
from cns_pack.cns_core.comfy_adapter.page import live
from cns_pack.cns_core.comfy_adapter.page.live import LiveState, LiveTraining


@pytest.fixture(autouse=True)
def nothing_shown(monkeypatch):
    monkeypatch.setattr(live, "_shown", live.defaultdict(live.OrderedDict))


@pytest.fixture
def pushed(monkeypatch) -> list[dict]:
    """What open pages hear."""
    heard = []
    monkeypatch.setattr(live, "push", heard.append)
    return heard


def test_open_pages_hear_what_is_new_and_opened_ones_all(pushed):
    training = LiveTraining("7", "a workflow", steps=3)
    training.show()
    training.advance([[0.123456789, 0.2, 0.3, 9.0, 0.01], [0.4, 0.5, 0.6, 9.0, 0.02]], 1.0)
    training.add_sample(2, "a dog", "data:two")
    training.advance([[0.7, 0.8, 0.9, 9.0, 0.03]], 2.0)
    training.end(done=True)
    first, second, third = [0.12346, 0.2, 0.3, 0.01], [0.4, 0.5, 0.6, 0.02], [0.7, 0.8, 0.9, 0.03]
    assert [(message["first"], message["rows"]) for message in pushed] == [
        *((0, []), (0, [first, second]), (2, []), (2, [third]), (3, [])),
    ]
    assert [message["progress"] for message in pushed] == ["running"] * 4 + ["done"]
    assert [len(message["samples"]) for message in pushed] == [0, 0, 1, 0, 0]
    (whole,) = live.shown()
    assert (whole["kind"], whole["node"], whole["workflow"], whole["seconds"]) == ("training", "7", "a workflow", 2.0)
    assert (whole["first"], whole["rows"]) == (0, [first, second, third])
    assert whole["samples"] == [{"step": 2, "prompt": "a dog", "picture": "data:two"}]


def test_a_node_shows_its_newest_training_beside_its_state():
    for workflow in ("one", "two", "one"):
        LiveTraining("7", workflow, steps=3).show()
    LiveState("7", "one", state={"concepts": []}).show()
    assert [(message["kind"], message["workflow"]) for message in live.shown()] == [
        *(("training", "two"), ("training", "one"), ("state", "one")),
    ]


def test_only_so_many_are_kept():
    for node in range(LiveTraining.most + 2):
        LiveTraining(str(node), "one").show()
    assert [message["node"] for message in live.shown()] == [str(node) for node in range(2, LiveTraining.most + 2)]


def test_only_the_newest_samples_are_kept():
    training = LiveTraining("7", "one")
    training.show()
    for step in range(1, 53):
        training.add_sample(step, "", "")
    assert [sample["step"] for sample in live.shown()[0]["samples"]] == list(range(3, 53))
