"""The rules of engagement: what docs/fix.md says is what the dictionaries check."""

from gateway import fix_rules
from protocols.fix.dictionary import FIX44
from protocols.fix.rules import rules_of_engagement


def test_the_document_is_up_to_date() -> None:
    assert fix_rules.PATH.read_text() == fix_rules.document(), "run `python -m gateway.fix_rules`"


def test_a_table_for_every_message() -> None:
    text = fix_rules.document()
    for rule in FIX44.messages.values():
        assert f"### {rule.name} ({rule.msg_type})\n" in text
    order = text[text.index("### NewOrderSingle (D)") :]
    order = order[: order.index("\n\n###")]
    assert "| 11 | ClOrdID | yes | yes | yes | unique over 24 hours" in order
    assert "| 21 | HandlInst | yes | may | may |" in order
    assert "| 453 | NoPartyIDs |  | may | may | begins a group |" in order


def test_overlays_are_in_it() -> None:
    theirs = FIX44.overlay(
        {"fields": {"9001": "Desk STRING"}, "messages": {"D": "+9001!"}, "notes": {"D": {"9001": "who asks"}}}
    )
    assert "| 9001 | Desk | yes | who asks |" in rules_of_engagement({"ours": theirs})
