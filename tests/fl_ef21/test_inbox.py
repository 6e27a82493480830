"""Replies that are announced before they are there, from a SuperLink that is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.superlink.grid import HttpGrid

from fl_ef21.flower_inbox import Inbox, inbox_of
from fl_ef21.flower_internals import identify
from fl_ef21.flower_stamp import name_message


class SuperLink:
    """Has replies, of which some parts are there.

    Attributes:
      waiting: announced at the next look. parts: what was brought of them. missing: parts that never come.
      asked: the names in each look. confirmed: replies that were taken.
    """

    def __init__(self) -> None:
        self.waiting, self.parts, self.missing = list[Message](), dict[str, bytes](), set[str]()
        self.asked, self.confirmed = list[list[str]](), list[str]()

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:
        self.asked.append(list(request.message_ids))
        told, self.waiting = self.waiting, []
        return PullAppMessagesResponse(
            messages_list=[message_to_proto(message) for message in told],
            message_object_trees=[get_object_tree(message) for message in told],
        )

    def PullObject(self, request: Any) -> PullObjectResponse:
        content = self.parts.get(request.object_id, b"")
        found = request.object_id not in self.missing
        return PullObjectResponse(object_found=found, object_available=bool(content), object_content=content)

    def ConfirmMessageReceived(self, request: Any) -> None:
        self.confirmed.append(request.message_object_id)


def grid_of(link: SuperLink) -> HttpGrid:
    grid = HttpGrid("127.0.0.1:9", insecure=True, token="none")
    grid._run, grid._client = SimpleNamespace(run_id=1), link  # type: ignore[assignment]
    grid.__class__ = type("Grid", (HttpGrid,), {"run": property(lambda self: self._run)})
    return grid


def reply(to: str, value: int) -> Message:
    identify(1)
    asked = Message(RecordDict(), 7, "train")
    name_message(asked, to)
    answer = Message(RecordDict({"said": ConfigRecord({"value": value})}), reply_to=asked)
    name_message(answer, answer.object_id)
    return answer


def brought(link: SuperLink, message: Message) -> dict[str, bytes]:
    """All that is in a reply, which is announced."""
    link.waiting.append(message)
    return {name: part.deflate() for name, part in get_all_nested_objects(message).items()}


def value_of(message: Message) -> Any:
    return message.content["said"]["value"]


@pytest.fixture
def link() -> SuperLink:
    return SuperLink()


def test_a_reply_that_is_not_whole_holds_up_no_other(link: SuperLink) -> None:
    inbox = Inbox(grid_of(link))
    slow, fast = brought(link, reply("a", 1)), brought(link, reply("b", 2))
    first = next(iter(slow))
    link.parts |= fast | {first: slow[first]}
    (got,) = inbox.take(["a", "b"])
    assert value_of(got) == 2 and got.metadata.reply_to_message_id == "b"
    assert inbox.take(["a"]) == []
    link.parts |= slow
    (got,) = inbox.take(["a"])
    assert value_of(got) == 1 and len(link.confirmed) == 2
    assert inbox.take([]) == []


def test_what_was_announced_is_not_asked_for_again(link: SuperLink) -> None:
    inbox = Inbox(grid_of(link))
    brought(link, reply("a", 1))
    for _ in range(3):
        assert inbox.take(["a", "b"]) == []
    assert [sorted(names) for names in link.asked] == [["a", "b"], ["b"], ["b"]]
    inbox.forget(["a"])
    inbox.take(["a"])
    assert link.asked[-1] == ["a"]


def test_a_reply_of_which_nothing_comes_is_stuck_until_it_is_there(link: SuperLink) -> None:
    inbox = Inbox(grid_of(link))
    parts = brought(link, reply("a", 1))
    inbox.take(["a", "b"])
    assert inbox.stuck(0.0) == {"a"} and inbox.stuck(60.0) == set()
    link.parts |= parts
    inbox.take(["a", "b"])
    assert inbox.stuck(0.0) == set()


def test_a_reply_that_will_never_be_whole_is_an_error(link: SuperLink) -> None:
    inbox = Inbox(grid_of(link))
    parts = brought(link, reply("a", 1))
    link.missing = {next(iter(parts))}
    (got,) = inbox.take(["a"])
    assert got.has_error() and got.metadata.reply_to_message_id == "a"
    assert "did not come as a whole" in (got.error.reason or "") and link.confirmed == []


def test_only_a_deployments_own_grid_has_one(link: SuperLink) -> None:
    grid = grid_of(link)
    assert inbox_of(grid) is inbox_of(grid) is not None
    assert inbox_of(type("Other", (HttpGrid,), {"pull_messages": None})("127.0.0.1:9", token="none")) is None
