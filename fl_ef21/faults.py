"""Which faults a run is to be disturbed by, as a person writes them: "kill=2%,late=5%,duplicate=5%,wipe=1%,seed=7"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fl_ef21.errors import InputError, nearest

WORDS = {
    "kill": "the process of the client's shard dies before the round or in the middle of it",
    "duplicate": "the instruction reaches the client twice, and both replies the server",
    "lose": "the instruction or the reply is lost, as likely the one as the other",
    "lose-instruction": "the instruction is lost",
    "lose-reply": "the reply is lost",
    "late": "the reply comes with those of the next round",
    "damage": "one bit of the reply's payload is another",
    "wipe": "the client has forgotten everything",
    "leave": "the client says goodbye instead of answering",
    "join": "a client that left comes back, beginning anew",
}
CRASHES = ("kill", "duplicate")  # after which the result is bitwise that of an undisturbed run
DEVICES = ("kill", "wipe")  # what only an engine can do that holds the clients


@dataclass(frozen=True)
class Faults:
    """Attributes: shares, word and probability in (0, 1] for every client asked in a round; seed, of the draws."""

    shares: tuple[tuple[str, float], ...]
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Raises: ValueError with what would be right."""
        shares, seed = dict[str, float](), 0
        for part in text.split(","):
            word, equals, value = (piece.strip() for piece in part.partition("="))
            if word != "seed" and word not in WORDS:
                raise ValueError(f"{word!r} is no fault; {nearest(word, [*WORDS, 'seed'])}")
            if not equals:
                raise ValueError(f"{word} needs a value, such as {word}={'7' if word == 'seed' else '2%'}")
            if word in shares:
                raise ValueError(f"{word} is there twice")
            if word == "seed":
                if not re.fullmatch(r"[0-9]{1,9}", value):
                    raise ValueError(f"seed={value} must be a whole number, such as seed=7")
                seed = int(value)
            else:
                shares[word] = _share(word, value)
        if not shares:
            raise ValueError("names no fault; write such as kill=2%,late=5%")
        return cls(tuple(shares.items()), seed)

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(word for word, _ in self.shares)

    def without_devices(self) -> None:
        """Raises: InputError where there is something that only the resident engine can do, which holds the clients."""
        for word, share in self.shares:
            if word in DEVICES:
                advice = f"only the resident engine, which holds the clients, can {word} them; leave {word} out"
                raise InputError("chaos", f"{word}={100 * share:g}%", advice)


def _share(word: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?%", value):
        raise ValueError(f"{word}={value} must be a percentage, such as {word}=2%")
    share = float(value[:-1]) / 100
    if not 0 < share <= 1:
        raise ValueError(f"{word}={value} must lie above 0% and at most at 100%")
    return share
