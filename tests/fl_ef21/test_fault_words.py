"""Faults as a person writes them, and what is said of a mistake."""

import pytest

from fl_ef21.errors import InputError
from fl_ef21.faults import CRASHES, DEVICES, WORDS, Faults


def test_words_shares_and_a_seed_are_read() -> None:
    faults = Faults.parse(" kill=2%, late = 0.5%,lose-reply=100%,seed=7")
    assert faults == Faults((("kill", 0.02), ("late", 0.005), ("lose-reply", 1.0)), 7)
    assert faults.words == ("kill", "late", "lose-reply") and {*CRASHES, *DEVICES} <= set(WORDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kil=2%", "'kil' is no fault; did you mean 'kill'?"),
        ("kill=2%,duplicat=1%", "'duplicat' is no fault; did you mean 'duplicate'?"),
        ("zzz=2%", "'zzz' is no fault; choose one of "),
        ("kill", "kill needs a value, such as kill=2%"),
        ("kill=2", "kill=2 must be a percentage, such as kill=2%"),
        ("kill=-2%", "kill=-2% must be a percentage"),
        ("kill=0%", "kill=0% must lie above 0%"),
        ("late=101%", "late=101% must lie above 0% and at most at 100%"),
        ("kill=2%,kill=3%", "kill is there twice"),
        ("seed=x", "seed=x must be a whole number"),
        ("seed=7", "names no fault"),
        ("", "'' is no fault"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        Faults.parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("word", DEVICES)
def test_what_only_an_engine_can_do_is_refused_by_name(word: str) -> None:
    with pytest.raises(InputError, match=f"chaos = '{word}=2%': only the resident engine"):
        Faults.parse(f"late=1%,{word}=2%").without_devices()
    Faults.parse("late=1%").without_devices()
